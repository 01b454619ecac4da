"""Trust: what it must know of a calibrated network, and that it stays out of everything else."""

import importlib
import sys

import numpy as np
import pytest
import torch

from configs.config_test_encodeDecode import config_dict
from models import EncodeDecode, build_network, load_weights, read_checkpoint, save_weights
from models.checkpoints import add_trust
from models.parts.trust import TrustHead, disagreements, interpolate, length_of_bones
from tests.processes import fork_script
from tests.synthetic import write_synthetic_layout
from tests.tiny import run_script, tiny_config
from training.metrics import n_pck
from training.trained.calibrating import calibrate_trust, fit_trust
from training.trained.copies import direct_poses, encode_copies, estimate_poses, mirrored_poses, move_crops
from training.trained.disturbed import disturbed, without_person
from training.trained.export import export_weights
from training.trained.fitting import Samples, fit_head, fit_knots, isotonic, latent_statistics
from training.trained.inference import PoseFromCrop
from training.trained.load import open_network, weights_file
from utils.errors import UserError

FEATURES = ("feature_mean", "feature_std", "hidden_weight")  # tensors with a row for each feature
COPIES = torch.tensor([[0.0, 0, 1, 0], [0, 0, 1, 1], [0.05, 0, 1.1, 0], [-0.05, 0, 0.9, 1]])


def random_samples(count: int = 240, seed: int = 0) -> Samples:
    """Clean crops with small latents and disagreements, disturbed ones with larger ones, and noise far away."""
    generator = torch.Generator().manual_seed(seed)
    kind = np.repeat(["clean", "disturbed", "noise"], count // 3)
    size = torch.tensor([{"clean": 1.0, "disturbed": 2.0, "noise": 5.0}[name] for name in kind])
    latents = size[:, None, None] * torch.randn(count, 4, 20, generator=generator)
    poses = 0.3 * torch.randn(count, 1, 51, generator=generator) + 0.02 * size[:, None, None] * torch.randn(
        count, 4, 51, generator=generator
    )
    error = 60 * size * torch.exp(0.1 * torch.randn(count, generator=generator))
    correct = torch.where(size < 5, (1.1 - error / 250).clamp(0, 1), 0)
    return Samples(latents, poses, error, correct, 200.0, kind, np.arange(count) % 4)


@pytest.fixture(scope="module")
def head() -> TrustHead:
    normal = torch.randn(300, 20, generator=torch.Generator().manual_seed(1))
    return fit_head({"copies": COPIES, **latent_statistics(normal)}, random_samples())[0]


def test_a_head_trusts_what_is_like_the_training_and_flags_the_rest(head):
    unseen = random_samples(seed=7)
    trust, error, flagged = head(unseen.latents, unseen.poses)
    of = {kind: torch.from_numpy(unseen.kind == kind) for kind in ("clean", "disturbed", "noise")}
    assert trust[of["clean"]].mean() > 0.75 > trust[of["disturbed"]].mean() > trust[of["noise"]].mean()
    assert trust[of["noise"]].mean() < 0.2
    assert flagged[of["clean"]].float().mean() <= 0.1 and flagged[of["noise"]].float().mean() >= 0.9
    assert trust.min() >= 0 and trust.max() <= 1
    order = error.argsort()
    assert (trust[order].diff() <= 1e-6).all(), "where the expected error rises, trust must not"
    assert error[of["clean"]].mean() == pytest.approx(60, rel=0.25)


def test_a_head_judges_in_float32_whatever_the_network_computes_in(head):
    samples = random_samples(60, seed=3)
    expected = head(samples.latents, samples.poses)
    with torch.autocast("cpu", torch.bfloat16):
        judged = head(samples.latents, samples.poses)
    for ours, theirs in zip(judged, expected, strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def test_a_head_of_stored_tensors_is_the_same_and_misshapen_ones_are_refused(head):
    tensors, samples = head.state_dict(), random_samples(30)
    same = TrustHead(tensors)
    torch.testing.assert_close(same(samples.latents, samples.poses), head(samples.latents, samples.poses))
    assert not list(same.parameters())
    with pytest.raises(UserError, match=r"trust.error_knots has shape \(5,\); expected"):
        TrustHead({**tensors, "error_knots": torch.zeros(5)})
    with pytest.raises(UserError, match=r"trust.hidden_bias is missing"):
        TrustHead({name: tensor for name, tensor in tensors.items() if name != "hidden_bias"})
    with pytest.raises(UserError, match=r"trust.more is unknown"):
        TrustHead({**tensors, "more": torch.zeros(5)})


def test_bones_of_a_mean_over_directions_are_short_and_other_coordinates_do_not_matter():
    straight = torch.zeros(2, 17, 3)
    straight[..., 1] = torch.arange(17.0)
    bent = straight.clone()
    bent[0, 16, 1] -= 2  # the hand, a bone of 1 m, points the other way
    torch.testing.assert_close(length_of_bones(bent.flatten(1)), length_of_bones(straight.flatten(1)))
    mean = (straight + bent)[:1] / 2
    torch.testing.assert_close(length_of_bones(mean.flatten(1)), length_of_bones(straight[:1].flatten(1)) - 1)
    turned = straight[..., [2, 0, 1]] + 5
    torch.testing.assert_close(length_of_bones(turned.flatten(1)), length_of_bones(straight.flatten(1)))


def test_a_head_of_before_which_knows_no_lengths_still_judges(head):
    samples = random_samples(30)
    columns = {name: tensor[:-1] for name, tensor in head.state_dict().items() if name in FEATURES}
    before = TrustHead({**head.state_dict(), **columns})
    features = before.features(samples.latents, samples.poses)
    torch.testing.assert_close(features, head.features(samples.latents, samples.poses)[..., :-1])
    assert before(samples.latents, samples.poses).trust.isfinite().all()
    with pytest.raises(UserError, match=r"trust.feature_mean has 19 features; expected 21, 5 more than components"):
        TrustHead({**head.state_dict(), **{name: tensor[:-1] for name, tensor in columns.items()}})


def test_isotonic_is_the_nearest_monotone_sequence():
    values, weights = torch.tensor([1.0, 3, 2, 2, 5, 4]), torch.tensor([1.0, 1, 2, 1, 1, 3])
    fitted = isotonic(values, weights)
    torch.testing.assert_close(fitted, torch.tensor([1, 2.25, 2.25, 2.25, 4.25, 4.25]))
    torch.testing.assert_close(isotonic(torch.arange(4.0), torch.ones(4)), torch.arange(4.0))


def test_knots_are_means_of_the_targets_and_interpolated_between():
    scores = torch.linspace(0, 1, 1200)
    knots = fit_knots(scores, 1 - scores, 100 * scores, torch.full((1200,), 1 / 1200))
    x = torch.tensor([-3.0, 0.25, 0.5, 7.0])
    trust = interpolate(x, knots["score_knots"], knots["trust_knots"])
    torch.testing.assert_close(trust[1:3], torch.tensor([0.75, 0.5]), atol=0.01, rtol=0)
    assert trust[0] == knots["trust_knots"][0] and trust[3] == knots["trust_knots"][-1]


def test_disagreements_compare_each_copy_with_the_one_that_it_moved():
    poses = torch.zeros(1, 4, 51)
    poses[0, 1], poses[0, 2], poses[0, 3] = 1.0, 0.5, 1.5
    mirror, moved = disagreements(poses, COPIES[:, 3])
    assert mirror.item() == pytest.approx(1.0) and moved.item() == pytest.approx(0.5)
    assert disagreements(poses[:, :2], COPIES[:2, 3])[1].item() == 0


def test_moved_crops_show_the_same_elsewhere():
    crops = torch.zeros(1, 3, 40, 40)
    crops[..., 10:14, 20:24] = 1.0  # above the center, just right of it
    assert torch.equal(move_crops(crops, 0, 0), crops)
    torch.testing.assert_close(move_crops(crops, 0, 0, 1, mirrored=True), crops.flip(3))
    torch.testing.assert_close(move_crops(crops, 0.25, 0.1), crops.roll((4, 10), (2, 3)), atol=1e-4, rtol=0)
    rolled = move_crops(crops, 0, 0, roll=torch.tensor([np.pi / 2]))
    torch.testing.assert_close(rolled, crops.rot90(-1, (2, 3)), atol=1e-4, rtol=0)  # clockwise
    assert move_crops(crops, 0, 0, 2.0).sum() == pytest.approx(4 * crops.sum().item(), rel=0.05)


def test_disturbed_and_personless_pictures_are_what_they_say():
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(24, 3, 32, 32, generator=generator)
    changed, rolls = disturbed(crops, generator)
    assert changed.shape == crops.shape and changed.isfinite().all() and rolls.abs().max() < 0.7
    pictures = without_person(crops, None, generator)
    assert "empty room" not in pictures and all(kind.shape == crops.shape for kind in pictures.values())
    assert "empty room" in without_person(crops, crops, generator)
    shuffled = pictures["shuffled patches"]
    torch.testing.assert_close(shuffled.flatten(2).sort(2)[0], crops.flatten(2).sort(2)[0])
    assert not torch.equal(shuffled, crops)


def test_fraction_of_joints_found_ignores_the_scale():
    true = torch.randn(3, 51, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(n_pck(true / 2, true, 0.01), torch.ones(3))
    wrong = true.clone()
    wrong[:, -3:] += 5
    assert n_pck(wrong, true, 1.0).max() < 1


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("trust") / "set", size=32, instants=10)


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    """Weights of a small network whose poses mean nothing, as after an export, calibrated by the script."""
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    config = {**tiny_config(data, "output"), "output_types": ["img_crop", "3D"]}
    network = build_network(config)
    network.set_pose_statistics(torch.randn(51), torch.ones(51))
    save_weights(path, network, config)
    result = run_script("calibrate_trust.py", f"network_path={path}", f"dataset_folder_train={data}", "device=cpu")
    assert result.returncode == 0, result.stderr
    assert "flagged: clean" in result.stdout and "empty room" in result.stdout
    return path


def opened(path, **changes):
    return open_network({**config_dict, "network_path": str(path), "device": "cpu", "precision": "float32", **changes})


def test_weights_are_the_same_with_a_head(weights):
    checkpoint = read_checkpoint(weights)
    assert not any(name.startswith("trust.") for name in checkpoint.weights)
    network = opened(weights).network
    assert network.trust is not None and not any("trust" in name for name, _ in network.named_parameters())
    # A training that starts from these weights gets none of it: its latents will be others.
    fresh = build_network(checkpoint.config)
    load_weights(fresh, checkpoint)
    assert fresh.trust is None
    add_trust(weights, network.trust)
    assert read_checkpoint(weights).trust.keys() == checkpoint.trust.keys()


def test_an_export_carries_the_head(weights, tmp_path):
    export_weights(
        {**config_dict, "network_path": str(weights), "device": "cpu"}, frozenset(), tmp_path / "e.safetensors"
    )
    before, after = (opened(path).network.trust for path in (weights, tmp_path / "e.safetensors"))
    samples = torch.randn(5, 4, 46), torch.randn(5, 4, 51)
    torch.testing.assert_close(before(*samples), after(*samples), atol=0.02, rtol=0.02)


def test_poses_with_trust_are_those_without(weights):
    network = opened(weights).network
    crops = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        judged, plain = (estimate_poses(network, crops, True, trust) for trust in (True, False))
        _, copies = encode_copies(network, crops, network.trust.copies)
        torch.testing.assert_close(copies[:, 0], direct_poses(network, crops), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(copies[:, 1], mirrored_poses(network, crops), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(judged.pose, plain.pose, atol=1e-5, rtol=1e-4)
    assert plain.trust is None and judged.trust.shape == judged.expected_error.shape == (6,)


def test_a_crop_that_is_encoded_is_not_encoded_again(weights, data, monkeypatch):
    from datasets.reader import MultiViewDataset
    from training.trained.evaluation import evaluate, evaluation_keys
    from training.trained.viewing import RotatedView

    trained = opened(weights)
    crops = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoded = trained.network.encode(crops)
        for plain, ours in zip(
            *(estimate_poses(trained.network, crops, True, True, given) for given in (None, encoded)), strict=True
        ):
            torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
    counted, encode = [], EncodeDecode.encode
    monkeypatch.setattr(EncodeDecode, "encode", lambda self, crops: counted.append(len(crops)) or encode(self, crops))
    dataset = MultiViewDataset(data, evaluation_keys(trained.network))
    evaluate(trained.network, dataset, trained.config, trained.hardware)
    assert sum(counted) == 4 * len(dataset)
    counted.clear()
    RotatedView(trained.network, dataset, trained.hardware)(0, 0.0)
    assert sum(counted) == 4


def test_the_result_for_crops_carries_trust(weights):
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    with pytest.warns(UserWarning, match="of 5 pictures are unlike the training crops"):
        poses = PoseFromCrop(opened(weights).network, "cpu", "float32")(crops, batch_size=2)
    assert poses.shape == (5, 17, 3) and poses.dtype == np.float32
    assert poses.trust.shape == poses.expected_error.shape == poses.flagged.shape == (5,)
    assert poses[:2].trust is None and (poses + 1).trust is None, "computed arrays have no trust of their own"
    unjudged = PoseFromCrop(opened(weights).network, "cpu", "float32", trust=False)
    assert unjudged(crops).trust is None and unjudged.nobody().trust is None


def test_what_cannot_be_calibrated_is_one_line(weights, tmp_path, data):
    result = fork_script("calibrate_trust.py", f"network_path={weights}", "dataset_folder_train=nowhere")
    assert result.returncode == 2 and "dataset_folder_train 'nowhere' does not exist" in result.stderr
    config = {**tiny_config(data, "output"), "output_types": ["img_crop"]}
    save_weights(tmp_path / "views.safetensors", build_network(config), config)
    result = fork_script("calibrate_trust.py", f"network_path={tmp_path / 'views.safetensors'}")
    assert result.returncode == 2 and "was not trained for poses" in result.stderr
    # Weights that were exported do not know their set, and the default one may be any other.
    exported = tmp_path / "exported.safetensors"
    export_weights({**config_dict, "network_path": str(weights)}, frozenset({"network_path"}), exported)
    result = fork_script("calibrate_trust.py", f"network_path={exported}")
    assert result.returncode == 2 and "dataset_folder_train is not given" in result.stderr


def test_packaged_weights_are_not_calibrated_by_their_name():
    before = weights_file("wild128").stat().st_mtime_ns
    with pytest.raises(UserError, match="network_path 'wild128' is a name of packaged weights, which stay as they are"):
        calibrate_trust({**config_dict, "network_path": "wild128"}, frozenset({"network_path"}))
    assert weights_file("wild128").stat().st_mtime_ns == before


def test_what_cannot_be_stored_is_not_fitted(weights, data, monkeypatch):
    monkeypatch.setattr("training.trained.calibrating.fit_trust", lambda _: pytest.fail("was fitted"))
    config = {**config_dict, "network_path": str(weights), "dataset_folder_train": str(data), "device": "cpu"}
    given = frozenset({"dataset_folder_train"})
    published = opened(weights)._replace(trained_with=None)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="holds published weights"):
        patch.setattr("training.trained.calibrating.open_network", lambda *_: published)
        calibrate_trust(config, given)
    # Also for root, who may write everywhere.
    monkeypatch.setattr("utils.files.os.access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"network\.safetensors"):
        calibrate_trust(config, given)


def test_a_few_held_out_crops_calibrate_nothing(weights, tmp_path):
    few, before = write_synthetic_layout(tmp_path / "few", size=32, instants=6), weights.read_bytes()
    with pytest.raises(UserError, match=r"few' has 48 held-out crops; expected at least 50 .*validation_fraction"):
        calibrate_trust(
            {**config_dict, "network_path": str(weights), "dataset_folder_train": str(few), "device": "cpu"},
            frozenset({"dataset_folder_train"}),
        )
    assert weights.read_bytes() == before


def test_a_recording_that_is_one_sequence_holds_out_its_last_instants(weights, tmp_path):
    one = write_synthetic_layout(tmp_path / "one", size=32, subjects=(1,), sequences_per_subject=1, instants=30)
    config = {**opened(weights).config, "dataset_folder_train": str(one), "validation_fraction": 0.5}
    trained = opened(weights)._replace(config=config)
    report = fit_trust(trained)
    assert report.flagged["clean"] <= 0.1 and trained.network.trust is not None


@pytest.mark.parametrize("given", [[], ["network_path=mine"], ["--config", "mine.py"]], ids=["none", "key", "file"])
@pytest.mark.parametrize("script", ["calibrate_trust", "export_weights"])
def test_the_packaged_network_is_not_taken_for_the_users_own(script, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("config_dict = {'network_path': 'mine'}")
    output = ["--output", "mine.safetensors"] if script == "export_weights" else []
    monkeypatch.setattr(sys, "argv", [script, *output, *given])
    message = "network_path 'mine' has no network" if given else "network_path is not given; expected network_path="
    with pytest.raises(UserError, match=message):
        importlib.import_module(f"configs.{script}").main()
    assert not (tmp_path / "mine.safetensors").exists()


def test_an_evaluation_has_errors_by_quarter_of_trust(weights, data, tmp_path):
    arguments = ("--evaluate", f"network_path={weights}", f"dataset_folder_test={data}", f"output_folder={tmp_path}")
    result = fork_script("test_encodeDecode.py", *arguments, "device=cpu", "--fuse", "--poses", tmp_path / "poses.npz")
    assert result.returncode == 0, result.stderr
    assert "quarter 4" in result.stdout and "cameras of an instant fused" in result.stdout
    (table,) = tmp_path.rglob("evaluation.md")
    assert "## Trust" in table.read_text() and "## Cameras fused" in table.read_text()
    written = np.load(tmp_path / "poses.npz")
    assert written["trust"].shape == written["flagged"].shape == (len(written["poses"]),)
    without = fork_script("test_encodeDecode.py", *arguments, "device=cpu", "--no-trust")
    assert without.returncode == 0 and "quarter" not in without.stdout


def test_the_viewer_says_it(weights, data):
    from datasets.reader import MultiViewDataset
    from training.loop.loaders import VIEW_KEYS
    from training.trained.viewing import RotatedView

    trained = opened(weights)
    panels = RotatedView(trained.network, MultiViewDataset(data, VIEW_KEYS), trained.hardware)(0, 0.0)
    assert "trust 0." in panels.caption and panels.warned == ("flagged" in panels.caption)
