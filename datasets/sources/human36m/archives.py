"""Human3.6M on a user's disk: known folder structures, packed archives, and poses in CDF files."""

import lzma
import math
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from utils.commands import install_extra
from utils.errors import UserError
from utils.files import naming
from utils.readers import limited_steps, reading

# Where a subject's files may be, in the order of searching. Downloads and tools in use unpack them differently.
POSE_FOLDERS = ("S{}/MyPoseFeatures/D3_Positions", "S{}/Poses_D3_Positions", "S{}/D3_Positions")
VIDEO_FOLDERS = ("S{}/Videos",)
POSE_ARCHIVE, VIDEO_ARCHIVE = "Poses_D3_Positions_S{}.tgz", "Videos_S{}.tgz"
LEVELS = ("", "extracted", "archives")
H36M_JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # of the 32, in our order
POSE_VALUES = 96
MAX_STEPS, MAX_REREAD = 1_000_000, 1000  # of one CDF file: lines of its reader, and bytes in multiples of its size
STAMP_FILE = ".archive"  # in an unpacked folder: which archive it is from
_DAMAGES = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


class Source:
    """The files of a Human3.6M download. Packed archives are unpacked into the folder `scratch`.

    source: the folder that holds S1, S5, ..., or the folder `extracted`, or the archives.
    """

    def __init__(self, source: str | Path, scratch: Path, progress: bool = True):
        self.source, self.scratch, self.progress = Path(source), scratch, progress
        if not self.source.is_dir():
            raise UserError(f"no folder {str(source)!r}; expected one with Human3.6M's S1, S5, ...")

    def poses(self, subject: int) -> Path:
        """Folder with the subject's world poses, <name>.cdf."""
        return self._folder(subject, POSE_FOLDERS, POSE_ARCHIVE, ".cdf")

    def videos(self, subject: int) -> Path:
        """Folder with the subject's videos, <name>.<camera id>.mp4."""
        return self._folder(subject, VIDEO_FOLDERS, VIDEO_ARCHIVE, ".mp4")

    def packed_videos(self, subject: int) -> Path | None:
        """The archive of the subject's videos; None where they are unpacked. Raises UserError when both are missing."""
        found = self._find(subject, VIDEO_FOLDERS, VIDEO_ARCHIVE, ".mp4")
        return None if found.is_dir() else found

    def bytes_to_unpack(self, subjects: Iterable[int]) -> int:
        """Bytes of disk to unpack the videos of these subjects, which are removed before those of the next."""
        archives = {subject: self.packed_videos(subject) for subject in subjects}
        sizes = {subject: archive.stat().st_size for subject, archive in archives.items() if archive}
        # What an interrupted call has unpacked takes its place already, and gives it to the next.
        held = sum(size for subject, size in sizes.items() if self._is_unpacked(archives[subject], subject, ".mp4"))
        return max(0, max(sizes.values(), default=0) - held)

    def remove_videos(self, subject: int) -> None:
        """Delete the videos that `videos` unpacked."""
        shutil.rmtree(self._unpacked(subject, ".mp4"), ignore_errors=True)

    @contextmanager
    def checking(self, subject: int, suffix: str) -> Iterator[None]:
        """Delete what was unpacked of a subject where it turns out to be bad: its archive has to be replaced."""
        try:
            yield
        except UserError:
            shutil.rmtree(self._unpacked(subject, suffix), ignore_errors=True)
            with suppress(OSError):
                self.scratch.rmdir()
            raise

    def _unpacked(self, subject: int, suffix: str) -> Path:
        return self.scratch / f"S{subject}{suffix}"

    def _folder(self, subject: int, folders: tuple[str, ...], archive: str, suffix: str) -> Path:
        found = self._find(subject, folders, archive, suffix)
        if found.is_dir():
            return found
        target = self._unpacked(subject, suffix)
        if not self._is_unpacked(found, subject, suffix):
            unpack(found, target, suffix, self.progress)
        return target

    def _is_unpacked(self, archive: Path, subject: int, suffix: str) -> bool:
        # An archive that was repaired is unpacked again.
        stamp = self._unpacked(subject, suffix) / STAMP_FILE
        return stamp.is_file() and stamp.read_bytes() == archive_stamp(archive).encode()

    def _find(self, subject: int, folders: tuple[str, ...], archive: str, suffix: str) -> Path:
        for level in LEVELS:
            for folder in folders:
                path = self.source / level / folder.format(subject)
                if path.is_dir():
                    return path
            path = self.source / level / archive.format(subject)
            if path.is_file():
                return path
        names = sorted(path.name for path in self.source.iterdir())
        expected = " or ".join((*folders, archive)).format(*[subject] * (len(folders) + 1))
        raise UserError(
            f"no {suffix} files of S{subject}: expected {expected} in {str(self.source)!r}, "
            f"which holds {', '.join(names[:8]) or 'nothing'}{', ...' if len(names) > 8 else ''}"
        )


def unpack(archive: Path, target: Path, suffix: str, progress: bool = True) -> None:
    """Unpack the files of an archive that end in `suffix`, without their folders, to the folder `target`.

    Raises UserError for an archive that is truncated or damaged, or larger than the disk; `target` then does not exist.
    """
    part = target.with_name(f"{target.name}.part")
    for old in (part, target):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _unpack(archive, part, suffix, progress)
        # Renamed at the end, so that an existing `target` is complete.
        os.replace(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def archive_stamp(archive: Path) -> str:
    """What tells an archive from one that replaces it: its size and time."""
    status = archive.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _unpack(archive: Path, folder: Path, suffix: str, progress: bool) -> None:
    stamp = archive_stamp(archive)
    bar = tqdm(desc=archive.name, total=archive.stat().st_size, unit="B", unit_scale=True, disable=not progress)
    try:
        # One pass over the members in their order: a compressed archive has no random access.
        with open(archive, "rb") as file, bar, tarfile.open(fileobj=file, mode="r:*") as tar:
            for member in tar:
                bar.update(file.tell() - bar.n)
                name = os.path.basename(member.name)
                # Only the base name is used: no member is written elsewhere. "_ALL" files are no sequences.
                if member.isfile() and name.endswith(suffix) and not name.startswith("_ALL"):
                    _unpack_member(archive, tar, member, folder / name)
            # The checksum of the whole stands at its end, behind the end of the tar.
            while tar.fileobj.read(1 << 20):
                pass
    except (*_DAMAGES, OSError) as error:
        # gzip and bz2 report damage as errors of the system without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise UserError(
            f"{archive} is truncated or damaged ({reason}); expected a complete archive: download it again"
        ) from error
    with naming(folder / STAMP_FILE):
        (folder / STAMP_FILE).write_text(stamp, encoding="utf-8")


def _unpack_member(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    # A few bytes may stand for a file of any size.
    if member.size > free:
        raise UserError(
            f"{archive}: {path.name} has {member.size / 1e9:.1f} GB; expected at most the free {free / 1e9:.1f}"
        )
    with naming(path), open(path, "wb") as output:
        shutil.copyfileobj(tar.extractfile(member), output, 1 << 20)


def read_cdf_poses(path: str | Path) -> np.ndarray:
    """World joints (N,17,3) of one sequence, meters, z up, 50 Hz. Raises UserError for a missing or unexpected file."""
    library = cdf_library()
    # cdflib counts to whatever a file says, and follows damaged references for ever.
    with reading(path, "a CDF file with the variable 'Pose'"), limited_steps(MAX_STEPS):
        cdf, size = library.CDF(str(path)), Path(path).stat().st_size
        # It reads through this attribute alone.
        cdf._f = _BoundedReads(cdf._f, MAX_REREAD * size)
        declared = cdf.varinq("Pose")
        count = (declared.Last_Rec + 1) * math.prod(declared.Dim_Sizes)
        if count > MAX_REREAD * size:
            raise UserError(f"{path}: 'Pose' declares {count} numbers; expected what {size} bytes can hold")
        poses = np.asarray(cdf.varget("Pose"))
    if poses.dtype.kind not in "iuf" or not poses.size or poses.shape[-1] != POSE_VALUES:
        raise UserError(f"{path}: 'Pose' has shape {poses.shape}; expected (1, frames, {POSE_VALUES})")
    joints = poses.astype(np.float64).reshape(-1, POSE_VALUES // 3, 3)[:, H36M_JOINTS] / 1000
    if not np.isfinite(joints).all():
        raise UserError(f"{path}: 'Pose' has values that are not finite; expected millimeters")
    return joints


class _BoundedReads:
    """A file of which no more than `size` bytes can be read in all."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size

    def read(self, *size: int) -> bytes:
        content = self._file.read(*size)
        self._size -= len(content)
        if self._size < 0:
            raise ValueError("its records refer to each other in a circle")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def cdf_library() -> ModuleType:
    """The module cdflib. Raises UserError with the pip command when it is missing."""
    try:
        import cdflib
    except ImportError as error:
        raise UserError(f"reading Human3.6M's poses needs the package 'cdflib': {install_extra('h36m')}") from error
    return cdflib
