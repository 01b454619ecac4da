"""Reads single frames of videos by their exact number, with PyAV.

Frames are counted from 0 in presentation order. Nothing seeks: where a seek lands depends on codec and file.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.video.rgb import RgbConverter, pyav
from utils.errors import UserError

if TYPE_CHECKING:
    from av import VideoFrame


def count_frames(path: str | Path) -> int:
    """Number of frames according to the file's index; without one, the packets are counted.

    Raises UserError for a missing or unreadable file. Truncated data are found only by decoding.
    """
    with _open(path) as (container, stream):
        return stream.frames or sum(packet.size > 0 and not packet.is_discard for packet in container.demux(stream))


def frame_rate(path: str | Path) -> float:
    """Frames per second, on average. Raises UserError for a file that does not say."""
    with _open(path) as (_, stream):
        if not stream.average_rate:
            raise UserError(f"{path} has no frame rate; expected a video with a constant one")
        return float(stream.average_rate)


def read_frames(path: str | Path, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, frame (H,W,3) uint8 RGB) for the increasing frame numbers `wanted`; see `decode_frames`."""
    rgb = RgbConverter()
    for index, frame in decode_frames(path, wanted):
        yield index, rgb.full(frame)


def decode_frames(path: str | Path, wanted: Iterable[int]) -> Iterator[tuple[int, "VideoFrame"]]:
    """Yield (index, PyAV's frame) for the increasing frame numbers `wanted`, decoding from the start.

    Unwanted frames that no other frame depends on are skipped; the wanted ones are the same, bit for bit. Raises
    UserError for a missing file, one that cannot be decoded, and one with fewer frames than wanted.
    """
    wanted = list(wanted)
    if any(later <= earlier for earlier, later in zip([-1, *wanted], wanted, strict=False)):
        raise UserError(f"frames {wanted[:5]}... wanted of {path}; expected increasing numbers from 0")
    if not wanted:
        return
    # When all frames up to the last are wanted, nothing can be skipped, and counting them is enough.
    numbers = numbers_by_time(path) if len(wanted) <= wanted[-1] else None
    targets = iter(wanted)
    target = next(targets)
    index = -1
    with _open(path) as (container, stream):
        packets = container.demux(stream)
        if numbers is not None:
            chosen = set(wanted)
            packets = _skip_unwanted(packets, stream, {time for time, number in numbers.items() if number in chosen})
        for index, frame in _decode(path, packets, numbers):
            if index == target:
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
        if stream.frames != len(times) or None in times or any(discard for _, discard in packets):
            return None
    numbers = {time: number for number, time in enumerate(sorted(times))}
    return numbers if len(numbers) == len(times) and numbers[times[0]] == 0 else None


def read_key_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the key frames (H,W,3) uint8 RGB in order, without their numbers. They decode fast."""
    with _open(path) as (container, stream):
        # The decoder then drops all other frames without decoding them.
        stream.codec_context.skip_frame = "NONKEY"
        rgb = RgbConverter()
        for _, frame in _decode(path, container.demux(stream)):
            yield rgb.full(frame)


@contextmanager
def _open(path: str | Path) -> Iterator[tuple]:
    """The container and its video stream, decoded on one thread: the preparation runs one process per core."""
    av = pyav()
    if not Path(path).is_file():
        raise UserError(f"no video {str(path)!r}; expected a file")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path} cannot be read as video ({_reason(error)}); expected a complete file") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path} has no video stream; expected a video")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield container, stream


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
            yield index, frame
    except pyav().error.FFmpegError as error:
        raise UserError(
            f"{path} does not decode from frame {index + 1} on ({_reason(error)}); expected a complete file"
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
