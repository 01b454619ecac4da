"""Readers of files: whatever is in a file, an error is one line that names it."""

import json
import os
import random
import re

import numpy as np
import pytest

from tests.damage import mutated
from utils import readers
from utils.errors import UserError
from utils.readers import read_arrays, read_csv, read_json, read_rows, read_xml, reading, reason, whole_number

HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000, 17, 3), }".ljust(117) + b"\n"
HUGE_NPY = b"\x93NUMPY\x01\x00v\x00" + HEADER

DAMAGED = [
    # reader, content, what is said
    (read_json, b"{", "line 1"),
    (read_json, b"[" * 100_000, "recursion"),
    (read_json, b'{"a":' * 100_000, "recursion"),
    (read_json, b"\xff\xfe", "utf-8"),
    (read_json, rb'["\ud800"]', "half a character"),
    (read_json, b"\n<!DOCTYPE html><html>", "web page"),
    (read_json, b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    (read_arrays, b"", "it is empty"),
    (read_json, b"", "it is empty"),
    (read_arrays, b"hello", "pickled"),
    (read_arrays, b"PK\x03\x04aaaa", "zip"),
    (read_arrays, HUGE_NPY + bytes(1000), "file size"),
    (lambda path: read_csv(path, ["a"]), b"", "no column 'a'"),
    (lambda path: read_csv(path, ["a"]), b"a\n" + b"1" * 200_000, "larger than"),
    (lambda path: read_csv(path, ["a"]), b"a\n\xff", "utf-8"),
    (lambda path: read_xml(path, "XML"), b"<a>", "line 1"),
    (lambda path: read_xml(path, "XML"), b'<?xml version="1.0" encoding="x-foo"?><a/>', "unknown encoding"),
]


@pytest.mark.parametrize(("read", "content", "message"), DAMAGED)
def test_a_damaged_file_is_one_line(read, content, message, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(content)
    assert_one_line(read, file, message)


@pytest.mark.parametrize("read", [read_json, read_arrays, read_csv, lambda path: read_xml(path, "XML")])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no file"),
        (os.mkdir, "not a file"),
        (os.mkfifo, "not a file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
    ],
)
def test_what_is_no_file_is_one_line(read, make, message, tmp_path):
    make(tmp_path / "file")
    assert_one_line(read, tmp_path / "file", message)


def assert_one_line(read, file, message):
    with pytest.raises(UserError, match=message) as error:
        read(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_integers_that_no_float_holds_are_infinity(tmp_path):
    (tmp_path / "a.json").write_text(f"[1{'0' * 400}, -1{'0' * 5000}, 12345678901234567890]")
    assert read_json(tmp_path / "a.json", list) == [np.inf, -np.inf, 12345678901234567890]
    with pytest.raises(UserError, match="holds list; expected JSON, an object"):
        read_json(tmp_path / "a.json", dict)


def test_arrays_are_bounded_and_never_unpickled(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000), b=np.ones(3))
    assert sorted(read_arrays(tmp_path / "a.npz")) == ["a", "b"]
    assert list(read_arrays(tmp_path / "a.npz", ["b"])) == ["b"]
    monkeypatch.setattr(readers, "MAX_ARRAY_BYTES", 50_000)
    assert_one_line(read_arrays, tmp_path / "a.npz", "unpacks to")
    # What is no larger than its file is no trap: hours of landmarks, written uncompressed, are read again.
    np.savez(tmp_path / "c.npz", a=np.zeros(10_000), b=np.ones(3))
    assert sorted(read_arrays(tmp_path / "c.npz")) == ["a", "b"]
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert_one_line(read_arrays, tmp_path / "b.npy", "Python objects")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("first\nsecond", "first"),
        ("Loading failed. To load it unsafely, do this.", "Loading failed"),
        ("Unable to allocate 362. PiB for an array", "Unable to allocate 362. PiB for an array"),
        ("\x1b[1mbold\x1b[0m\x07", "bold"),
        ("101", "ValueError: 101"),
        ("", "ValueError"),
    ],
)
def test_of_a_message_the_first_sentence_is_said(message, said):
    assert reason(ValueError(message)) == said


def test_errors_of_the_project_pass_unchanged(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^mine$"), reading(tmp_path / "file", "anything"):
        raise UserError("mine")


def test_whole_numbers():
    wrong = (1.5, np.nan, np.inf, 10**400, True, [1], None, "x", "1.0", -1, 2**63)
    assert [whole_number(value) for value in wrong] == [None] * len(wrong)
    assert [whole_number(value) for value in (0, "3", 4.0, np.int64(5))] == [0, 3, 4, 5]


@pytest.mark.parametrize("name", ["a.json", "a.npy", "a.npz", "a.csv", "a.xml"])
def test_random_damage_is_read_or_is_one_line(name, tmp_path):
    """A seeded fuzz: bytes are changed, removed, inserted and cut."""
    read = {"json": read_json, "csv": read_csv, "xml": lambda path: read_xml(path, "XML")}.get(name[2:], read_arrays)
    file, rng = tmp_path / name, random.Random(name)
    write_good(file)
    good, damaged = file.read_bytes(), 0
    for _ in range(200):
        file.write_bytes(mutated(good, rng))
        try:
            read(file)
        except UserError as error:
            damaged += 1
            assert str(file) in str(error) and not re.search("\n|allow_pickle|unsafe", str(error))
    assert damaged or name == "a.csv"


def write_good(file):
    if file.suffix == ".npy":
        np.save(file, np.ones((3, 5)))
    elif file.suffix == ".npz":
        np.savez_compressed(file, a=np.ones((3, 5)), b=np.arange(4))
    else:
        content = json.dumps({"a": [1, 2.5, {"b": "text"}]})
        file.write_text({".json": content, ".csv": "a,b\n1,2\n3,4\n", ".xml": "<a><b c='1'>2</b></a>"}[file.suffix])


ROWS = {"a": (2,), "b": ()}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"a": np.zeros((3, 2))}, "b is not"),
        ({"a": np.zeros((3, 2)), "b": np.zeros(4)}, r"holds float64 of shape \(3, 2\) as 'a'; expected numbers, Nx2"),
        ({"a": np.zeros((3, 5)), "b": np.zeros(3)}, "'a'"),
        ({"a": np.zeros((3, 2)), "b": np.array(["x"] * 3)}, "'b'"),
        ({"a": np.array(1.0), "b": np.array(1.0)}, "'a'"),
    ],
)
def test_rows_of_another_shape_are_one_line(held, message, tmp_path):
    np.savez(tmp_path / "file.npz", **held)
    assert_one_line(lambda path: read_rows(path, ROWS, "rows"), tmp_path / "file.npz", message)
    np.save(tmp_path / "file.npy", np.zeros((3, 2)))
    assert_one_line(lambda path: read_rows(path, ROWS, "rows"), tmp_path / "file.npy", "nothing as '")
    assert read_rows(tmp_path / "file.npy", {"": (2,)}, "rows")[""].shape == (3, 2)
