"""Reads single frames of videos by their exact number, with PyAV.

Frames are counted from 0 in presentation order: those that players show, rotated as they show them. Nothing seeks:
where a seek lands depends on codec and file. A folder of pictures, or one picture, is a video too.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.video.orientation import as_shown
from datasets.video.rgb import RgbConverter, pyav
from utils.errors import UserError
from utils.pictures import common_size, picture_files, read_picture

if TYPE_CHECKING:
    from av import VideoFrame


def count_frames(path: str | Path) -> int:
    """Number of frames that are shown, according to the file's index; without one, the packets are counted.

    Raises UserError for a missing or unreadable file, and for one without frames. Truncated data are found only by
    decoding.
    """
    pictures = picture_files(path)
    if pictures is not None:
        return len(pictures)
    with _open(path) as (container, stream):
        entries = getattr(stream, "index_entries", ())  # since PyAV 16
        if not stream.frames or len(entries) != stream.frames:
            return len(_shown_times(path, container, stream))
        # Edit lists of trimmed videos hide frames.
        _check_start(path, [entry.is_keyframe for entry in entries])
        return sum(not entry.is_discard for entry in entries) - len(_without_reference(path))


def frame_rate(path: str | Path) -> float | None:
    """Frames per second, on average; None in a file that does not say."""
    if picture_files(path) is not None:
        return None
    with _open(path) as (container, stream):
        # FFmpeg's rate of raw streams is its default, 25; the codec knows what the stream itself says, if anything.
        rate = stream.average_rate if _has_times(container) else stream.codec_context.framerate
        return float(rate) if rate else None


def pixel_aspect(path: str | Path, width: int, height: int) -> float:
    """How many times as wide as high a video shows its pixels; 1 if it does not say. width, height: of its frames."""
    if picture_files(path) is not None:
        return 1.0
    with _open(path) as (_, stream):
        aspect = float(stream.sample_aspect_ratio or 1)
        # The file says it of frames that are not rotated yet.
        return aspect if (width, height) == (stream.width, stream.height) else 1 / aspect


def frame_times(path: str | Path) -> np.ndarray:
    """When each frame is shown, (N,) seconds, increasing; NaN in a file that does not say. Reads, but does not decode.

    Raises UserError for a missing or unreadable file, one without frames, and a stream that starts between two key
    frames.
    """
    pictures = picture_files(path)
    if pictures is not None:
        return np.full(len(pictures), np.nan)
    with _open(path) as (container, stream):
        times = _shown_times(path, container, stream)
        if None in times or not _has_times(container):
            return np.full(len(times), np.nan)
        return np.sort(np.array(times, dtype=np.float64)) * float(stream.time_base)


def _has_times(container) -> bool:
    """Whether the format stores when frames are shown; of raw streams (.h264, .mjpeg), FFmpeg makes times up."""
    return not container.format.flags & pyav().format.Flags.no_timestamps.value


def _shown_times(path: str | Path, container, stream) -> list[int | None]:
    """Time stamps of the packets that are shown, in the order of decoding."""
    packets = [(packet.pts, packet.is_discard, packet.is_keyframe) for packet in container.demux(stream) if packet.size]
    _check_start(path, [key for _, _, key in packets])
    dropped = _without_reference(path)
    times = [time for time, discard, _ in packets if not discard and time not in dropped]
    # Recordings that were broken off have a header alone.
    if not times:
        raise UserError(f"{path} has no frame; expected a complete file")
    return times


def _check_start(path: str | Path, keys: list[bool]) -> None:
    """UserError where the first packets are no key frames: the decoder drops them, and all numbers would shift."""
    if any(keys) and not keys[0]:
        raise UserError(
            f"{path} starts between two key frames, and its first {keys.index(True)} frames do not decode; expected a "
            "video that is cut at a key frame (cut the original anew: ffmpeg -ss START -i IN.mp4 OUT.mp4)"
        )


def _without_reference(path: str | Path) -> set[int]:
    """Time stamps of the pictures that the decoder drops, since they refer to frames before the first key frame.

    Where a stream was cut at a key frame, those that follow it and are shown before it may need what was cut off.
    """
    leading: set[int] = set()
    with _open(path) as (container, stream):
        packets = container.demux(stream)
        start = next(packets).pts
        for packet in packets:
            if start is None or packet.pts is None or packet.pts >= start:
                break
            if not packet.is_discard:
                leading.add(packet.pts)
    if not leading:
        return leading
    # Some need the key frame alone, which the decoder knows.
    with _open(path) as (container, stream):
        first = next((frame.pts for packet in container.demux(stream) for frame in packet.decode()), None)
    return {time for time in leading if first is not None and time < first}


def read_frames(path: str | Path, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, frame (H,W,3) uint8 RGB) for the increasing frame numbers `wanted`; see `decode_frames`."""
    rgb = RgbConverter()
    for index, frame in decode_frames(path, wanted):
        yield index, rgb.full(frame)


def decode_frames(path: str | Path, wanted: Iterable[int]) -> Iterator[tuple[int, "VideoFrame"]]:
    """Yield (index, PyAV's frame) for the increasing frame numbers `wanted`, decoding from the start.

    Unwanted frames that no other frame depends on are skipped; the wanted ones are the same, bit for bit. Raises
    UserError for a missing file, one that cannot be decoded, one with fewer frames than wanted, and where wanted frames
    differ in size from the first of the video, or any pictures of a folder.
    """
    wanted = list(wanted)
    if any(later <= earlier for earlier, later in zip([-1, *wanted], wanted, strict=False)):
        raise UserError(f"frames {wanted[:5]}... wanted of {path}; expected increasing numbers from 0")
    if not wanted:
        return
    pictures = picture_files(path)
    if pictures is not None:
        yield from _picture_frames(path, pictures, wanted)
        return
    # When all frames up to the last are wanted, nothing can be skipped, and counting them is enough.
    numbers = numbers_by_time(path) if len(wanted) <= wanted[-1] else None
    targets = iter(wanted)
    target = next(targets)
    index, size = -1, None
    with _open(path) as (container, stream):
        packets = container.demux(stream)
        if numbers is not None:
            chosen = set(wanted)
            packets = _skip_unwanted(packets, stream, {time for time, number in numbers.items() if number in chosen})
        for index, frame in _decode(path, packets, numbers):
            # The first frame is always decoded, and cameras belong to its size (`video_size`).
            size = size or (frame.width, frame.height)
            if index == target:
                if (frame.width, frame.height) != size:
                    raise UserError(
                        f"{path}: frame {index} is {frame.width}x{frame.height} px; expected {size[0]}x{size[1]} px, "
                        "the size of its first frame"
                    )
                yield index, frame
                target = next(targets, None)
                if target is None:
                    return
            # Presentation order only increases: the target was passed without being decoded.
            elif index > target:
                raise UserError(f"{path}: frame {target} does not decode; expected a complete file")
    total = index + 1 if numbers is None else len(numbers)
    raise UserError(f"{path} has {total} frames that decode; expected at least {wanted[-1] + 1}")


def numbers_by_time(path: str | Path) -> dict[int, int] | None:
    """Frame number by time stamp, from the packets without decoding; None where this is not reliable.

    It is reliable for H.264 where the index lists every packet, time stamps are distinct, and the first packet is
    shown first: then every packet becomes one frame.
    """
    with _open(path) as (container, stream):
        if stream.codec_context.name != "h264":
            return None
        packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
        # A discarded packet or an equal time stamp would shift all later numbers.
        times = [time for time, _ in packets]
        if not times or stream.frames != len(times) or None in times or any(discard for _, discard in packets):
            return None
    numbers = {time: number for number, time in enumerate(sorted(times))}
    return numbers if len(numbers) == len(times) and numbers[times[0]] == 0 else None


def read_key_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the key frames (H,W,3) uint8 RGB in order, without their numbers. They decode fast. Pictures have none."""
    if picture_files(path) is not None:
        return
    with _open(path) as (container, stream):
        # The decoder then drops all other frames without decoding them.
        stream.codec_context.skip_frame = "NONKEY"
        rgb = RgbConverter()
        for _, frame in _decode(path, container.demux(stream)):
            yield rgb.full(frame)


def _picture_frames(path: str | Path, pictures: list[Path], wanted: list[int]) -> Iterator[tuple[int, "VideoFrame"]]:
    common_size(pictures)
    for index in wanted:
        if index >= len(pictures):
            raise UserError(f"{path} has {len(pictures)} pictures; expected at least {wanted[-1] + 1}")
        yield index, pyav().VideoFrame.from_ndarray(read_picture(pictures[index]), format="rgb24")


@contextmanager
def _open(path: str | Path) -> Iterator[tuple]:
    """The container and its video stream, decoded on one thread: the preparation runs one process per core."""
    av = pyav()
    if not Path(path).is_file():
        raise UserError(f"no video {str(path)!r}; expected a file")
    try:
        # Tags may be in any encoding, and nothing here reads them.
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise UserError(f"{path} has no video stream; expected a video")
            # Not the first one: cover art and previews of phones may stand before the film.
            stream = container.streams.best("video") or container.streams.video[0]
            if stream.codec_context is None:
                raise UserError(f"{path} has a codec that is unknown here; expected a video such as H.264")
            stream.codec_context.thread_count = 1
            # Damage is found at opening, between packets, or where one is decoded.
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path} cannot be read as video ({_reason(error)}); expected a complete file") from error


def _skip_unwanted(packets: Iterable, stream, wanted: set[int]) -> Iterator:
    """All packets; the decoder skips each whose time is not in `wanted` and that no other frame depends on."""
    for packet in packets:
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield packet


def _decode(path: str | Path, packets: Iterable, numbers: dict[int, int] | None = None) -> Iterator[tuple[int, Any]]:
    """Frames in presentation order with their numbers, by time stamp or counted. A broken frame is an error."""
    index = -1
    try:
        for count, frame in enumerate(frame for packet in packets for frame in packet.decode()):
            index = count if numbers is None else numbers.get(frame.pts, -1)
            # FFmpeg conceals errors with gray blocks or old content, which would become training data.
            if frame.is_corrupt:
                raise UserError(f"{path}: frame {index} is corrupt; expected a complete file")
            yield index, as_shown(frame, path)
    except pyav().error.FFmpegError as error:
        raise UserError(
            f"{path} does not decode from frame {index + 1} on ({_reason(error)}); expected a complete file"
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
