"""Labels without motion capture: the 2D landmarks of a recording, triangulated; what is kept of them, and a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.agreement import MIN_CAMERAS
from datasets.cameras.calibration import Calibration
from datasets.cameras.camera import Camera
from datasets.layout.labels import LABEL_SOURCE
from datasets.sources.own_videos.landmarks import People
from datasets.sources.own_videos.person_track import PersonTrack
from datasets.sources.own_videos.recordings import UP, PoseClock, Recording, clock_arrays
from datasets.triangulation.points import LANDMARKS, LIMB_POINTS, POINT_NAMES, skeleton
from datasets.triangulation.triangulate import AGREES, UNSEEN, Triangulation, triangulate
from utils.files import save_npz, write_atomically
from utils.skeleton import ROOT_JOINT

TRIANGULATED = "triangulated from BlazePose's 2D landmarks in all cameras, not measured"

MIN_GAIN = 0.9  # corrected cameras are used where they lower the reprojection error to this part
MIN_PASSED = 0.5  # of the instants that two cameras see; where fewer pass, the cameras do not belong together


class Followed(NamedTuple):
    """The person of a recording in C cameras at T instants, NaN where a camera does not see the person.

    pixels: (C,T,33,2). visibility: (C,T,33). world: (C,T,33,3) meters, from one image alone.
    """

    pixels: np.ndarray
    visibility: np.ndarray
    world: np.ndarray


def followed(people: Sequence[People], chosen: np.ndarray) -> Followed:
    """Of each camera's people at T instants, those of `chosen` (C,T); -1 for none."""
    parts = []
    for name in ("landmarks", "visibility", "world"):
        columns = []
        for camera, numbers in zip(people, chosen, strict=True):
            values = getattr(camera, name)[np.arange(len(numbers)), numbers].astype(np.float64)
            values[numbers < 0] = np.nan
            columns.append(values)
        parts.append(np.stack(columns))
    return Followed(*parts)


def label(
    names: Sequence[str], cameras: Sequence[Camera], person: Followed, seconds: float, correct: bool
) -> tuple[Triangulation, list[str]]:
    """The skeleton of a person, and lines of the report. correct: correct the cameras too, where this helps."""
    lines = []
    found = triangulate(cameras, person.pixels, person.visibility, seconds)
    if correct:
        corrected = triangulate(cameras, person.pixels, person.visibility, seconds, correct_cameras=True)
        before, after = (_median(one.errors) for one in (found, corrected))
        if after < MIN_GAIN * before:
            found = corrected
            lines.append(f"cameras corrected, which lowers the reprojection error from {before:.1f} to {after:.1f} px:")
            lines += [f"  {line}" for line in _corrections(names, cameras, corrected.cameras)]
        else:
            lines.append(f"cameras kept: correcting them gives {_text(after)} px instead of {_text(before)} px")
    return found, lines


def _corrections(names: Sequence[str], before: Sequence[Camera], after: Sequence[Camera]) -> list[str]:
    lines = []
    for name, old, new in zip(names, before, after, strict=True):
        cosine = (np.trace(new.rotation @ old.rotation.T) - 1) / 2
        angle, moved = np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.linalg.norm(new.center - old.center)
        lines.append(f"{name}: rotated by {angle:.2f} degrees, moved by {100 * moved:.1f} cm")
    return lines


def track_of(
    recording: Recording, calibration: Calibration, found: Triangulation, instants: range, num_frames: dict[str, int]
) -> PersonTrack:
    """The track of the instants that pass. A camera sees the person where the root joint lies in its image.

    The person may be missed in that image, but not in all of the camera's: then something hides the person.
    """
    sees = _sees_at_all(found)
    numbers = np.array(instants)[found.passed]
    joints = found.joints[found.passed]
    seen = np.zeros((len(numbers), len(recording.videos)), dtype=bool)
    for column, name in enumerate(recording.videos):
        camera = calibration.cameras[name]
        filmed = numbers + recording.offsets[name] < num_frames[name]
        seen[:, column] = sees[column] & filmed & camera.sees(camera.world_to_cam(joints[:, ROOT_JOINT]))
    enough = seen.sum(1) >= MIN_CAMERAS
    skipped = found.left_out.copy()
    skipped["outside of all but one image"] = int((~enough).sum())
    return PersonTrack(numbers[enough], joints[enough, ROOT_JOINT], joints[enough], seen[enough], skipped)


def error_table(names: Sequence[str], found: Triangulation) -> list[str]:
    """Median reprojection errors per point and camera, pixels, what was repaired, and warnings of wrong cameras."""
    limbs = [POINT_NAMES[point] for point in LIMB_POINTS]
    width = max(map(len, names))
    lines = [f"median reprojection error {_text(_median(found.errors))} px; of each camera and joint:"]
    lines.append(" " * width + "".join(f"{name:>15}" for name in [*limbs, "head", "all"]))
    for name, errors, sees in zip(names, found.errors, _sees_at_all(found), strict=True):
        if not sees:
            lines.append(f"{name:>{width}}   WARNING: the person was detected in none of its images")
            continue
        columns = [errors[:, point] for point in LIMB_POINTS] + [errors[:, len(LIMB_POINTS) :], errors]
        lines.append(f"{name:>{width}}" + "".join(f"{_text(_median(column)):>15}" for column in columns))
    swapped = ", ".join(f"{name} {count}" for name, count in zip(names, found.exchanged, strict=True))
    change = np.percentile(100 * found.bone_changes[found.passed], [50, 100]) if found.passed.any() else [np.nan] * 2
    middle, largest = map(_text, change)
    lines.append(f"images in which left and right were exchanged: {swapped}")
    lines.append(f"bones differ from their median length by {middle} % (median), {largest} % (largest)")
    return [*lines, *_warnings(names, found)]


def _warnings(names: Sequence[str], found: Triangulation) -> list[str]:
    """Of cameras that show other moments, or are not where the calibration says."""
    check = "check the offsets (synchronize_videos.py finds them), and whether a camera was moved after its calibration"
    lines, passed, seen = [], int(found.passed.sum()), len(found.passed) - found.left_out[UNSEEN]
    if passed < MIN_PASSED * seen:
        reasons = ", ".join(f"{count} {why}" for why, count in found.left_out.items() if count and why != UNSEEN)
        lines.append(f"WARNING: cameras agree at {passed} of {seen} instants that two of them see ({reasons}): {check}")
    lines += [
        f"WARNING: rays of {name} miss the limbs on which other cameras agree by {1000 * miss:.0f} mm (median): {check}"
        for name, miss in zip(names, found.misses, strict=True)
        if miss > AGREES
    ]
    return lines


def _sees_at_all(found: Triangulation) -> np.ndarray:
    """(C,) bool, whether a camera sees the person at any instant."""
    return np.isfinite(found.errors).any((1, 2))


def _median(errors: np.ndarray) -> float:
    """The median of what is known, NaN where nothing is. NumPy's own warns then."""
    known = errors[np.isfinite(errors)]
    return float(np.median(known)) if len(known) else np.nan


def _text(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "-"


def single_view_line(names: Sequence[str], person: Followed, found: Triangulation) -> str:
    """How far BlazePose's own 3D pose, from one camera, is from the triangulated one, as a line of the report."""
    errors = []
    for camera, world in zip(found.cameras, person.world, strict=True):
        poses = skeleton(world[:, list(LANDMARKS)])
        known = found.passed & np.isfinite(poses).all((1, 2))
        poses, joints = poses[known], found.joints[known] @ camera.rotation.T
        poses, joints = (one - one[:, ROOT_JOINT, None] for one in (poses, joints))
        scale = (poses * joints).sum((1, 2)) / (poses**2).sum((1, 2))
        errors.append(1000 * np.linalg.norm(scale[:, None, None] * poses - joints, axis=-1).mean(1))
    each = ", ".join(
        f"{name} {error.mean():.0f}" if len(error) else f"{name} -" for name, error in zip(names, errors, strict=True)
    )
    return f"BlazePose alone, from one camera: N-MPJPE {np.concatenate(errors).mean():.0f} mm ({each})"


def write_poses(file: Path, found: Triangulation, instants: range, clock: PoseClock) -> None:
    """Write poses as `--poses` reads them: one row per instant from 0, NaN where none passed; meters, z up.

    The file says so, with which rate and offsets, and that they are triangulated, as will every set that is made of it.
    """
    poses = np.full((instants[-1] + 1, *found.joints.shape[1:]), np.nan)
    poses[np.array(instants)[found.passed]] = found.joints[found.passed]
    file.parent.mkdir(exist_ok=True)

    arrays = {"poses": poses.astype(np.float32), LABEL_SOURCE: np.array(TRIANGULATED), UP: np.array("z")}
    arrays |= clock_arrays(clock)
    write_atomically(file, lambda part: save_npz(part, arrays))
