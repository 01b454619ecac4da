"""The track of the person through a recording: positions, and the cameras that see the person at each instant."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from datasets.cameras.agreement import MIN_CAMERAS
from datasets.cameras.calibration import Calibration
from datasets.cameras.crop_camera import BOX_METRES
from datasets.sources.own_videos.boxes import Boxes, locate_person
from datasets.sources.own_videos.recordings import Recording
from utils.errors import UserError
from utils.skeleton import BONES, JOINT_NAMES, ROOT_JOINT

# Median length of all bones of 200 rendered adults, meters. Nine of ten are within 10 % of it.
ADULT_BONES = 4.2
USUAL_SIZES = (0.9, 1.1)
NECK = JOINT_NAMES.index("neck")
MIN_CROP = 10  # pixels of the image: usual are hundreds, of which centimeters taken for meters leave few
MAX_TILT = 60  # degrees between the trunk and the world's z axis in the median: people bend, but not all the time


class PersonTrack(NamedTuple):
    """instants: (M,) increasing. roots: (M,3) meters, world: centers of the crops. joints: (M,17,3) meters, world; None
    without poses. seen: (M,C) bool, whether a camera sees the person, in the order of the recording's videos. skipped:
    number of instants by reason."""

    instants: np.ndarray
    roots: np.ndarray
    joints: np.ndarray | None
    seen: np.ndarray
    skipped: Counter


def size_note(joints: np.ndarray, box_metres: float) -> str | None:
    """What to say of a person with `joints` (M,17,3), meters, whom crops show unlike those of adults; None: nothing.

    Pictures alone cannot tell a child from an adult far away, so networks know people of the usual size best.
    """
    bones = sum(np.linalg.norm(joints[:, a] - joints[:, b], axis=1) for a, b in BONES)
    adult = float(np.median(bones)) / ADULT_BONES
    if USUAL_SIZES[0] <= adult * BOX_METRES / box_metres <= USUAL_SIZES[1]:
        return None
    return (
        f"WARNING: the person's bones are {adult:.2f} times as long as an adult's, whom networks know best in crops of "
        f"{BOX_METRES:g} m; --box-metres {adult * BOX_METRES:.1f} shows this person as large"
    )


def upright_note(joints: np.ndarray) -> str | None:
    """What to say of a person with `joints` (T,17,3), world, NaN where unknown, who is not upright; None: nothing."""
    trunks = joints[:, NECK] - joints[:, ROOT_JOINT]
    trunks = trunks[np.isfinite(trunks).all(1)]
    if not len(trunks):
        return None
    angle = np.degrees(np.median(np.arctan2(np.linalg.norm(trunks[:, :2], axis=1), trunks[:, 2])))
    if angle <= MAX_TILT:
        return None
    return (
        f"WARNING: the trunk points {angle:.0f} degrees away from the world's z axis (median): either the person lies, "
        'or another axis of the calibration is up, which "up" in its file says (docs/own_videos.md)'
    )


def box_frames_note(boxes: Boxes, num_frames: dict[str, int]) -> str | None:
    """What to say of boxes in frames that the videos do not have, and of those that begin at 1; None: nothing."""
    late = {name: [frame for frame in boxes[name] if frame >= num_frames[name]] for name in boxes}
    listed = [
        f"{name} {len(frames)} (first: frame {min(frames)} of {num_frames[name]})"
        for name, frames in late.items()
        if frames
    ]
    expected = "expected frames counted from 0 in each camera's own video"
    if listed:
        return f"WARNING: boxes after the end of the video are left out: {', '.join(listed)}; {expected}"
    # People who come into view do so in another frame of each camera.
    starts = [min(frames) for frames in boxes.values() if frames]
    if len(starts) >= MIN_CAMERAS and set(starts) == {1}:
        return f"WARNING: the boxes of all cameras begin at frame 1, as if they were counted from 1; {expected}"
    return None


def late_poses_note(poses: np.ndarray, recording: Recording, num_frames: dict[str, int]) -> str | None:
    """What to say of `poses` (T,17,3), NaN where unknown, at instants that no camera filmed; None: nothing."""
    end = max(num_frames[name] - offset for name, offset in recording.offsets.items())
    late = int(np.isfinite(poses[end:]).all((1, 2)).sum())
    if not late:
        return None
    return (
        f"WARNING: {late} poses after the end of all videos, at instant {end}, are left out; expected a pose for each "
        "frame: row i belongs to instant i"
    )


def filmed_instants(recording: Recording, num_frames: dict[str, int], every: int) -> range:
    """Every N-th instant, from 0 to the last that two cameras filmed."""
    # After the second longest video at most one camera is left, which has no other view.
    ends = sorted(num_frames[name] - recording.offsets[name] for name in recording.videos)
    return range(0, max(0, ends[-MIN_CAMERAS]), every)


def track_from_poses(
    recording: Recording, calibration: Calibration, poses: np.ndarray, instants: range, num_frames: dict[str, int]
) -> PersonTrack:
    """The track that `poses` give: (T,17,3) meters, in the world with z up. A camera sees the person where the root
    joint lies in its image."""
    skipped = Counter()
    if len(instants) and instants[-1] >= len(poses):
        skipped["after the last pose"] = sum(instant >= len(poses) for instant in instants)
    known = np.array([i for i in instants if i < len(poses) and np.isfinite(poses[i]).all()], dtype=int)
    skipped["with NaN in the pose"] = len(instants) - len(known) - skipped["after the last pose"]
    seen = np.zeros((len(known), len(recording.videos)), dtype=bool)
    for column, name in enumerate(recording.videos):
        filmed = known + recording.offsets[name] < num_frames[name]
        camera = calibration.cameras[name]
        seen[:, column] = filmed & camera.sees(camera.world_to_cam(poses[known, ROOT_JOINT]))
    enough = seen.sum(1) >= MIN_CAMERAS
    skipped["with the person in fewer than two images"] = int((~enough).sum())
    joints = poses[known[enough]]
    return PersonTrack(known[enough], joints[:, ROOT_JOINT], joints, seen[enough], skipped)


def check_unit(track: PersonTrack, recording: Recording, calibration: Calibration) -> None:
    """UserError where poses are so far from their cameras that no crop can show them, as in a wrong unit."""
    cameras = [calibration.cameras[name] for name in recording.videos]
    depths = np.stack([camera.world_to_cam(track.roots)[:, 2] for camera in cameras], axis=1)
    widths = BOX_METRES / depths * [camera.intrinsics[0, 0] for camera in cameras]
    width, distance = np.median(widths[track.seen]), np.median(depths[track.seen])
    if width < MIN_CROP:
        raise UserError(
            f"{recording.name}: the poses are {distance:.0f} m away from the cameras, where {BOX_METRES:g} m are "
            f"{width:.1g} px wide; expected at least {MIN_CROP} px: check the 'unit' of {recording.calibration}"
        )


def track_from_boxes(recording: Recording, calibration: Calibration, boxes: Boxes, instants: range) -> PersonTrack:
    """The track that boxes give. A camera sees the person where its box agrees with that of another camera."""
    names, skipped = list(recording.videos), Counter()
    kept, roots, seen = [], [], []
    for instant in instants:
        found = [(c, boxes[name].get(instant + recording.offsets[name])) for c, name in enumerate(names)]
        found = [(column, box) for column, box in found if box is not None]
        if len(found) < MIN_CAMERAS:
            skipped["with the person in fewer than two images"] += 1
            continue
        located = locate_person([calibration.cameras[names[column]] for column, _ in found], [box for _, box in found])
        if located is None:
            skipped["with boxes that disagree"] += 1
            continue
        kept.append(instant)
        roots.append(located[0])
        seen.append(np.isin(np.arange(len(names)), [found[index][0] for index in located[1]]))
    columns = len(names)
    return PersonTrack(
        np.array(kept, dtype=int), np.reshape(roots, (-1, 3)), None, np.reshape(seen, (-1, columns)) > 0, skipped
    )
