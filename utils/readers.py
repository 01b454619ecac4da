"""Reading files of users and of ours: whatever a library raises becomes one line that names the file."""

import csv
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from utils.errors import UserError

if TYPE_CHECKING:
    import numpy as np

MAX_ARRAY_BYTES = 1 << 30  # of one file of arrays, unless it is as large itself: a few MB of zip may hold terabytes
MISSING = {"", "nan", "null", "na", "n/a"}  # what programs write in place of a number they do not have, in lower case
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f-\x9f]")
_JSON_TYPES = {dict: "an object", list: "a list"}


@contextmanager
def reading(path: str | os.PathLike, expected: str) -> Iterator[None]:
    """Raises UserError that names `path` and what was `expected`, for whatever goes wrong in the body.

    Also for what is no file: to open a named pipe is to wait for ever.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{str(path)!r} is not a file; expected {expected}")
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"no file {str(path)!r}; expected {expected}") from error
    # Decoders of damaged files raise whatever their parts raise: no list of errors would be complete.
    except Exception as error:
        why = impostor(path) or reason(error)
        raise UserError(f"{str(path)!r} cannot be read ({why}); expected {expected}") from error


@contextmanager
def limited_steps(count: int) -> Iterator[None]:
    """Raises ValueError where Python executes more than `count` lines in functions that the body calls.

    For libraries that loop as often as a number in a damaged file says. Every line costs a microsecond.
    """
    left = count

    def step(frame, event, _):
        nonlocal left
        left -= event == "line"
        if left < 0:
            raise ValueError("its numbers or references ask for endless work")
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)


def impostor(path: str | os.PathLike) -> str | None:
    """What a failed download left in place of a file, and what to do; None where it did not fail in a known way."""
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError:
        return None
    if not start:
        return "it is empty"
    start = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer in place of the file: run `git lfs pull`, or download it again"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page in place of the file: download it again"
    return None


def reason(error: BaseException) -> str:
    """The first sentence of an error's message, without control characters.

    What follows it in messages of libraries is advice to load unsafely, or a traceback.
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = [_CONTROL.sub("", line).strip() for line in text.splitlines()]
    first = next((line for line in lines if line), type(error).__name__)
    # After a letter: "362. PiB" goes on.
    first = re.split(r"(?<=[a-z)])[.;!]\s", first)[0].rstrip(".")
    if not re.search(r"[A-Za-z]{2}", first):
        first = f"{type(error).__name__}: {first}"
    return first if len(first) <= 200 else f"{first[:200]} ..."


def names_text(names: Iterable[object]) -> str:
    """The names of what a file has, for messages: without control characters, and not all of very many."""
    shown = [_CONTROL.sub("", str(name))[:80] for name in names]
    return ", ".join(shown[:20]) + (", ..." if len(shown) > 20 else "")


def read_text(path: str | os.PathLike, expected: str = "text in UTF-8") -> str:
    """The content of a text file. Raises UserError for a file that is missing or no text."""
    with reading(path, expected):
        return Path(path).read_text(encoding="utf-8")


def read_json(path: str | os.PathLike, kind: type | None = None) -> Any:
    """The content of a JSON file, of the type `kind` (dict, list; None: any).

    Raises UserError for a file that is missing, no JSON, nested too deep, or of another type.
    """
    expected = f"JSON{f', {_JSON_TYPES[kind]}' if kind else ''}"
    with reading(path, expected):
        content = parse_json(Path(path).read_text(encoding="utf-8-sig"))
    if kind and not isinstance(content, kind):
        raise UserError(f"{str(path)!r} holds {type(content).__name__}; expected {expected}")
    return content


def parse_json(text: str) -> Any:
    """The content of JSON text. Integers that no float can hold come as infinity, so that one check finds both.

    Raises ValueError or RecursionError for other text, for strings that no file name and no label can hold, and for
    objects that name something twice.
    """
    content = json.loads(text, parse_int=_integer, object_pairs_hook=_object)
    try:
        json.dumps(content, ensure_ascii=False).encode()
    # Escapes can spell halves of characters, which nothing can write.
    except UnicodeEncodeError as error:
        raise ValueError(f"a text in it has {error.object[error.start]!r}, half a character") from None
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    # Python takes the last one in silence.
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names {next(name for name in names if names.count(name) > 1)!r} twice")
    return content


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 300 else math.copysign(math.inf, -1 if digits.startswith("-") else 1)


def read_csv(path: str | os.PathLike, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file with a header that has `columns`; UTF-8, with or without a byte order mark.

    A cell that is missing is None, and superfluous cells are a list under the key None. Raises UserError for a file
    that is missing, no CSV, or lacks a column.
    """
    expected = f"CSV with the columns {', '.join(columns)}" if columns else "CSV"
    with reading(path, expected), open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        rows, names = list(reader), reader.fieldnames or ()
    missing = [name for name in columns if name not in names]
    if missing and len(names) == 1 and ";" in names[0]:
        raise UserError(f"{path} separates its columns by semicolons; expected commas, and points in numbers")
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; expected the columns {', '.join(columns)}")
    return rows


def read_table(path: str | os.PathLike, expected: str) -> "np.ndarray":
    """The numbers (T,K) of a CSV file, NaN for missing ones; a header and lines that begin with # are left out.

    Raises UserError for a file that is missing or no such table, and for lines that may or may not be a row, since all
    later ones would be counted wrongly.
    """
    import numpy as np

    rows: list[np.ndarray] = []
    header, blank = False, 0
    with reading(path, expected), open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for cells in reader:
            if cells and cells[0].startswith("#"):
                continue
            # Those at the end do not matter.
            if len(cells) < 2 and not "".join(cells).strip():
                blank = blank or reader.line_num
                continue
            if blank:
                raise ValueError(f"line {blank} is blank: a row without numbers is one of NaN")
            values = [_cell(cell) for cell in cells]
            if None not in values:
                rows.append(np.array(values))
            # A header is names alone: a first row with numbers, or with missing ones alone, counts.
            elif rows or header or any(value is not None and not math.isnan(value) for value in values):
                raise ValueError(f"line {reader.line_num}: {cells[values.index(None)]!r} is no number")
            else:
                header = True
            if rows and len(rows[-1]) != len(rows[0]):
                raise ValueError(f"line {reader.line_num} has {len(values)} cells, and the first row {len(rows[0])}")
    return np.array(rows)


def _cell(text: str) -> float | None:
    """The number of a cell, NaN for a missing one, None for other text."""
    if text.strip().lower() in MISSING | {"none"}:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None


def read_xml(path: str | os.PathLike, expected: str) -> ElementTree.Element:
    """The root of an XML file. Raises UserError for a file that is missing or no XML."""
    with reading(path, expected):
        return ElementTree.fromstring(Path(path).read_bytes())


def read_arrays(
    path: str | os.PathLike, names: Sequence[str] | None = None, expected: str = "arrays of NumPy, .npy or .npz"
) -> dict[str, "np.ndarray"]:
    """Arrays of a .npz file by name, all or those of `names`; that of a .npy file under the name "". Never unpickles.

    Raises UserError for a file that is missing or damaged, holds objects, or takes more than `MAX_ARRAY_BYTES`; an .npz
    may take as much as its file, as uncompressed ones of ours do.
    """
    # Here, so that scripts can be interrupted while it is imported (utils/interrupts.py).
    import numpy as np

    with reading(path, expected):
        # Mapped, so that a shape that is larger than the file is found before memory is asked for.
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            _check_bytes(path, content.nbytes, MAX_ARRAY_BYTES)
            return {"": np.array(content)}
        with content:
            most = max(MAX_ARRAY_BYTES, os.path.getsize(path))
            _check_bytes(path, sum(member.file_size for member in content.zip.infolist()), most)
            arrays = {name: content[name] for name in (content.files if names is None else names)}
    # A member of another kind, such as text, comes as bytes.
    other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if other:
        raise UserError(f"{str(path)!r} holds {other[0]!r}, which is no array; expected {expected}")
    return arrays


def read_rows(path: str | os.PathLike, shapes: Mapping[str, Sequence[int]], expected: str) -> dict[str, "np.ndarray"]:
    """Arrays (N,*shape) of numbers by name, `shapes` being those of their rows; "" is the array of a .npy file.

    Raises UserError as `read_arrays` does, and for arrays of other shapes, or of text.
    """
    arrays = read_arrays(path, None if "" in shapes else list(shapes), expected)
    count = max((array.shape[:1] for array in arrays.values()), default=())
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or not count or array.shape != (*count, *shape) or array.dtype.kind not in "biuf":
            held = "nothing" if array is None else f"{array.dtype.name} of shape {array.shape}"
            wanted = "x".join(map(str, ("N", *shape)))
            raise UserError(f"{str(path)!r} holds {held} as {name!r}; expected numbers, {wanted}: {expected}")
    return arrays


def _check_bytes(path: str | os.PathLike, size: int, most: int) -> None:
    if size > most:
        raise UserError(f"{str(path)!r} unpacks to {size / 2**30:.1f} GiB; expected at most {most / 2**30:.0f} GiB")


def whole_number(value: Any, least: int = 0) -> int | None:
    """`value` as an int, where it is a whole number from `least` on that fits into 64 bits; None otherwise."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    whole = isinstance(value, str) or (number == value and not isinstance(value, bool))
    return number if whole and least <= number < 1 << 63 else None
