"""Describes recordings: synchronized videos of one person, with calibration, offsets, and boxes or poses."""

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.calibration import MAX_NAME, UP_AXES, by_composed_name, composed
from datasets.cameras.calibration_formats import calibration_files
from datasets.layout.job import DETAILS
from datasets.layout.labels import LABEL_SOURCE, MAX_JOINT_DISTANCE
from utils.errors import UserError
from utils.pictures import picture_files
from utils.readers import names_text, read_arrays, read_json, read_table, reading, whole_number
from utils.skeleton import NUM_JOINTS, ROOT_JOINT, order_fault

_FIELDS = ("name", "subject", "videos", "calibration", "offsets", "empty", "boxes", "poses")
_BY_CAMERA = ("videos", "offsets", "empty")
_POSE_FILES = "poses: .npy, .npz or .csv"
# What an .npz may say of its poses.
INSTANTS, SPACE, UP, RATE, OFFSETS = "instants", "space", "up", "rate", "offsets"
_NOTES = (LABEL_SOURCE, INSTANTS, SPACE, UP, RATE, OFFSETS)
END_BYTES = 1 << 16  # of a video, at its beginning and its end, which a checksum takes
MAX_INSTANTS = 1 << 21  # 9 hours at 60 frames per second, which are 0.8 GB of poses


class PoseClock(NamedTuple):
    """What a file says of the instants of its poses: their rate per second, None where it does not say, and the frame
    number at instant 0 of cameras by name."""

    rate: float | None
    offsets: dict[str, int]


class Recording(NamedTuple):
    """name: for labels and messages. subject: number of the person. videos: files, or folders of pictures, by camera
    name. calibration: file. offsets: frame number at instant 0, by camera name. empty: pictures or videos of the scene
    without anybody, by camera name. boxes, poses: files, at most one of them."""

    name: str
    subject: int
    videos: dict[str, Path]
    calibration: Path
    offsets: dict[str, int]
    empty: dict[str, Path]
    boxes: Path | None = None
    poses: Path | None = None


def one_recording(
    videos: Sequence[str],
    calibration: str | Path,
    subject: int = 1,
    name: str = "recording",
    offsets: Sequence[str] = (),
    empty: Sequence[str] = (),
    boxes: str | Path | None = None,
    poses: str | Path | None = None,
) -> Recording:
    """The recording that a command line describes. videos, empty: such as "left=a.mp4", or files that are named after
    their camera. offsets: such as "left=3"."""
    parsed = dict(offset.partition("=")[::2] for offset in offsets)
    if len(parsed) < len(offsets):
        raise UserError(f"--offsets {' '.join(offsets)} name a camera twice; expected one frame number of each")
    fields = {
        "name": name,
        "subject": subject,
        "videos": by_camera(videos),
        "offsets": parsed,
        "boxes": boxes,
        "poses": poses,
    }
    given = {key: value for key, value in fields.items() if value is not None}
    if empty:
        given["empty"] = by_camera(empty)
    return _recording({**given, "calibration": str(calibration)}, Path(), "the command line")


def file_key(number: int) -> str:
    """What the names of files of a recording begin with; number: its place among those of the call, from 0."""
    return f"recording_{number:03d}"


def offsets_option(offsets: Mapping[str, object]) -> str:
    """The option of a command line that gives offsets by camera, as a shell takes it: names may hold spaces."""
    return " ".join(["--offsets", *(f"{shlex.quote(name)}={offset}" for name, offset in offsets.items())])


def by_camera(files: Sequence[str]) -> dict[str, str]:
    """Files by camera: such as "left=a.mp4", or files that are named after their camera.

    Raises UserError for two of a name, upper or lower case, and for names that cannot be part of the names of files.
    """
    named: dict[str, str] = {}
    for given in files:
        camera, separator, file = given.partition("=")
        if not separator or os.path.exists(os.path.expanduser(given)):
            camera, file = _own_name(given), given
        camera = composed(camera)
        if not file or not _names_files(camera):
            raise UserError(
                f"{given!r} gives camera {camera!r} the file {file!r}; expected camera=file with a name of a camera "
                f"that is UTF-8, of 1 to {MAX_NAME} bytes and has no '/', or a file that is named after its camera"
            )
        if camera in named:
            raise UserError(f"two videos of camera {camera!r}, {named[camera]!r} and {file!r}; expected one")
        named[camera] = file
    _check_case(named, "the command line")
    return named


def _own_name(file: str) -> str:
    """The name of the camera of a file or folder that is named after it."""
    # Absolute, since "." has no name, but links as they are: their names may be those of the cameras.
    path = Path(os.path.abspath(Path(file).expanduser()))
    # Only files have suffixes: "rig.left" and "rig.right" are two folders.
    return path.name if os.path.isdir(path) else path.stem


def _check_case(cameras: Iterable[str], where: str) -> None:
    """UserError for cameras whose files would be the same ones on macOS and Windows, which ignore case."""
    folded: dict[str, str] = {}
    for camera in cameras:
        other = folded.setdefault(camera.casefold(), camera)
        if other != camera:
            raise UserError(
                f"{where}: cameras {other!r} and {camera!r} differ in upper and lower case alone; expected other "
                "names, since file systems that ignore case would take the files of both for one"
            )


def _names_files(camera: str) -> bool:
    return _is_utf8(camera) and 0 < len(camera.encode()) <= MAX_NAME and "/" not in camera and os.sep not in camera


def _is_utf8(name: str) -> bool:
    # Paths of other bytes come with halves of characters in place of them, which open files but cannot be written.
    return not re.search("[\ud800-\udfff]", name)


def existing_videos(
    given: Sequence[str], expected: str = "videos, pictures, or folders of pictures"
) -> dict[str, Path]:
    """Videos by camera, such as "left=a.mp4", or files that are named after their camera.

    Raises UserError for one that does not exist.
    """
    files = {name: Path(file).expanduser() for name, file in by_camera(given).items()}
    for file in files.values():
        if not (file.is_file() or file.is_dir()):
            raise UserError(f"no video {str(file)!r}; expected {expected}")
    return files


def check_one_each(videos: Mapping[str, Path], where: str) -> None:
    """UserError where two cameras have one video, or a copy of it: all that is made of them would be wrong."""
    _check_paths(videos, "video", where)
    files = {camera: picture_files(path) or [path] for camera, path in videos.items()}
    sizes = {camera: (len(of_camera), of_camera[0].stat().st_size) for camera, of_camera in files.items()}
    first: dict[str, str] = {}
    for camera, of_camera in files.items():
        # Few videos have the size of another; only these are read. Empty files are refused where they are opened.
        if sizes[camera][1] and list(sizes.values()).count(sizes[camera]) > 1:
            other = first.setdefault(_digest_of_ends(of_camera), camera)
            if other != camera:
                raise UserError(
                    f"{where}: cameras {other!r} and {camera!r} have copies of one video, {str(videos[other])!r} and "
                    f"{str(videos[camera])!r}; expected one of each"
                )


def _check_paths(files: Mapping[str, Path], what: str, where: str) -> None:
    first: dict[Path, str] = {}
    for camera, path in files.items():
        other = first.setdefault(path.resolve(), camera)
        if other != camera:
            raise UserError(
                f"{where}: cameras {other!r} and {camera!r} have one {what}, {str(path)!r}; expected one of each"
            )


def read_recordings(path: str | Path) -> list[Recording]:
    """Recordings of a JSON file: {"calibration": FILE, "recordings": [{"name", "subject", "videos": {camera: FILE},
    "offsets": {camera: N}, "empty": {camera: FILE}, "boxes": FILE or "poses": FILE, "calibration": FILE}, ...]}.

    Only "videos" is required where there is a common calibration. Files are relative to the folder of the JSON file.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("recordings"), list) or not content["recordings"]:
        raise UserError(f"{path}: no 'recordings'; expected a list of objects with 'videos'")
    unknown = sorted(set(content) - {"calibration", "recordings"})
    if unknown:
        raise UserError(f"{path}: unknown field {unknown[0]!r}; expected calibration, recordings, and others in these")
    recordings = []
    for number, fields in enumerate(content["recordings"], 1):
        where = f"{path}: recording {number}"
        if not isinstance(fields, dict):
            raise UserError(f"{where} is {fields!r}; expected an object with 'videos'")
        common = {"name": f"recording {number}", "calibration": content.get("calibration")}
        recordings.append(_recording({**common, **fields}, Path(path).parent, where))
    return recordings


def _recording(fields: dict, folder: Path, where: str) -> Recording:
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise UserError(f"{where}: unknown field {unknown[0]!r}; expected {', '.join(_FIELDS)}")
    fields = {
        key: by_composed_name(value, f"{where}: '{key}'") if key in _BY_CAMERA and isinstance(value, dict) else value
        for key, value in fields.items()
    }
    videos, offsets = fields.get("videos"), fields.get("offsets", {})
    if not isinstance(videos, dict) or len(videos) < 2:
        raise UserError(f"{where}: 'videos' is {videos!r}; expected at least two, by camera name")
    _check_case(videos, where)
    if not isinstance(offsets, dict) or not set(offsets) <= set(videos):
        raise UserError(f"{where}: 'offsets' is {offsets!r}; expected frame numbers of the cameras {', '.join(videos)}")
    empty = fields.get("empty", {})
    if not isinstance(empty, dict) or not set(empty) <= set(videos):
        raise UserError(
            f"{where}: 'empty' is {empty!r}; expected pictures or videos of the cameras {', '.join(videos)}, as "
            "camera=file or named after their camera"
        )
    if fields.get("boxes") and fields.get("poses"):
        raise UserError(
            f"{where}: both 'boxes' and 'poses'; expected one of them (poses give the position of the person)"
        )
    files = {name: _file(fields.get(name), folder, name, where) for name in ("calibration", "boxes", "poses")}
    if files["calibration"] is None:
        raise UserError(f"{where}: no 'calibration'; expected a JSON file of cameras")
    paths = {camera: _frames(video, folder, f"videos/{camera}", where) for camera, video in videos.items()}
    empties = {camera: _frames(file, folder, f"empty/{camera}", where) for camera, file in empty.items()}
    check_one_each(paths, where)
    _check_paths(empties, "picture of the empty scene", where)
    name = fields["name"]
    if not isinstance(name, str | int) or not _is_utf8(str(name)):
        raise UserError(f"{where}: 'name' is {name!r}; expected text in UTF-8")
    return Recording(
        str(name),
        _whole(fields.get("subject", 1), "subject", where),
        paths,
        files["calibration"],
        {camera: _whole(offsets.get(camera, 0), f"offsets/{camera}", where) for camera in videos},
        empties,
        files["boxes"],
        files["poses"],
    )


def _file(name: object, folder: Path, field: str, where: str) -> Path | None:
    if name is None:
        return None
    path = folder / Path(name).expanduser() if isinstance(name, str | Path) else None
    if path is None or not path.is_file():
        raise UserError(f"{where}: '{field}' is {str(name)!r}; expected a file in {str(folder.resolve())!r}")
    return path


def _frames(name: object, folder: Path, field: str, where: str) -> Path:
    """A video, a picture, or a folder of pictures."""
    path = folder / Path(name).expanduser() if isinstance(name, str | Path) else None
    if path is None or not (path.is_file() or path.is_dir()):
        raise UserError(
            f"{where}: '{field}' is {str(name)!r}; expected a file in {str(folder.resolve())!r}, or a folder of "
            "pictures"
        )
    return path


def _whole(value: object, field: str, where: str) -> int:
    number = whole_number(value)
    if number is None:
        raise UserError(f"{where}: '{field}' is {value!r}; expected a whole number from 0")
    return number


def read_pose_file(path: str | Path) -> np.ndarray:
    """World poses (T,17,3) float64 of instants 0, 1, ..., meters, NaN where unknown.

    Formats: .npy, .npz (the array `poses`, or the only array), or .csv with 51 numbers per row and an optional header.
    A row of NaN, in .csv also of empty cells, is an instant without a pose. The array `instants` (T,) of an .npz says
    which instants its rows are; its text `space` must be "world". Raises UserError for other shapes, units and spaces.
    """
    path, size = Path(path), 3 * NUM_JOINTS
    with reading(path, _POSE_FILES):
        array, notes = _read_array(path)
        poses = np.array(array, dtype=np.float64)
    space = str(notes.get(SPACE, "world"))
    if space != "world":
        raise UserError(f"{path} has poses in the space {space!r}; expected 'world', that of a calibration")
    if poses.ndim == 0 or poses.size == 0 or poses.size != len(poses) * size:
        raise UserError(f"{path} has shape {poses.shape}; expected (T, {NUM_JOINTS}, 3) or (T, {size})")
    poses = poses.reshape(-1, NUM_JOINTS, 3)
    # A pose with one unknown joint is no label: it counts as unknown.
    poses[~np.isfinite(poses).all((1, 2))] = np.nan
    reach = np.linalg.norm(poses - poses[:, ROOT_JOINT : ROOT_JOINT + 1], axis=-1)
    known = np.isfinite(reach).all(1)
    if not known.any():
        raise UserError(f"{path} has no pose without NaN; expected meters")
    if reach[known].max() > MAX_JOINT_DISTANCE:
        instant = int(np.flatnonzero(known)[np.argmax(reach[known].max(1))])
        raise UserError(
            f"{path}: a joint {reach[instant].max():.3g} from the root in row {instant}, counted from 0; expected "
            "meters"
        )
    fault = order_fault(poses[known])
    if fault:
        raise UserError(f"{path}: {fault}; expected the joints in the order of utils/skeleton.py")
    return _by_instant(poses, notes[INSTANTS], path) if INSTANTS in notes else poses


def _by_instant(poses: np.ndarray, instants: np.ndarray, path: Path) -> np.ndarray:
    """The poses of instants 0, 1, ..., NaN where `instants` (T,) leave one out."""
    numbers = instants.dtype.kind in "iu" and instants.shape == (len(poses),)
    if not numbers or (np.diff(instants.astype(np.int64), prepend=-1) <= 0).any() or instants[-1] >= MAX_INSTANTS:
        raise UserError(
            f"{path}: the array '{INSTANTS}' is {instants.dtype.name} of shape {instants.shape}; expected the "
            f"{len(poses)} numbers of the instants of the poses: whole, increasing, 0 to {MAX_INSTANTS - 1}"
        )
    placed = np.full((int(instants[-1]) + 1, *poses.shape[1:]), np.nan)
    placed[instants] = poses
    return placed


def read_label_source(path: Path | None) -> str | None:
    """Where the poses of a file come from, if they were not measured: the array `label_source` (text) of an .npz."""
    return None if path is None else _note(path, LABEL_SOURCE)


def read_to_z_up(path: Path) -> np.ndarray | None:
    """Rotation (3,3) of the poses of a file into the world with z up, by the axis that the text `up` of an .npz names.

    None where the file does not say. Raises UserError for another axis.
    """
    up = _note(path, UP)
    if up is not None and up not in UP_AXES:
        raise UserError(f"{path}: '{UP}' is {up!r}; expected one of {', '.join(UP_AXES)}")
    return None if up is None else UP_AXES[up]


def read_pose_clock(path: Path) -> PoseClock:
    """The rate and the offsets of the poses of a file: the number `rate` and the texts `offsets` of an .npz.

    Raises UserError for others than `clock_arrays` makes.
    """
    notes = _notes(path)
    rate, offsets = notes.get(RATE), notes.get(OFFSETS)
    if rate is not None and (rate.size != 1 or rate.dtype.kind not in "iuf" or not 0 < rate.item() < np.inf):
        raise UserError(f"{path}: '{RATE}' is {rate!r}; expected a number of instants per second")
    if offsets is not None and (offsets.ndim != 1 or offsets.dtype.kind != "U"):
        raise UserError(f"{path}: '{OFFSETS}' is {offsets!r}; expected texts such as 'left=3'")
    # A name may hold "=", a number does not.
    parts = [] if offsets is None else [text.rpartition("=") for text in offsets.tolist()]
    frames = {composed(name): _whole(number, f"{OFFSETS}/{name}", str(path)) for name, _, number in parts}
    return PoseClock(None if rate is None else float(rate.item()), frames)


def clock_arrays(clock: PoseClock) -> dict[str, np.ndarray]:
    """The arrays of an .npz that `read_pose_clock` reads."""
    arrays = {OFFSETS: np.array([f"{name}={offset}" for name, offset in clock.offsets.items()], dtype=np.str_)}
    return arrays if clock.rate is None else {**arrays, RATE: np.array(clock.rate)}


def _note(path: Path, name: str) -> str | None:
    note = _notes(path).get(name)
    return None if note is None else str(note)


def _notes(path: Path) -> dict[str, np.ndarray]:
    # Only arrays have names, and reading a table of numbers takes long.
    return {} if path.suffix.lower() == ".csv" else _read_array(path)[1]


def _read_array(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The poses of a file as they are, and what it says of them."""
    if path.suffix.lower() == ".csv":
        return read_table(path, _POSE_FILES), {}
    with open(path, "rb") as file:
        # NumPy takes whatever else it meets for a pickle, and advises to load that unsafely.
        if not file.read(6).startswith((b"\x93NUMPY", b"PK")):
            raise UserError(f"{path} is neither .npy, .npz nor .csv; expected world poses in one of these")
    arrays = read_arrays(path)
    notes = {name: arrays.pop(name) for name in _NOTES if name in arrays}
    if len(arrays) > 1 and "poses" not in arrays:
        raise UserError(f"{path} has the arrays {names_text(arrays)}; expected 'poses', or one array")
    return arrays["poses"] if len(arrays) > 1 else next(iter(arrays.values())), notes


def files_of_job(recordings: Sequence[Recording]) -> dict:
    """What the mark of a folder says of its recordings: "files", a checksum of all files (of videos, of what
    `identity_of_videos` takes), and what tells these apart."""
    digest, details = hashlib.sha256(), {}
    for recording in recordings:
        name = recording.name
        digest.update(repr((name, recording.subject, recording.offsets)).encode())
        details |= {f"subject of {name}": recording.subject, f"offsets of {name}": recording.offsets}
        for what, part in _contents(recording).items():
            digest.update(part)
            details[f"{what} of {name}"] = short_digest(part)
    return {"files": digest.hexdigest()[:16], DETAILS: details}


def _contents(recording: Recording) -> dict[str, bytes]:
    """What a checksum takes of the files of a recording, by what they are."""
    parts = {f"video {name}": identity_of_videos({name: video}) for name, video in recording.videos.items()}
    parts |= {f"empty scene {name}": identity_of_videos({name: file}) for name, file in recording.empty.items()}
    parts["calibration"] = identity_of_calibration(recording.calibration)
    for what, file in (("boxes", recording.boxes), ("poses", recording.poses)):
        parts[what] = b"-" if file is None else file.read_bytes()
    return parts


def short_digest(content: bytes) -> str:
    """What tells a content from others in a message."""
    return hashlib.sha256(content).hexdigest()[:8]


def identity_of_videos(videos: Mapping[str, Path]) -> bytes:
    """What a checksum takes of videos by camera: names and sizes of their files, and the ends of a few of these.

    Not where they are: a disk may be mounted elsewhere.
    """
    return "".join(f"{name} {_identity(picture_files(video) or [video])}" for name, video in videos.items()).encode()


def _identity(files: Sequence[Path]) -> list:
    """Name and size of the files of one video, and a digest of its ends."""
    return [_digest_of_ends(files), *((file.name, file.stat().st_size) for file in files)]


def _digest_of_ends(files: Sequence[Path]) -> str:
    """A digest of both ends of the first, the middle and the last file of one video."""
    digest = hashlib.sha256()
    # Reading hours of video for a checksum would take minutes.
    for place in sorted({0, len(files) // 2, len(files) - 1}):
        with open(files[place], "rb") as file:
            digest.update(file.read(END_BYTES))
            file.seek(max(0, files[place].stat().st_size - END_BYTES))
            digest.update(file.read(END_BYTES))
    return digest.hexdigest()


def identity_of_calibration(path: Path) -> bytes:
    """What a checksum takes of a calibration: the content of all files that are read for it."""
    return b"".join(file.read_bytes() for file in calibration_files(path))
