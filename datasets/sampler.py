"""Selects the rows of an epoch and arranges them in the published batch structure.

An *instant* is one (subj, seq, frame); of full frames, which show several people, one (seq, frame). A batch is a list
of *sub-batches*, each of `use_cam_batches` cameras of one instant. With `use_subject_batches`, sub-batches 2k and 2k+1
are two instants of the same sequence.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch.utils.data import Sampler

from datasets.layout.groups import Groups, group_rows, group_sorted_rows
from datasets.layout.labels import NOBODY, instant_keys, sequence_keys
from utils.errors import UserError


def select_rows(
    labels: Mapping[str, np.ndarray],
    actor_subset: Sequence[int] | None = None,
    every_nth_frame: int = 1,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Sorted rows of the subjects in `actor_subset` (None: all), of every N-th instant of each sequence.

    Of full frames, those instants are kept all of whose people are in `actor_subset`. Instants are counted, not frame
    numbers, so that a set of every 5th frame is not thinned twice. `rows` restricts the choice, for instance to the
    training part of `split_validation`. Raises UserError for an unknown subject.
    """
    keep = np.ones(len(labels["subj"]), dtype=bool)
    if rows is not None:
        keep[:] = False
        keep[rows] = True
    if actor_subset is not None:
        keep &= _shows_only(labels, actor_subset)
    if every_nth_frame < 1:
        raise UserError(f"every_nth_frame is {every_nth_frame}; expected 1 or more")
    if every_nth_frame > 1:
        instants = group_rows(labels, instant_keys(labels))
        sequences = group_sorted_rows(labels, sequence_keys(labels), instants.first)
        rank = np.arange(len(instants.start)) - np.repeat(sequences.start, sequences.count)
        keep[instants.order] &= np.repeat(rank % every_nth_frame == 0, instants.count)
    return np.flatnonzero(keep)


def check_subjects(labels: Mapping[str, np.ndarray], subjects: Sequence[int], name: str) -> None:
    """UserError where labels have nobody of that number; `name`: what messages call the `subjects`."""
    present = np.unique(labels["subj"])
    present = present[present != NOBODY] if labels["subj"].ndim > 1 else present
    unknown = sorted(set(subjects) - set(present.tolist()))
    if unknown:
        raise UserError(f"{name} {list(subjects)}: no subject {unknown[0]}; expected some of {present}")


def _shows_only(labels: Mapping[str, np.ndarray], actor_subset: Sequence[int]) -> np.ndarray:
    """Whether all people of the instant of each row are in `actor_subset`, bool (N,)."""
    check_subjects(labels, actor_subset, "actor_subset")
    subjects = labels["subj"]
    if subjects.ndim == 1:
        return np.isin(subjects, np.asarray(actor_subset))
    others = ~np.isin(subjects, [*actor_subset, NOBODY]).all(axis=1)
    # A camera may not show everybody: the people of an instant are those of all cameras.
    instants = group_rows(labels, instant_keys(labels))
    kept = np.empty(len(others), dtype=bool)
    kept[instants.order] = np.repeat(~np.logical_or.reduceat(others[instants.order], instants.start), instants.count)
    return kept


def split_validation(
    labels: Mapping[str, np.ndarray], fraction: float, seed: int = 0, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split `rows` (None: all) into (training rows, validation rows) by whole sequences.

    Of each subject, random sequences are held out: about `fraction` of the subject's rows, at least one sequence and
    never all. Subjects who have so few sequences that one would be far more are taken together, as one. Of full frames,
    whose sequences show several people, sequences are drawn from all. With fraction 0 nothing is held out.
    Raises UserError where there is only one sequence.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"validation fraction is {fraction}; expected 0 <= fraction < 1")
    rows = np.arange(len(labels["subj"])) if rows is None else rows
    if fraction == 0:
        return rows, rows[:0]
    # Neighboring frames are nearly equal: validation frames of training sequences would measure memory.
    rng = np.random.default_rng(seed)
    sequences = group_rows(labels, sequence_keys(labels), rows)
    if len(sequences.start) < 2:
        raise UserError(
            "there is only one sequence; expected two or more, since whole sequences are held out for validation"
        )
    subject_of = labels["subj"][sequences.first]
    if subject_of.ndim > 1:
        subject_of = np.zeros(len(subject_of), dtype=int)
    subjects, number, lengths = np.unique(subject_of, return_inverse=True, return_counts=True)
    # One of two sequences of each of hundreds of people would be half of the set.
    subject_of = np.where((lengths * fraction < 0.5)[number], subjects[0] - 1, subject_of)
    chosen: list[int] = []
    for subject in np.unique(subject_of):
        shuffled = rng.permutation(np.flatnonzero(subject_of == subject))
        sizes = np.cumsum(sequences.count[shuffled])
        wanted = np.argmin(np.abs(sizes - fraction * sizes[-1])) + 1
        chosen.extend(shuffled[: min(wanted, len(shuffled) - 1)])
    held_out = np.repeat(np.isin(np.arange(len(sequences.start)), chosen), sequences.count)
    return np.sort(sequences.order[~held_out]), np.sort(sequences.order[held_out])


def split_last_instants(
    labels: Mapping[str, np.ndarray], fraction: float, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split `rows` (None: all) into (training rows, validation rows): the last instants, about `fraction` of all.

    At least one instant is held out.

    For a recording of one sequence, which `split_validation` cannot split. Raises UserError where there is one instant.
    """
    instants = group_rows(labels, instant_keys(labels), rows)
    count = max(1, round(fraction * len(instants.start)))
    if count >= len(instants.start):
        raise UserError(f"there are {len(instants.start)} instants; expected two or more, some of which are held out")
    first = instants.start[-count]
    return np.sort(instants.order[:first]), np.sort(instants.order[first:])


class GroupedBatchSampler(Sampler):
    """Batch sampler of row indices, int64 (batch_size,), for MultiViewDataset and FrameDataset.

    Instants with fewer than `use_cam_batches` cameras are skipped. One epoch:

    - shuffle=True: every instant once, in random order, with random distinct cameras. With `use_subject_batches`, each
      is the first of a pair, followed by another random instant of its sequence (by itself, if there is no other).
    - shuffle=False: a fixed order. Every instant once with every run of `use_cam_batches` consecutive cameras;
      left-over cameras are skipped. With `use_subject_batches`, the first half of a sequence is paired with its second
      half. Of an odd number, the last instant is paired with the first, which is then seen twice.

    The incomplete last batch is dropped; `drop_last=False` keeps it, shorter. The order depends on (`seed`, epoch)
    alone. `batch_size` counts all processes together: rank r of `world_size` takes the r-th share of every batch, in
    whole groups. `name`: what messages call it.

    labels: `seq`, `frame`, `cam` (N,), and `subj` (N,) or, of full frames, (N,P). actor_subset, every_nth_frame, rows:
    see `select_rows`.
    Raises UserError when batch_size is not a multiple of the group size, or when there is less than one batch.
    """

    def __init__(
        self,
        labels: Mapping[str, np.ndarray],
        batch_size: int,
        use_cam_batches: int = 2,
        use_subject_batches: bool = True,
        *,
        actor_subset: Sequence[int] | None = None,
        every_nth_frame: int = 1,
        rows: np.ndarray | None = None,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        name: str = "batch_size",
    ):
        self.cams, self.paired, self.shuffle, self.seed = use_cam_batches, bool(use_subject_batches), shuffle, seed
        self.rank, self.world_size, self.epoch, self.start_batch = rank, world_size, 0, 0
        self.group_size = self.cams * (2 if self.paired else 1)
        if use_cam_batches < 1 or batch_size < 1 or batch_size % (self.group_size * world_size):
            each = f" for each of {world_size} processes" if world_size > 1 else ""
            pairs = f", useSubjectBatches {use_subject_batches}" if self.paired else ""
            raise UserError(
                f"{name} is {batch_size}; expected a multiple of {self.group_size}{each} "
                f"(useCamBatches {use_cam_batches}{pairs})"
            )
        self.batch_size = batch_size
        selected = select_rows(labels, actor_subset, every_nth_frame, rows)
        instants = group_rows(labels, instant_keys(labels), selected, within="cam")
        enough = instants.count >= self.cams
        self.instants = Groups(instants.order, instants.start[enough], instants.count[enough])
        self.sequences = group_sorted_rows(labels, sequence_keys(labels), self.instants.first)
        groups = len(self.instants.start) if shuffle else len(self._fixed_groups())
        self.num_batches = groups * self.group_size // batch_size
        if not drop_last:
            self.num_batches = -(-groups * self.group_size // batch_size)
        if self.num_batches < 1:
            raise UserError(
                f"{len(self.instants.start)} instants with {self.cams} or more cameras make no batch of {batch_size}; "
                "expected more data or a smaller batch"
            )

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch to iterate, without its first `start_batch` batches (to resume)."""
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.num_batches

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = (self._random_groups() if self.shuffle else self._fixed_groups()).reshape(-1)
        for index in range(self.start_batch, len(self)):
            batch = rows[index * self.batch_size : (index + 1) * self.batch_size]
            shares = np.array_split(batch.reshape(-1, self.group_size), self.world_size)
            yield shares[self.rank].reshape(-1)

    def _random_groups(self) -> np.ndarray:
        """Row indices (groups, group_size) of one epoch; every instant is the first of one group."""
        rng = np.random.default_rng([self.seed, self.epoch])
        chosen = rng.permutation(len(self.instants.start))
        if self.paired:
            sequence_start = np.repeat(self.sequences.start, self.sequences.count)[chosen]
            length = np.repeat(self.sequences.count, self.sequences.count)[chosen]
            # A step of 1 to length - 1, modulo length, is a uniform choice among the other instants of the sequence; of
            # a single instant, the modulo leads back to itself.
            step = rng.integers(1, np.maximum(length, 2))
            chosen = np.stack([chosen, sequence_start + (chosen - sequence_start + step) % length], axis=1)
        chosen = chosen.reshape(-1)
        count = self.instants.count[chosen]
        # The order of random numbers is a random choice of cameras without replacement, for all instants at once. A 2
        # sorts the cameras last that an instant does not have.
        draw = rng.random((len(chosen), count.max()), dtype=np.float32)
        draw[np.arange(draw.shape[1]) >= count[:, None]] = 2
        cameras = np.argsort(draw, axis=1)[:, : self.cams]
        return self.instants.order[self.instants.start[chosen, None] + cameras].reshape(-1, self.group_size)

    def _fixed_groups(self) -> np.ndarray:
        """Row indices (groups, group_size) in the fixed order, without a loop over instants."""
        runs = self.instants.count // self.cams
        first = np.repeat(self.instants.start, runs) + self.cams * _ranks(runs)
        sub_batches = self.instants.order[first[:, None] + np.arange(self.cams)]
        if not self.paired:
            return sub_batches
        # `ends[i]` counts the sub-batches up to instant i. The appended 0 is found at -1: before the first instant.
        ends = np.append(np.cumsum(runs), 0)
        start = ends[self.sequences.start - 1]
        count = ends[self.sequences.start + self.sequences.count - 1] - start
        half = (count + 1) // 2
        left = np.repeat(start, half) + _ranks(half)
        offset = _ranks(half) + np.repeat(half, half)
        right = np.repeat(start, half) + offset % np.repeat(count, half)
        return np.concatenate([sub_batches[left], sub_batches[right]], axis=1)


def _ranks(counts: np.ndarray) -> np.ndarray:
    """0 .. count - 1 for each of `counts`, concatenated."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
