"""Files are written atomically, also where the disk is full."""

import errno
from collections import namedtuple

import pytest

from utils import files
from utils.files import write_atomically


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise ValueError("broke off")

    with pytest.raises(ValueError, match="broke off"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "message, free", [("unexpected pos 2 vs 1", 512), ("I/O error: No space left on device", 1 << 30)]
)
def test_a_full_disk_is_named_whatever_the_writer_says(tmp_path, monkeypatch, message, free):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage(1 << 40, 0, free))

    def full(part):
        part.write_text("half")
        raise RuntimeError(message)

    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "big.pth", full)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "big.pth")
    assert not list(tmp_path.iterdir())
