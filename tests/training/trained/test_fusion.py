"""Laws of fused cameras, and files of poses."""

import numpy as np
import pytest
import roma
import torch

from configs.config_test_encodeDecode import config_dict
from datasets.reader import MultiViewDataset
from models import build_network
from tests.runs import read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import tiny_config
from training.loop.hardware import Hardware
from training.trained.evaluation import evaluate, evaluation_keys
from training.trained.fusion import AGREEMENT, DEPTH, fuse_cameras
from training.trained.inference import PoseFromCrop
from utils.errors import UserError
from utils.geometry import rotation_about

torch.manual_seed(0)
ROTATIONS = roma.random_rotmat(6).numpy()
WORLD = np.random.default_rng(0).normal(size=(2, 17, 3))
INSTANTS = np.array([4, 9, 4, 9, 4, 9])
SEEN = WORLD[(INSTANTS == 9).astype(int)]
POSES = np.einsum("nij,npj->npi", ROTATIONS, SEEN)


def test_cameras_that_agree_give_the_pose_that_they_see():
    for trust in (None, np.random.default_rng(1).random(6)):
        fused = fuse_cameras(POSES, ROTATIONS, INSTANTS, trust)
        np.testing.assert_array_equal(fused.instants, [4, 9])
        np.testing.assert_allclose(fused.poses, WORLD, atol=1e-5)
        np.testing.assert_allclose(fused.of_camera, POSES, atol=1e-5)


def test_the_order_of_cameras_does_not_matter():
    rng = np.random.default_rng(2)
    noisy, trust, order = POSES + rng.normal(size=POSES.shape), rng.random(6), rng.permutation(6)
    fused = fuse_cameras(noisy, ROTATIONS, INSTANTS, trust)
    shuffled = fuse_cameras(noisy[order], ROTATIONS[order], INSTANTS[order], trust[order])
    np.testing.assert_allclose(shuffled.poses, fused.poses, atol=1e-5)
    np.testing.assert_allclose(shuffled.of_camera, fused.of_camera[order], atol=1e-5)


def test_the_square_of_trust_is_the_weight():
    wrong = POSES.copy()
    wrong[0] += 1
    fused = fuse_cameras(wrong, ROTATIONS, INSTANTS, np.array([0.0, 1, 0.5, 1, 0.2, 1]))
    np.testing.assert_allclose(fused.poses, WORLD, atol=1e-5)
    # a weighted mean, by hand: cameras that differ by millimeters agree alike
    close = SEEN.copy()
    close[0] += 0.001
    trust = np.array([0.3, 1, 0.1, 1, 0.6, 1])
    weight = trust[[0, 2, 4]] ** 2 / 0.46
    expected = (weight[:, None, None] * close[[0, 2, 4]]).sum(0)
    fused = fuse_cameras(close, np.repeat(np.eye(3)[None], 6, 0), INSTANTS, trust)
    np.testing.assert_allclose(fused.poses[0], expected, atol=1e-6)
    alike = fuse_cameras(POSES, ROTATIONS, INSTANTS, trust)
    assert alike.trust[0] == pytest.approx(0.09 / 0.46 * 0.3 + 0.01 / 0.46 * 0.1 + 0.36 / 0.46 * 0.6)
    # where nobody is trusted, all weigh the same
    np.testing.assert_allclose(
        fuse_cameras(wrong, ROTATIONS, INSTANTS, np.zeros(6)).poses, fuse_cameras(wrong, ROTATIONS, INSTANTS).poses
    )


def test_depth_counts_less_than_what_a_camera_sees_across():
    # the second camera looks along the x axis of the first
    rotations = np.stack([np.eye(3), rotation_about("y", np.radians(-90))])
    np.testing.assert_allclose(rotations[1, 2], [1, 0, 0], atol=1e-7)
    error = 0.001 * np.array([1.0, 1, 1])
    fused = fuse_cameras(np.stack([WORLD[0] + error, WORLD[0] @ rotations[1].T]), rotations).poses[0]
    far, near = DEPTH**-2, 1
    expected = error * [near / (near + far), 1 / 2, far / (near + far)]
    np.testing.assert_allclose(fused - WORLD[0], np.broadcast_to(expected, (17, 3)), atol=1e-6)


def test_another_world_frame_turns_the_fused_pose():
    noisy, turn = POSES + 0.1 * np.random.default_rng(5).normal(size=POSES.shape), roma.random_rotmat().numpy()
    fused, turned = fuse_cameras(noisy, ROTATIONS, INSTANTS), fuse_cameras(noisy, ROTATIONS @ turn.T, INSTANTS)
    np.testing.assert_allclose(turned.poses, fused.poses @ turn.T, atol=1e-5)
    np.testing.assert_allclose(turned.of_camera, fused.of_camera, atol=1e-5)


def test_one_camera_that_is_wrong_is_outvoted():
    seen = np.repeat(WORLD[:1], 4, 0) + 0.01 * np.random.default_rng(3).normal(size=(4, 17, 3))
    wrong = seen.copy()
    wrong[3] *= [-1, -1, 1]  # turned around
    none = np.repeat(np.eye(3)[None], 4, 0)
    error = np.abs(fuse_cameras(wrong, none).poses[0] - WORLD[0]).mean()
    assert error < 0.1 * np.abs(wrong.mean(0) - WORLD[0]).mean()
    # two that differ: nobody outvotes the other one
    np.testing.assert_allclose(fuse_cameras(wrong[2:], none[2:]).poses[0], wrong[2:].mean(0), atol=1e-5)


def test_the_fused_pose_has_the_least_sum_of_distances():
    rng = np.random.default_rng(4)
    poses, trust, none = rng.normal(size=(5, 17, 3)), rng.random(5), np.repeat(np.eye(3)[None], 5, 0)

    def distances(pose):
        squared = ((poses - pose) ** 2).sum(2).mean(1)
        return (trust**2 * np.sqrt(squared + AGREEMENT**2)).sum()

    fused = fuse_cameras(poses, none, trust=trust).poses[0].astype(np.float64)
    least = distances(fused)
    for _ in range(50):
        assert least <= distances(fused + 0.01 * rng.normal(size=(17, 3)))
    assert least < distances(np.average(poses, axis=0, weights=trust**2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rotations": ROTATIONS[:5]}, r"rotations have shape \(5, 3, 3\); expected \(6, 3, 3\)"),
        ({"rotations": 2 * ROTATIONS}, "rotations are not orthonormal"),
        ({"rotations": np.diag([1, 1, -1]) @ ROTATIONS}, "rotation 0 is a reflection"),
        ({"rotations": [*ROTATIONS[:5], ROTATIONS[5][:, [1, 0, 2]]]}, "rotation 5 is a reflection"),
        ({"rotations": "abc"}, "rotations are no array .*abc"),
        ({"rotations": [[1], [2, 3]]}, "rotations are no array"),
        ({"instants": [[1], [2, 3]]}, "instants are no array"),
        ({"instants": [None, "a"] * 3}, "instants are of several types"),
        ({"instants": INSTANTS[:2]}, r"instants have shape \(2,\); expected \(6,\)"),
        ({"trust": [1, 1, -1, 1, 1, 1]}, "trust of pose 2 is -1.0; expected a number of 0 or more"),
        ({"trust": [1, np.nan, 1, 1, 1, 1]}, "trust of pose 1 is nan"),
        ({"trust": np.ones(5)}, r"trust has shape \(5,\); expected \(6,\)"),
        ({"trust": list("abcdef")}, "trust are no array"),
        ({"poses": np.full((6, 17, 3), np.nan)}, "poses contain NaN"),
        ({"poses": np.zeros((6, 16, 3))}, r"poses have shape \(6, 16, 3\); expected \(N, 17, 3\) or \(N, 51\)"),
        ({"poses": "x"}, "poses are no array"),
    ],
)
def test_what_cannot_be_fused_is_refused(changed, message):
    with pytest.raises(UserError, match=message):
        fuse_cameras(**{"poses": POSES, "rotations": ROTATIONS, "instants": INSTANTS, **changed})


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = build_network({**tiny_config("none", "output"), "output_types": ["3D"]})
    network.set_pose_statistics(torch.randn(51), torch.ones(51))
    return network.eval()


@pytest.fixture(scope="module")
def dataset(network, tmp_path_factory):
    layout = write_synthetic_layout(tmp_path_factory.mktemp("fusion") / "set", size=32, instants=3, cameras=4)
    return MultiViewDataset(layout, (*evaluation_keys(network), "extrinsic_rot"))


def test_an_evaluation_fuses_and_writes_every_pose(network, dataset, tmp_path):
    config = {**config_dict, "num_workers": 0, "batch_size_test": 10}
    cpu = Hardware("cpu", "float32")
    for name in ("poses.npz", "poses.csv"):
        overall = evaluate(network, dataset, config, cpu, None, fuse=True, poses_file=tmp_path / name)[-1]
    assert overall["fused_mpjpe_mm"] <= overall["mpjpe_mm"], "a mean of poses is not farther than they are"
    written = np.load(tmp_path / "poses.npz")
    assert str(written["space"]) == "camera"
    batch = dataset.__getitems__(written["row"])
    alone = PoseFromCrop(network, "cpu", "float32")(batch["img_crop"])
    np.testing.assert_allclose(written["poses"], alone, atol=1e-4)
    instants = np.unique(np.stack([written[key] for key in ("subj", "seq", "frame")], 1), axis=0, return_inverse=True)[
        1
    ]
    fused = fuse_cameras(alone, batch["extrinsic_rot"].numpy(), instants.reshape(-1))
    np.testing.assert_allclose(written["fused_poses"], fused.poses, atol=1e-4)
    assert (written["fused_cameras"] == 4).all()
    rows = read_log(tmp_path / "poses.csv")
    assert [row["cam"] for row in rows].count("fused") == len(fused.poses) and len(rows) == len(dataset) + len(
        fused.poses
    )
    assert float(rows[0]["left_wrist_z"]) == pytest.approx(written["poses"][0, 13, 2], abs=1e-3)


def test_crops_with_rotations_are_fused(network, dataset):
    batch = dataset.__getitems__([0, 1, 2, 3])
    fused, poses = PoseFromCrop(network, "cpu", "float32").fuse(batch["img_crop"], batch["extrinsic_rot"].numpy())
    assert fused.poses.shape == (1, 17, 3) and poses.shape == (4, 17, 3) and fused.trust is None


def test_a_set_of_reflections_is_refused_before_its_evaluation(network, dataset, monkeypatch):
    mirrored = np.diag([1, 1, -1]).astype(np.float32) @ dataset.labels["extrinsic_rot"]
    monkeypatch.setattr(dataset, "labels", {**dataset.labels, "extrinsic_rot": mirrored})
    monkeypatch.setattr("training.trained.evaluation.score_pairs", lambda *_: pytest.fail("was evaluated"))
    with pytest.raises(UserError, match="rotation 0 is a reflection"):
        evaluate(network, dataset, {**config_dict, "num_workers": 0}, Hardware("cpu", "float32"), fuse=True)


def test_views_alone_cannot_be_fused(dataset):
    network = build_network({**tiny_config("none", "output"), "output_types": ["img_crop"]}).eval()
    views = MultiViewDataset(dataset.root, evaluation_keys(network))
    with pytest.raises(UserError, match="was not trained for poses"):
        evaluate(network, views, {**config_dict, "num_workers": 0}, Hardware("cpu", "float32"), fuse=True)
