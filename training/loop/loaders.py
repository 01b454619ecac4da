"""Batches for training, validation and test, from a config."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from datasets import FrameDataset
from datasets.reader import MultiViewDataset, collate_batch
from datasets.sampler import GroupedBatchSampler, check_subjects, select_rows, split_validation
from models.scene.options import frame_size
from training.loop.distributed import is_main, rank, world_size
from utils.commands import command_for
from utils.cores import available_cores
from utils.errors import UserError
from utils.images import normalize
from utils.interrupts import leave_to_parent
from utils.keys import KEYS
from utils.readers import names_text

CROP_KEYS = ("img_crop", "bg_crop")
MASK_KINDS = ("mask_crop", "bg_crop")  # either shows where the person is
_MASKED = ("augment_background", "augment_person_color", "mixed_background")  # keys that ask for them
VIEW_KEYS = (*CROP_KEYS, "extrinsic_rot", "extrinsic_rot_inv")  # what a novel view is made of
FRAME_KEYS = ("img", "bg")  # in full frames, what crops are to one person

# (labels, fraction, seed, rows=None) -> training rows and held-out ones, of all rows or of `rows`.
Split = Callable[..., tuple[np.ndarray, np.ndarray]]

# By label name: crops (B,3,R,R) or frames (B,3,H,W), rotations (B,3,3), poses (B,51) or (B,P,51), indices (B,).
Batch = dict[str, torch.Tensor]


def open_training_set(config: dict, keys: tuple[str, ...], masks: Sequence[str] = ()) -> MultiViewDataset:
    """`keys` of the training layout in `dataset_folder_train`, and `masks`, as `mask_kinds` gives them for it.

    UserError where it is missing or has another size.
    """
    folder, size = config["dataset_folder_train"], config["inputDimension"]
    render = f"{command_for('render_dataset')} --output {folder} --crops 40000 --size {size}"
    _check_folder("dataset_folder_train", folder, f"a set in the training layout, which `{render}` renders")
    return _open(folder, config, keys, "inputDimension is", masks)


def open_mixed_set(config: dict, keys: tuple[str, ...], masks: Sequence[str] = ()) -> MultiViewDataset:
    """The same of `dataset_folder_mixed`. UserError where it is missing or has another size."""
    folder, size = config["dataset_folder_mixed"], config["inputDimension"]
    _check_folder(
        "dataset_folder_mixed", folder, f"rendered people: a set in the training layout with crops of {size} px"
    )
    return _open(folder, config, keys, "inputDimension is", masks)


def open_test_set(config: dict, keys: tuple[str, ...], masks: bool = False) -> MultiViewDataset:
    """`keys` of the training layout in `dataset_folder_test`; with `masks`, also what of the set shows where the person
    is. UserError where it is missing or has another size.
    """
    # A run names the test set of the machine that trained it. Rendered people would not stand in for missing data.
    folder, size = config["dataset_folder_test"], config["inputDimension"]
    expected = f"dataset_folder_test=FOLDER, a set in the training layout with crops of {size} px"
    _check_folder("dataset_folder_test", folder, expected)
    present = MultiViewDataset(folder, keys=()).kinds if masks else ()
    return _open(folder, config, keys, "the network expects", [kind for kind in MASK_KINDS if kind in present])


def open_frames(config: dict, keys: tuple[str, ...], folder_key: str = "dataset_folder_train") -> FrameDataset:
    """`keys` of the full frames in the folder that `folder_key` names.

    UserError where they are missing or have another size, and where a scene to train on has more people than boxes.
    """
    folder, (width, height) = config[folder_key], frame_size(config)
    _check_folder(folder_key, folder, f"a set of full frames of {width} x {height} px, as render_dataset.py writes")
    dataset = FrameDataset(folder, keys=keys, preload=config["preload_images"], progress=is_main())
    if dataset.size != (height, width):
        raise UserError(
            f"the frames in {folder!r} have {dataset.size[1]} x {dataset.size[0]} px, but fullFrameResolution is "
            f"[{width}, {height}]; expected a set that was rendered or prepared at that size"
        )
    boxes = config["spatial_transformer_num"]
    # In tests, who has no box is missed.
    if dataset.num_people > boxes and folder_key == "dataset_folder_train":
        raise UserError(
            f"{folder!r} has up to {dataset.num_people} people in a scene, but spatial_transformer_num is {boxes}; "
            "expected at least one box for each person"
        )
    return dataset


def mask_kinds(config: dict) -> list[tuple[str, ...]]:
    """The kinds of crops that show where the person is, for each set of a training: its masks, and backgrounds.

    Backgrounds are those of all sets, or of none, because crops of a batch have them alike. UserError for a set that
    has neither.
    """
    folders = [config[key] for key in ("dataset_folder_train", "dataset_folder_mixed") if config[key] is not None]
    present = [MultiViewDataset(folder, keys=()).kinds for folder in folders]
    usable = MASK_KINDS if all("bg_crop" in of_set for of_set in present) else ("mask_crop",)
    kinds = [tuple(kind for kind in usable if kind in of_set) for of_set in present]
    for folder, of_set in zip(folders, kinds, strict=True):
        if not of_set:
            both = " that both sets have" if len(folders) > 1 else ""
            asking = " and ".join(key for key in _MASKED if config[key])
            raise UserError(f"{folder!r} has neither masks nor backgrounds{both}; expected either, or {asking} of 0")
    if len(folders) > 1 and config["mixed_background"] and "mask_crop" not in kinds[-1]:
        raise UserError(f"dataset_folder_mixed {folders[-1]!r} has no masks; expected some, or mixed_background=0")
    return kinds


def _check_folder(key: str, folder: str, expected: str) -> None:
    if not Path(folder).is_dir():
        wrong = "is not a folder" if Path(folder).exists() else "does not exist"
        raise UserError(f"{key} {folder!r} {wrong}; expected {expected}")


def _open(folder: str, config: dict, keys: tuple[str, ...], wanted: str, masks: Sequence[str] = ()) -> MultiViewDataset:
    if not (config["skip_background"] or config["add_background"]):
        keys = tuple(key for key in keys if key != "bg_crop")
    keys = tuple(dict.fromkeys([*keys, *masks]))
    dataset = MultiViewDataset(folder, keys=keys, preload=config["preload_images"], progress=is_main())
    if "img_crop" in keys and dataset.size != config["inputDimension"]:
        raise UserError(
            f"the crops in {folder!r} are {dataset.size} px wide, but {wanted} {config['inputDimension']} px; "
            "expected a set that was rendered or prepared at that size"
        )
    return dataset


def load_images(dataset: MultiViewDataset, config: dict, rows: np.ndarray) -> MultiViewDataset:
    """`dataset`, with the images of `rows`, all that is read from now on, in memory if `preload_images` says so.

    It takes minutes, so check all else before.
    """
    return dataset.preload(is_main(), rows) if config["preload_images"] else dataset


def cache_on_device(dataset: MultiViewDataset, config: dict, device: torch.device) -> MultiViewDataset:
    """`dataset`, with its crops in the memory of `device` if `crops_on_device` says so: batches are gathered there.

    "auto": on a GPU, where crops are packed or preloaded and take at most half of its free memory.
    """
    wanted = config["crops_on_device"]
    if wanted == "auto" and device.type == "cuda" and not dataset.decodes:
        wanted = "always" if dataset.nbytes <= torch.cuda.mem_get_info(device)[0] / 2 else "never"
    return dataset.to(device) if wanted == "always" else dataset


def training_rows(labels: dict, config: dict, split: Split = split_validation) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training and of the held-out (validation) sequences of the chosen actors, of every N-th instant.

    `split`: what is held out.
    """
    _print_left_out(labels, config)
    parts = split(labels, config["validation_fraction"], config["seed"])
    parts = split_of_subjects(labels, parts, config, "actor_subset", split)
    train, validation = (select_rows(labels, every_nth_frame=config["every_nth_frame"], rows=rows) for rows in parts)
    if len(train) == 0:
        raise UserError(
            f"actor_subset {config['actor_subset']!r} leaves no training crops in {config['dataset_folder_train']!r}"
        )
    if len(validation) == 0:
        raise UserError(
            f"validation_fraction {config['validation_fraction']} holds out no crops of actor_subset "
            f"{config['actor_subset']!r}; expected some, which choose the best network, of two or more sequences"
        )
    return train, validation


def _print_left_out(labels: dict, config: dict) -> None:
    """Print which subjects of the set the default of `actor_subset` leaves out: nobody chose to."""
    subjects = config["actor_subset"]
    if subjects == KEYS["actor_subset"].default and np.ndim(labels["subj"]) == 1 and is_main():
        left_out = np.setdiff1d(labels["subj"], subjects)
        if len(left_out):
            shown, folder = names_text(left_out), config["dataset_folder_train"]
            print(f"left out of {folder!r}: subjects {shown}, not in actor_subset {subjects}")


def split_of_subjects(
    labels: dict, parts: tuple[np.ndarray, np.ndarray], config: dict, key: str, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Those of `parts`, training and held-out rows, that show the subjects that `key` of `config` names.

    Subjects of few sequences are split together, so that some may be on one side alone. Where all the chosen ones are,
    `split` divides their own rows; where it cannot, one side stays empty.
    """
    train, held_out = (rows_of_subjects(labels, rows, config[key], key) for rows in parts)
    if len(train) == 0 or len(held_out) == 0:
        with suppress(UserError):
            own = np.union1d(train, held_out)
            return split(labels, config["validation_fraction"], config["seed"], own)
    return train, held_out


def chosen_rows(labels: dict, config: dict) -> np.ndarray:
    """The rows that a training uses, held-out ones too: of `actor_subset`, of every N-th instant."""
    thinned = select_rows(labels, every_nth_frame=config["every_nth_frame"])
    return rows_of_subjects(labels, thinned, config["actor_subset"])


def rows_of_subjects(
    labels: dict, rows: np.ndarray, subjects: Sequence[int] | None, key: str = "actor_subset"
) -> np.ndarray:
    """Those of `rows` that show `subjects` (None: all); of full frames, nobody else at their instant.

    UserError, with the name `key` of the subjects, where nobody has such a number; of crops, only where they are not
    the default, which is one data set's.
    """
    if subjects is None:
        return rows
    shown = np.asarray(labels["subj"])
    if shown.ndim > 1 or list(subjects) != KEYS[key].default:
        check_subjects(labels, subjects, key)
    if shown.ndim > 1:
        return select_rows(labels, subjects, rows=rows)
    return rows[np.isin(shown[rows], subjects)]


def grouped_sampler(labels: dict, rows: np.ndarray, config: dict, shuffle: bool) -> GroupedBatchSampler:
    """Batches in the published structure: with `shuffle`, of this process's share; without, in a fixed order."""
    name = "batch_size_train" if shuffle else "batch_size_test"
    return GroupedBatchSampler(
        labels,
        batch_size=config[name],
        use_cam_batches=max(1, config["useCamBatches"]),
        use_subject_batches=config["useSubjectBatches"] and shuffle,
        rows=rows,
        shuffle=shuffle,
        drop_last=shuffle,
        seed=config["seed"],
        rank=rank() if shuffle else 0,
        world_size=world_size() if shuffle else 1,
        name=name,
    )


class TrainingBatches:
    """Row indices of the batches of iterations `first`..`last`-1, one epoch after the other.

    Iteration i always gives the same rows, so that a resumed run sees what it would have seen.
    """

    def __init__(self, sampler: GroupedBatchSampler, first: int, last: int):
        if len(sampler) == 0:
            raise UserError("the training set is smaller than one batch; lower batch_size_train or render more crops")
        self.sampler, self.first, self.last = sampler, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[np.ndarray]:
        iteration = self.first
        while iteration < self.last:
            # Also in the middle of an epoch, where a resumed run may begin.
            self.sampler.set_epoch(*divmod(iteration, len(self.sampler)))
            for rows in self.sampler:
                if iteration == self.last:
                    break
                yield rows
                iteration += 1


def evenly_spaced(batches: list, crops: int) -> list:
    """Evenly spaced ones of `batches`, with at most `crops` crops together; at least one batch."""
    if not batches:
        return batches
    keep = max(1, min(len(batches), crops // len(batches[0])))
    return [batches[i] for i in np.linspace(0, len(batches) - 1, keep).round().astype(int)]


def make_loader(dataset: MultiViewDataset, batches: Iterable, config: dict) -> torch.utils.data.DataLoader:
    """DataLoader over batches of row indices, read by `num_workers` processes, at most one per core.

    Crops that need no decoding are read in this process: those in memory always, packed ones where there is no GPU.
    """
    on_gpu = torch.cuda.is_available()
    in_memory = config["preload_images"] or dataset.device.type != "cpu"
    # Reading ahead hides the time of reading behind a GPU's work. On CPUs, readers only compete with the training.
    reads_ahead = not in_memory and (dataset.decodes or on_gpu)
    return torch.utils.data.DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate_batch,
        worker_init_fn=_leave_signals,
        num_workers=min(config["num_workers"], available_cores()) if reads_ahead else 0,
        pin_memory=on_gpu and dataset.device.type == "cpu",
    )


def training_batches(dataset: MultiViewDataset, batches: Iterable, config: dict) -> Iterable[Batch]:
    """What training reads of batches of row indices: crops, or only `row` (B,) where a GPU holds the crops."""
    if dataset.device.type != "cuda":
        return make_loader(dataset, batches, config)
    # The training step gathers them there, so that nothing but their numbers travels.
    return ({"row": torch.from_numpy(np.asarray(rows, np.int64))} for rows in batches)


def _leave_signals(worker: int) -> None:
    # Readers that ended by them would break the iteration in progress. torch has set a handler of its own by now.
    leave_to_parent()


def normalize_batch(batch: dict) -> dict:
    """A batch on its device -> the network's input: normalized crops or frames (B,3,...) and rotations (B,3,3)."""
    images = {key: normalize(batch[key]) for key in (*CROP_KEYS, *FRAME_KEYS) if key in batch}
    return {**batch, **images}
