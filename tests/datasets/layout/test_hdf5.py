"""labels.h5 with odd members: every kind is one line that names the file and the key, before anything is allocated."""

import random

import h5py
import numpy as np
import pytest

from datasets.layout.hdf5 import MAX_COMPRESSION, read_numbers
from datasets.layout.labels import Labels
from tests.synthetic import write_synthetic_layout
from utils.errors import UserError

UNLIMITED = h5py.h5f.UNLIMITED
KEYS = ("frame", "cam", "extrinsic_rot", "3D", "pose_std", "motion")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good")
    write_synthetic_layout(root, size=16, subjects=(1,), sequences_per_subject=1, instants=2)
    return (root / "labels.h5").read_bytes()


@pytest.fixture
def root(good, tmp_path):
    (tmp_path / "labels.h5").write_bytes(good)
    return tmp_path


def replaced(key, make):
    """A change of labels.h5: `make(file, old array)` gives what stands in place of the key, or makes it itself."""

    def change(file):
        old = file[key][()]
        del file[key]
        new = make(file, old)
        if new is not None:
            file[key] = new

    return change


def damage_chunk(file):
    old = file["3D"][()]
    del file["3D"]
    chunk = file.create_dataset("3D", data=old, chunks=True, compression="gzip", fletcher32=True).id.get_chunk_info(0)
    file.flush()
    with open(file.filename, "r+b") as raw:
        raw.seek(chunk.byte_offset + 20)
        raw.write(b"\xff\x00\xff\x00")


FAULTS = {
    "text": ("frame", replaced("frame", lambda f, a: np.full(len(a), b"x")), "'frame' holds"),
    "scalar": ("frame", replaced("frame", lambda f, a: 5), "frame"),
    "group": ("frame", replaced("frame", lambda f, a: f.create_group("frame") and None), "'frame' is a group"),
    "nothing": ("frame", replaced("frame", lambda f, a: None), "no 'frame'"),
    "fractions": ("frame", replaced("frame", lambda f, a: a + 0.5), "fractions"),
    "huge integers": ("frame", replaced("frame", lambda f, a: a.astype(np.uint64) + 2**63), "64 bits"),
    "complex": ("extrinsic_rot", replaced("extrinsic_rot", lambda f, a: a + 1j), "complex"),
    "NaN": ("3D", replaced("3D", lambda f, a: a * np.nan), r"'3D' holds NaN or infinity in row 0 \(subj"),
    "too large for float32": ("3D", replaced("3D", lambda f, a: np.full(a.shape, 1e300)), "infinity"),
    "fewer rows": ("3D", replaced("3D", lambda f, a: a[:-1]), "'3D' has shape"),
    "no deviation": ("pose_std", replaced("pose_std", lambda f, a: a * 0), "expected more than 0"),
    "fewer names": ("motion", replaced("motion", lambda f, a: a[:-1]), "'motion' has shape"),
    "other encoding": ("motion", replaced("motion", lambda f, a: np.full(len(a), b"\xff\xfe")), "UTF-8"),
    "dangling link": ("3D", replaced("3D", lambda f, a: h5py.SoftLink("/nowhere")), "'3D' is a link"),
    "link to itself": ("3D", replaced("3D", lambda f, a: h5py.SoftLink("/3D")), "'3D' is a link"),
    "other file": ("3D", replaced("3D", lambda f, a: h5py.ExternalLink("other.h5", "/3D")), "'3D' is a link"),
    "raw file": (
        "3D",
        replaced("3D", lambda f, a: f.create_dataset("3D", a.shape, "f4", external=[("raw", 0, UNLIMITED)]) and None),
        "'3D' is a link",
    ),
    "declared only": (
        "3D",
        replaced("3D", lambda f, a: f.create_dataset("3D", (10**9, 51), "f4", chunks=(1, 51)) and None),
        "declares",
    ),
    "damaged chunk": ("3D", damage_chunk, "cannot be read"),
}


def test_what_a_strong_filter_has_packed_is_read(tmp_path):
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file.create_dataset("a", data=np.zeros(10_000_000), compression="gzip", scaleoffset=1)
        assert file["a"].id.get_storage_size() * MAX_COMPRESSION < file["a"].nbytes
        assert not read_numbers(file, "a", np.float32).any()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_odd_member_is_one_line(fault, root):
    key, change, message = FAULTS[fault]
    with h5py.File(root / "labels.h5", "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message) as error:
        Labels(root)[key]
    assert "labels.h5" in str(error.value) and "\n" not in str(error.value)


def test_random_damage_is_read_or_is_one_line(good, root):
    """A seeded fuzz of bytes."""
    rng = random.Random(17)
    for _ in range(150):
        content = bytearray(good)
        for _ in range(rng.choice((1, 2, 8))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (root / "labels.h5").write_bytes(content[: rng.randrange(len(content))] if rng.random() < 0.2 else content)
        try:
            labels = Labels(root)
            for key in KEYS:
                labels[key]
        except UserError as error:
            assert "\n" not in str(error)
