"""Files are written atomically, also where the disk is full."""

import errno
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from utils import files
from utils.files import check_writable, write_atomically, write_csv, write_text


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


def test_a_link_to_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "link", lambda part: part.write_text("new"))
    assert caught.value.filename == str(tmp_path / "link") and (tmp_path / "link").is_symlink()


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


def write_a_crop(path, monkeypatch):
    from datasets.layout.png import write_png

    write_png(str(path), np.zeros((16, 16, 3), np.uint8))


def pack_crops(path, monkeypatch):
    from datasets.layout import packed

    crops = namedtuple("crops", "size shape fill")(16, lambda *_: (3, 16, 16), lambda *_: [1])
    packed._append_images(path, crops, np.arange(1), "img_crop", progress=False)


def log_an_iteration(path, monkeypatch):
    from training.loop.run_folder import CsvLog

    monkeypatch.setattr("training.loop.run_folder.write_text", lambda *_: None)
    CsvLog(path).append({"iteration": 1})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("write", [write_a_crop, pack_crops, log_an_iteration])
def test_a_full_disk_has_the_name_of_the_file(write, monkeypatch):
    with pytest.raises(OSError) as caught:
        write(Path("/dev/full"), monkeypatch)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == "/dev/full"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_temporary_file_on_a_full_disk_has_the_name_of_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "part_of", lambda path: Path("/dev/full"))
    monkeypatch.setattr(files.Path, "unlink", lambda path: None)
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "a.txt", "some text")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "a.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes in folders")
def test_what_is_no_file_is_not_replaced(tmp_path):
    # As /dev/null, which root could replace.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for check in (check_writable, lambda path: write_text(path, "text")):
        with pytest.raises(OSError, match="Not a file that can be replaced"):
            check(pipe)
    assert pipe.is_fifo() and not list(tmp_path.glob(".*"))


def test_tables_and_texts_are_written_whole_and_in_utf_8(tmp_path):
    write_csv(tmp_path / "a.csv", ("name", "value"), ([name, 1.5] for name in ("ä", "b,c")))
    assert (tmp_path / "a.csv").read_bytes() == 'name,value\r\nä,1.5\r\n"b,c",1.5\r\n'.encode()

    def broken():
        yield ["d", 1]
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_csv(tmp_path / "a.csv", ("name", "value"), broken())
    assert "b,c" in (tmp_path / "a.csv").read_text(encoding="utf-8")
    write_text(tmp_path / "a.txt", "ä\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\n".encode() and len(list(tmp_path.iterdir())) == 2


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_first_write_removes_what_dead_processes_left_there(tmp_path):
    dead = dead_process()
    mine, theirs = files.part_of(tmp_path / "a.pth").name, f".b.pth.0badcafe-{dead}.part"
    litter = [f".a.pth.{dead}.part", mine.replace(f"-{os.getpid()}.", f"-{dead}.")]
    kept = [mine, theirs, ".part", "a.part", f"a.{dead}.part", ".a.pth.part"]
    for name in [*litter, *kept]:
        (tmp_path / name).touch()
    (tmp_path / f".link.{dead}.part").symlink_to("nowhere")
    write_atomically(tmp_path / "new", lambda part: part.write_text("text"))
    assert {path.name for path in tmp_path.iterdir()} == {"new", *kept}
    assert [name for name in [*litter, *kept] if files.is_part(tmp_path / name)] == [*litter, mine, theirs]


@pytest.mark.parametrize("name", ["a" * 251, "a" * 224, "é" * 125, "😀" * 62])
def test_names_as_long_as_the_system_has_them(name, tmp_path):
    path, other = tmp_path / f"{name}.npz", tmp_path / f"b{name[1:]}.npz"
    parts = [files.part_of(path), files.part_of(other)]
    assert len({path, other, *parts}) == 4 and all(files.is_part(part) for part in parts)
    write_atomically(path, lambda part: part.write_text("text"))
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "text"


class OfALibrary(OSError):
    """As PyAV has them: the name of the file cannot be set."""

    filename = property(lambda self: self.args[2] if len(self.args) > 2 else None)


@pytest.mark.parametrize("kind", [OSError, OfALibrary])
@pytest.mark.parametrize("named", [False, True])
def test_what_goes_wrong_names_the_file_and_not_its_temporary_name(kind, named, tmp_path):
    def fail(part):
        part.touch()
        raise kind(errno.EIO, os.strerror(errno.EIO), *([str(part)] if named else []))

    with pytest.raises(OSError, match="Input/output error") as caught:
        write_atomically(tmp_path / "a.mp4", fail)
    assert caught.value.errno == errno.EIO and caught.value.filename == str(tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())
