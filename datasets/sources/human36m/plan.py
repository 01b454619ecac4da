"""Plans the preparation of Human3.6M: all views with their lengths, and what is wrong with them."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from datasets.cameras.agreement import MIN_CAMERAS
from datasets.sources.human36m.archives import Source, read_cdf_poses
from datasets.sources.human36m.metadata import CAMERA_IDS, Metadata, RecordedSequence
from datasets.video.frames import count_frames, read_frames
from utils.errors import UserError

# (subject, file name): the poses of these sequences are offset from the person in the images.
SHIFTED = {(9, "Greeting"), (9, "SittingDown 1"), (9, "Waiting 1")}
# (subject, file name, camera): known to be missing or broken in the official download.
KNOWN_BROKEN = {(11, "Directions", 0)}
MAX_MISSING_FRAMES = 25  # half a second of poses without frames at the end of a video is normal


class PlannedView(NamedTuple):
    """One camera of one sequence. num_frames: 0 where there is no usable video, with the reason in `note`. every: the
    step between frames that become crops. end: frames from this one on are left out; None: none."""

    sequence: RecordedSequence
    cam: int
    poses: Path
    video: Path
    num_poses: int
    num_frames: int
    every: int
    note: str = ""
    end: int | None = None

    @property
    def length(self) -> int:
        """Number of frames that have a pose and an image."""
        return min(self.num_poses, self.num_frames)

    @property
    def frames(self) -> range:
        """Numbers of the frames that become crops: every N-th that has a pose and an image."""
        return range(0, self.length if self.end is None else min(self.length, self.end), self.every)

    @property
    def name(self) -> str:
        """Subject, sequence and camera, for messages."""
        return f"S{self.sequence.subject} {self.sequence.name}, camera {CAMERA_IDS[self.cam]}"

    @property
    def known_broken(self) -> bool:
        """Whether even a complete download may lack this video."""
        return (self.sequence.subject, self.sequence.name, self.cam) in KNOWN_BROKEN

    @property
    def shifted(self) -> bool:
        """Whether the poses are known to be offset from the person."""
        return (self.sequence.subject, self.sequence.name) in SHIFTED


def pose_lengths(metadata: Metadata, source: Source, subject: int) -> dict[RecordedSequence, int]:
    """Number of poses of each sequence of a subject. Raises UserError with the names of missing files."""
    sequences, folder = metadata.sequences(subject), source.poses(subject)
    missing = [sequence.name for sequence in sequences if not pose_file(folder, sequence).is_file()]
    if missing:
        raise UserError(
            f"{folder}: expected {len(sequences)} files for S{subject}, got {len(sequences) - len(missing)}; "
            f"missing: {', '.join(f'{name}.cdf' for name in missing[:4])}{', ...' if len(missing) > 4 else ''}"
        )
    return {sequence: len(read_cdf_poses(pose_file(folder, sequence))) for sequence in sequences}


def plan_subject(source: Source, lengths: dict[RecordedSequence, int], subject: int, every: int) -> list[PlannedView]:
    """All views of a subject. Every video is opened and its first frame decoded."""
    poses, videos = source.poses(subject), source.videos(subject)
    if not any(videos.glob("*.mp4")):
        raise UserError(f"{videos}: expected {len(lengths) * len(CAMERA_IDS)} videos for S{subject}, got 0")
    views = []
    for sequence, length in lengths.items():
        for cam, name in enumerate(CAMERA_IDS):
            video = videos / f"{sequence.name}.{name}.mp4"
            views.append(_checked(PlannedView(sequence, cam, pose_file(poses, sequence), video, length, 0, every)))
    return views


def check_views(views: list[PlannedView]) -> None:
    """Raises UserError for views whose video is missing or far too short, which a complete download does not have."""
    faulty = [
        view
        for view in views
        if not view.known_broken and (not view.num_frames or view.num_poses - view.num_frames > MAX_MISSING_FRAMES)
    ]
    if faulty:
        others = f" (and {len(faulty) - 1} more)" if len(faulty) > 1 else ""
        raise UserError(f"{faulty[0].name}: {faulty[0].note}{others}; repair the download or use --skip-broken")


def drop_single_view_frames(views: Iterable[PlannedView]) -> list[PlannedView]:
    """The views without frames that fewer than `MIN_CAMERAS` have: they have no other view to learn from."""
    kept = []
    for _, group in groupby(views, lambda view: view.sequence):
        of_sequence = list(group)
        # All begin at frame 0: there are enough cameras up to where the second longest video ends.
        end = sorted((view.length for view in of_sequence), reverse=True)[MIN_CAMERAS - 1]
        for view in of_sequence:
            cut = view._replace(end=end)
            dropped = len(view.frames) - len(cut.frames)
            note = f"{dropped} frames that only one camera has are left out" if dropped else ""
            kept.append(cut._replace(note="; ".join(filter(None, (view.note, note)))))
    return kept


def pose_file(folder: Path, sequence: RecordedSequence) -> Path:
    """The file of the world poses of a sequence."""
    return folder / f"{sequence.name}.cdf"


def _checked(view: PlannedView) -> PlannedView:
    try:
        num_frames = count_frames(view.video)
        next(read_frames(view.video, [0]))
    except UserError as error:
        # Not raised: whether it is an error depends on --skip-broken and on what is known to be broken.
        return view._replace(note=str(error))
    missing = view.num_poses - num_frames
    note = f"the video ends {missing} frames before the poses; these are left out" if missing > 0 else ""
    return view._replace(num_frames=num_frames, note=note)
