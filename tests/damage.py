"""Random damage to files, with a seed: they are read, or refused with one line that names them."""

import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

from utils.errors import UserError, one_line

ODD = (
    "nan",
    "inf",
    "-1",
    "1e308",
    "9" * 400,
    "",
    "[]",
    "{}",
    "null",
    '"x"',
    "\x00",
    "\x1b[31m",
    "²",
    "x" * 3000,
    "<a>",
)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """`content` with bytes changed, removed and inserted, and perhaps cut."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        new = rng.choice((b"", rng.randbytes(1), rng.randbytes(4), struct.pack("<Q", rng.choice((0, 2**31, 2**63)))))
        content[at : at + rng.choice((0, 1, 8))] = new
    return bytes(content[: rng.randrange(len(content) + 1)] if rng.random() < 0.2 else content)


def reworded(content: bytes, rng: random.Random) -> bytes:
    """Text with one of its numbers or words changed into something odd; sometimes `mutated` instead."""
    if rng.random() < 0.2:
        return mutated(content, rng)
    words = re.split(r"([^\w.+-]+)", content.decode())
    words[rng.randrange(len(words))] = rng.choice(ODD)
    return "".join(words).encode()


def assert_refused_or_read(read: Callable[[Path], object], file: Path, times: int, mutate: Callable = reworded) -> None:
    """`read` a good `file` damaged in so many ways; some of them must be refused."""
    good, rng, refused = file.read_bytes(), random.Random(file.name), 0
    for _ in range(times):
        file.write_bytes(mutate(good, rng))
        try:
            read(file)
        except UserError as error:
            line = one_line(error)
            assert file.name in line and line.isprintable() and len(line) < 1100
            refused += 1
        except OSError as error:
            assert error.filename is not None  # then scripts end with a line as well
    assert refused
