"""Calibrating trust: a head (models/parts/trust.py) fitted to the held-out crops of a network's training.

Nothing here sees a test set. The crops are those held out to choose the best network, as they are and disturbed, and
pictures without a person made of them; distances of latents are those from crops that were trained on.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from datasets import MultiViewDataset
from models import EncodeDecode
from models.checkpoints import add_trust
from models.parts.folding import fold_batch_norm
from models.parts.trust import TrustHead
from training.loop.hardware import Hardware
from training.loop.identity import is_packaged_name
from training.loop.loaders import open_training_set, split_of_subjects, training_rows
from training.loop.mixing import split_recording
from training.loop.threads import map_batches
from training.metrics import n_mpjpe, n_pck
from training.trained.copies import encode_copies
from training.trained.disturbed import disturbed, without_person
from training.trained.fitting import CLEAN, DISTURBED, FLAGGED, Samples, fit_head, latent_statistics
from training.trained.load import Trained, open_network, run_of, weights_file
from utils.errors import UserError
from utils.files import check_writable
from utils.geometry import rotate_points, rotation_about
from utils.images import normalize
from utils.locks import writing, writing_file

# Shift right and down (of the side), scale, mirrored: the crop, its mirror image, and one moved copy of each.
COPIES = ((0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 1.0, 1.0), (0.02, 0.01, 1.04, 0.0), (-0.02, 0.01, 1 / 1.04, 1.0))
TRAINING_CROPS, HELD_OUT_CROPS, CROPS_WITHOUT_PERSON = 1500, 800, 100  # the last of each kind
FEWEST_HELD_OUT = round(1 / FLAGGED)  # the share of clean crops that is flagged is then one crop or more
CORRECT = 0.15  # meters from the truth, within which a joint counts as found: that of 3DPCK
FOLDS = 4
BATCH = 64


class Pictures(NamedTuple):
    """Pictures of one kind, and what is known of them."""

    kind: str
    crops: torch.Tensor  # (N,3,R,R), normalized
    true: torch.Tensor  # (N,51): the pose of the crop that each was made of
    rows: np.ndarray  # (N,) of the training set


class Report(NamedTuple):
    """What a head does on the crops that it was fitted to, each judged by a head that did not see its sequence."""

    pictures: int
    flagged: dict[str, float]  # share of each kind of picture
    error_by_quarter: list[float]  # mm, of clean and disturbed crops, the quarter trusted most first


# Keys of a training that say which of its crops were held out.
HELD_OUT_KEYS = ("dataset_folder_train", "actor_subset", "validation_fraction", "label_subjects", "seed")


def calibrate_trust(config: dict, given: frozenset[str] = frozenset()) -> Report:
    """Fit a head for the network at `network_path`, and store it in that file of weights.

    Its held-out crops are those of its own training, but for what the user gave of HELD_OUT_KEYS: weights that were
    exported do not know where their training set lies. The set must have poses. UserError for fewer than
    FEWEST_HELD_OUT held-out crops, for published weights, and for the name of packaged ones.
    """
    if config["network_path"] and is_packaged_name(config["network_path"]):
        raise UserError(
            f"network_path {config['network_path']!r} is a name of packaged weights, which stay as they are; "
            "expected a run or a file of your own (export_weights.py copies them into one)"
        )
    trained = open_network(config, given)
    if "3D" not in trained.network.output_types:
        raise UserError(f"{config['network_path']!r} was not trained for poses; expected weights of stage 2")
    if (stored := trained.trained_with) is None:
        raise UserError(f"{config['network_path']!r} holds published weights; expected a network trained here")
    if "dataset_folder_train" not in stored and "dataset_folder_train" not in given:
        raise UserError(
            "dataset_folder_train is not given; expected the set whose held-out crops the network never saw"
        )
    known = {key: stored[key] for key in HELD_OUT_KEYS if key in stored and key not in given}
    file = weights_file(trained.config["network_path"])
    # The fit takes minutes.
    check_writable(file)
    # The file is read, and written with the head: what a training stored meanwhile would be lost.
    with writing(run) if (run := run_of(file)) else writing_file(file):
        report = fit_trust(trained._replace(config={**trained.config, **known}))
        add_trust(file, trained.network.trust)
    return report


def fit_trust(trained: Trained) -> Report:
    """Give `trained.network` a head for trust, fitted to the training set `dataset_folder_train` of its config."""
    network, config, hardware, _ = trained
    dataset = open_training_set({**config, "preload_images": False}, ("img_crop", "3D"))
    rng = np.random.default_rng(config["seed"])
    # A recording that is one sequence is split by time; of several, whole sequences are held out in every training.
    parts = training_rows(dataset.labels, config, split_recording)
    # Subjects who were held out altogether may have given labels all the same.
    labeled, _ = split_of_subjects(dataset.labels, parts, config, "label_subjects", split_recording)
    train, held_out = rng.permutation(parts[0]), rng.permutation(np.setdiff1d(parts[1], labeled))
    if len(held_out) < FEWEST_HELD_OUT:
        raise UserError(
            f"{config['dataset_folder_train']!r} has {len(held_out)} held-out crops; expected at least "
            f"{FEWEST_HELD_OUT} to calibrate trust (more recordings, or a larger validation_fraction)"
        )
    folded, copies = fold_batch_norm(network), torch.tensor(COPIES)
    normal = (normalize(dataset.__getitems__(rows)["img_crop"]) for rows in _batches(train[:TRAINING_CROPS]))
    latents, _ = _encode(folded, hardware, normal, copies[:1])
    pictures = list(_pictures(dataset, held_out[:HELD_OUT_CROPS], config["seed"]))
    crops = (batch for kind in pictures for batch in kind.crops.split(BATCH))
    samples = _samples(pictures, *_encode(folded, hardware, crops, copies), network.pose_mean.float().cpu(), dataset)
    head, scores = fit_head({"copies": copies, **latent_statistics(latents[:, 0])}, samples)
    network.trust = head.to(hardware.device)
    return _report(head, samples, scores)


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    return iter(np.array_split(rows, -(-len(rows) // BATCH)))


def _encode(
    network: EncodeDecode, hardware: Hardware, batches: Iterable[torch.Tensor], copies: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (N,K,D) and poses (N,K,51) of `copies` of all crops, float32, on the CPU."""

    @torch.no_grad()
    def encode(crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with hardware.autocast():
            latents, poses = encode_copies(network, crops.to(hardware.device), copies)
        return latents.cpu(), poses.float().cpu()

    latents, poses = zip(*map_batches(encode, batches, hardware.device), strict=True)
    return torch.cat(latents), torch.cat(poses)


def _pictures(dataset: MultiViewDataset, rows: np.ndarray, seed: int) -> Iterator[Pictures]:
    generator = torch.Generator().manual_seed(seed)
    batch = dataset.__getitems__(rows)
    crops, true = normalize(batch["img_crop"]), batch["3D"]
    yield Pictures(CLEAN, crops, true, rows)
    changed, rolls = disturbed(crops, generator)
    rolled = rotate_points(true.unflatten(1, (-1, 3)), rotation_about("z", rolls)).flatten(1)
    yield Pictures(DISTURBED, changed, rolled, rows)
    few = rows[:CROPS_WITHOUT_PERSON]
    rooms = None
    if "bg_crop" in dataset.kinds:
        rooms = normalize(MultiViewDataset(dataset.root, ("bg_crop",)).__getitems__(few)["bg_crop"])
    for kind, pictures in without_person(crops[: len(few)], rooms, generator).items():
        yield Pictures(kind, pictures, true[: len(few)], few)


def _samples(
    pictures: list[Pictures],
    latents: torch.Tensor,
    poses: torch.Tensor,
    mean_pose: torch.Tensor,
    dataset: MultiViewDataset,
) -> Samples:
    kind = np.concatenate([np.full(len(kind.rows), kind.kind) for kind in pictures])
    rows, true = np.concatenate([kind.rows for kind in pictures]), torch.cat([kind.true for kind in pictures])
    person = torch.from_numpy(np.isin(kind, (CLEAN, DISTURBED)))
    # In the order of subjects, then sequences, a fold has other people, or at least other motions, than the others.
    order = np.lexsort([dataset.labels[name][rows] for name in ("frame", "seq", "subj")])
    fold = np.empty(len(rows), np.int64)
    fold[order] = FOLDS * np.arange(len(rows)) // len(rows)
    return Samples(
        latents,
        poses,
        error=1000 * n_mpjpe(poses[:, 0], true),
        correct=n_pck(poses[:, 0], true, CORRECT) * person,
        lost=float(1000 * n_mpjpe(mean_pose.expand_as(true), true).mean()),
        kind=kind,
        fold=fold,
    )


def _report(head: TrustHead, samples: Samples, scores: torch.Tensor) -> Report:
    flagged = (scores > head.score_limit).numpy()
    person = np.isin(samples.kind, (CLEAN, DISTURBED))
    order = scores.numpy()[person].argsort()
    quarters = [float(part.mean()) for part in np.array_split(samples.error.numpy()[person][order], 4)]
    kinds = dict.fromkeys(samples.kind.tolist())
    return Report(len(samples.kind), {kind: float(flagged[samples.kind == kind].mean()) for kind in kinds}, quarters)
