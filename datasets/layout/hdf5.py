"""Reading HDF5 files: arrays that the file itself holds, of a known kind and no larger than it can hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from utils.errors import UserError
from utils.readers import names_text, reading

MAX_COMPRESSION = 1100  # declared by stored bytes; deflate reaches 1,032
HARMLESS = 256 << 20  # declared bytes that any machine can take, however well a filter packed them
NUMBERS = "biuf"  # kinds of numpy's types


@contextmanager
def open_hdf5(path: str | Path, expected: str) -> Iterator[h5py.File]:
    """An HDF5 file to read. UserError for what is missing, no HDF5 file, or damaged where the body reads it."""
    with reading(path, expected), h5py.File(path, "r") as file:
        yield file


def find_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """The data set `name`, not read. UserError for a group, for data of another file, and for a declared size that the
    stored bytes cannot have: reading would take that much memory.
    """
    where = f"{file.filename}: '{name}'"
    # Not `name in file`: that is False for a link that leads nowhere, and opens other files.
    link = file.get(name, getlink=True)
    if link is None:
        raise UserError(f"{file.filename} has no '{name}'; it has {names_text(file)}")
    data = file[name] if isinstance(link, h5py.HardLink) else None
    if data is None or (isinstance(data, h5py.Dataset) and (data.external or data.is_virtual)):
        raise UserError(f"{where} is a link to data elsewhere; expected the data itself")
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        raise UserError(f"{where} is a {type(data).__name__.lower()} without data; expected an array")
    stored = data.id.get_storage_size()
    if data.nbytes > max(MAX_COMPRESSION * stored, HARMLESS if stored else 0):
        raise UserError(
            f"{where} declares {data.nbytes} bytes in shape {data.shape}, but {stored} are stored; expected whole data"
        )
    return data


def read_numbers(
    file: h5py.File,
    name: str,
    dtype: type,
    row_name: Callable[[int], str] = " in row {}".format,
    allow_nan: bool = False,
) -> np.ndarray:
    """The numbers of a data set as `dtype`, in the shape in which they are stored. row_name: of a row, for messages.

    UserError for text and complex numbers, infinity and (unless `allow_nan`) NaN, and for integers where there are
    fractions, or numbers beyond 64 bits.
    """
    where = f"{file.filename}: '{name}'"
    array = np.asarray(find_dataset(file, name)[()])
    if array.dtype.kind not in NUMBERS:
        raise UserError(f"{where} holds {array.dtype}; expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        values = array.astype(dtype)
    if values.dtype.kind == "i":
        if not np.array_equal(values, array) or (np.abs(values) > 1 << 62).any():
            raise UserError(f"{where} holds fractions, or numbers beyond 64 bits; expected whole numbers")
        return values
    bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
    if bad.any():
        row = row_name(np.argwhere(bad)[0, 0]) if values.ndim else ""
        what = "infinity" if allow_nan else "NaN or infinity"
        raise UserError(f"{where} holds {what}{row}; expected finite numbers")
    return values


def read_text(file: h5py.File, name: str) -> np.ndarray:
    """The strings of a data set, as str. UserError for what is not UTF-8."""
    array = np.asarray(find_dataset(file, name)[()])
    try:
        # h5py cannot store numpy's unicode arrays: on disk, strings are UTF-8 bytes.
        return np.char.decode(array.astype(np.bytes_), "utf-8")
    except (UnicodeError, TypeError, ValueError) as error:
        raise UserError(f"{file.filename}: '{name}' is not text of UTF-8; expected strings") from error
