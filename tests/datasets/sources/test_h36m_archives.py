"""Packed archives of Human3.6M: unpacked whole or not at all, and again when they were replaced."""

import io
import os
import random
import tarfile
from collections import namedtuple

import pytest

from datasets.sources.human36m import archives
from datasets.sources.human36m.archives import POSE_ARCHIVE, Source, unpack
from utils.errors import UserError

CONTENT = {f"{name}.cdf": bytes(random.Random(name).randbytes(3000)) for name in ("Sitting", "Walking 1")}


def write_archive(path, kind="gz", content=CONTENT):
    with tarfile.open(path, f"w:{kind}") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(f"S1/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def unpacked(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".cdf"}


def check_damage(archive, folder) -> bool:
    """Whether the archive is refused; it must be unpacked exactly otherwise, and leave nothing where it is refused."""
    try:
        unpack(archive, folder / "S1.cdf", ".cdf", progress=False)
    except UserError as error:
        assert str(archive) in str(error) and "\n" not in str(error)
        assert [path.name for path in folder.iterdir()] == [archive.name]
        return True
    assert unpacked(folder / "S1.cdf") == CONTENT
    return False


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "cut at its end": lambda data: data[:-6],
    "flipped": lambda data: flip(data, len(data) // 2),
    # Behind the end of the tar, where reading need not come.
    "with a wrong checksum": lambda data: flip(data, len(data) - 7),
    "empty": lambda data: b"",
    "a page to log in": lambda data: b"<!DOCTYPE html><html><body>Please log in</body></html>" * 20,
}


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_refused(kind, damage, tmp_path):
    archive = write_archive(tmp_path / "a.tgz", kind)
    archive.write_bytes(DAMAGES[damage](archive.read_bytes()))
    assert check_damage(archive, tmp_path)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_random_damages_are_found(kind, tmp_path):
    whole, dice = write_archive(tmp_path / "a.tgz", kind).read_bytes(), random.Random(kind)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 1, 3))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        (tmp_path / "a.tgz").write_bytes(damaged)
        refused += check_damage(tmp_path / "a.tgz", tmp_path)
    assert refused > 40


def test_a_replaced_archive_is_unpacked_again(tmp_path):
    archive = write_archive(tmp_path / POSE_ARCHIVE.format(1), content={"Sitting.cdf": b"old"})
    source = Source(tmp_path, tmp_path / "scratch", progress=False)
    assert unpacked(source.poses(1)) == {"Sitting.cdf": b"old"}
    kept = source.poses(1).stat().st_ino
    assert source.poses(1).stat().st_ino == kept, "unpacked once"
    write_archive(archive)
    assert unpacked(source.poses(1)) == CONTENT


def test_what_turns_out_to_be_bad_is_removed(tmp_path):
    write_archive(tmp_path / POSE_ARCHIVE.format(1))
    source = Source(tmp_path, tmp_path / "scratch", progress=False)
    with pytest.raises(UserError, match="a pose is missing"), source.checking(1, ".cdf"):
        assert source.poses(1).is_dir()
        raise UserError("a pose is missing")
    assert not (tmp_path / "scratch").exists()


def test_a_member_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage(5000, 4000, 1000))
    archive = write_archive(tmp_path / "a.tgz")
    with pytest.raises(UserError, match=r"a\.tgz: Sitting\.cdf has .* GB; expected at most the free"):
        unpack(archive, tmp_path / "S1.cdf", ".cdf", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_a_full_disk_is_named_and_nothing_stays(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    archive = write_archive(tmp_path / "a.tgz")
    with pytest.raises(OSError) as caught:
        unpack(archive, tmp_path / "S1.cdf", ".cdf", progress=False)
    assert caught.value.filename.endswith("Sitting.cdf") and [path.name for path in tmp_path.iterdir()] == ["a.tgz"]
