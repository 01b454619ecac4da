"""Pictures of any depth come out as they look, or are refused; never white or black."""

import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from utils.errors import UserError
from utils.pictures import as_rgb, common_size, picture_files, read_picture

GRAY = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)


@pytest.mark.parametrize("name", ["gray.png", "gray.tif"])
def test_sixteen_bits_look_like_eight(tmp_path, name):
    Image.fromarray(GRAY).save(tmp_path / name)
    found = read_picture(tmp_path / name)
    assert found.dtype == np.uint8 and found.shape == (64, 64, 3)
    np.testing.assert_array_equal(found[..., 0], GRAY // 257)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((GRAY / 65535).astype(np.float32), "floating-point numbers"),
        (GRAY.astype(np.int32), "integers of 32 bits"),
        (GRAY // 16, "16 bits, of which at most 12 are used: up to 4095"),
    ],
)
def test_values_of_unknown_range_are_refused(tmp_path, values, message):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif' .*{message}"):
        read_picture(tmp_path / "a.tif")
    with pytest.raises(UserError, match=message):
        as_rgb(Image.fromarray(values))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_too_large_a_picture_is_one_line(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"0")), (b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    with pytest.raises(UserError, match=r"a\.png' cannot be read \(.*3600000000 pixels") as error:
        read_picture(tmp_path / "a.png")
    assert "\n" not in str(error.value)


def test_damaged_pictures_are_one_line(tmp_path, recwarn):
    """A short fuzz of the reader: any cut and any flipped bytes give a picture or one line."""
    rng = np.random.default_rng(0)
    for ending in ("png", "jpg", "bmp", "webp", "tif"):
        path = tmp_path / f"a.{ending}"
        Image.fromarray(np.repeat(GRAY[..., None] // 257, 3, 2).astype(np.uint8)).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole[: rng.integers(len(whole) + 1)].copy() if rng.random() < 0.5 else whole.copy()
            places = rng.integers(max(len(damaged), 1), size=4)
            damaged[places[places < len(damaged)]] = rng.integers(256)
            path.write_bytes(damaged.tobytes())
            try:
                assert read_picture(path).dtype == np.uint8
            except UserError as error:
                assert "\n" not in str(error)
    assert not recwarn.list


def test_pictures_of_a_folder_have_one_size(tmp_path):
    """As they are shown: a phone's upright picture is stored lying, with a note."""
    files = [tmp_path / name for name in ("0.png", "1.jpg", "2.png", "3.png")]
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (30, 40)).save(files[0])
    Image.new("RGB", (40, 30)).save(files[1], exif=turned)
    Image.new("RGB", (40, 30)).save(files[2], exif=turned)
    Image.new("RGB", (40, 30)).save(files[3])
    assert common_size(files[:3]) == (30, 40) == common_size(files[1:2])
    with pytest.raises(UserError, match=r"3\.png is 40x30 px; expected 30x40 px as 0\.png .*a folder for each size"):
        common_size(files)


def test_folders_are_sorted_by_number(tmp_path):
    for name in ("f10.png", "f9.png", "f1.PNG", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [file.name for file in picture_files(tmp_path)] == ["f1.PNG", "f9.png", "f10.png"]
    assert picture_files(tmp_path / "f9.png") == [tmp_path / "f9.png"]
    assert picture_files(tmp_path / "a.mp4") is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty' has no pictures; expected \.bmp"):
        picture_files(tmp_path / "empty")
    (tmp_path / "empty" / "left.mp4").touch()
    with pytest.raises(UserError, match=r"empty' has 'left\.mp4' and no pictures; expected \.bmp"):
        picture_files(tmp_path / "empty")


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "b.heif", "c.avif"])
def test_pictures_of_tiles_are_refused(name, tmp_path):
    """Among other pictures, too: their instants would be missing."""
    for file in (tmp_path / "a.jpg", tmp_path / name):
        file.touch()
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=rf"{name}' is a picture that is not read; .*: convert it to JPEG"):
            picture_files(path)
