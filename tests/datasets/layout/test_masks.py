"""Masks of the person, the optional third kind of crops: written, read, packed, validated; absent where unknown."""

import numpy as np
import pytest
import torch

from datasets.layout.packed import open_packed, pack
from datasets.layout.writer import LayoutWriter
from datasets.reader import BATCH_KEYS, MultiViewDataset
from datasets.validation import validate
from tests.synthetic import write_synthetic_layout
from utils.errors import UserError

SIZE = 16
KEYS = ("img_crop", "bg_crop", "mask_crop")


@pytest.fixture
def layout(tmp_path):
    return write_synthetic_layout(tmp_path / "set", size=SIZE, subjects=(1,), instants=3, masks=True)


def batches(root, **how):
    dataset = MultiViewDataset(root, keys=KEYS, progress=False, **how)
    return dataset.__getitems__(range(len(dataset)))


def test_masks_are_read_the_same_from_files_memory_and_packed_crops(layout):
    decoded = batches(layout)
    mask = decoded["mask_crop"]
    assert mask.dtype == torch.uint8 and mask.shape == (len(mask), 1, SIZE, SIZE)
    assert torch.equal(mask > 0, (decoded["img_crop"] != decoded["bg_crop"]).any(1, keepdim=True))
    assert torch.equal(batches(layout, preload=True)["mask_crop"], mask)
    assert "24 distinct mask_crop" in pack(layout, progress=False)
    dataset = MultiViewDataset(layout, keys=KEYS)
    assert not dataset.decodes and dataset.kinds == KEYS
    # Four backgrounds of static cameras, 24 crops and 24 masks.
    assert dataset.nbytes == SIZE**2 * (3 * 4 + 3 * 24 + 24)
    assert torch.equal(batches(layout)["mask_crop"], mask)


def test_a_set_with_masks_is_read_without_them_unless_asked(layout):
    assert "mask_crop" not in BATCH_KEYS and "mask_crop" not in MultiViewDataset(layout)[0]


def test_a_set_without_masks_says_so(tmp_path):
    root = write_synthetic_layout(tmp_path / "set", size=SIZE, subjects=(1,), instants=2)
    pack(root, progress=False)
    assert tuple(open_packed(MultiViewDataset(root).labels)) == ("img_crop", "bg_crop")
    assert "mask_crop" not in MultiViewDataset(root).kinds
    with pytest.raises(UserError, match=r"missing crop .*mask_crop"):
        MultiViewDataset(root, keys=KEYS)


def test_the_validator_checks_masks(layout):
    assert "img_crop, bg_crop and mask_crop" in validate(layout)
    from PIL import Image

    path = layout / "seq_002/cam_01/mask_crop_000005.png"
    Image.new("L", (SIZE, SIZE)).save(path)
    with pytest.raises(UserError, match=r"1 of 24 masks are empty, such as .*mask_crop_000005\.png"):
        validate(layout)
    path.unlink()
    with pytest.raises(UserError, match=r"missing crop .*mask_crop_000005"):
        validate(layout)


def test_a_misshapen_mask_is_refused(tmp_path):
    crops = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    writer = LayoutWriter(tmp_path, SIZE)
    rows = {"frame": [0, 0], "cam": [0, 1], "seq": [1, 1], "subj": [1, 1]}
    rows |= {"extrinsic_rot": [np.eye(3)] * 2, "extrinsic_rot_inv": [np.eye(3)] * 2}
    rows |= {"bounding_box_cam": np.zeros((2, 4)), "intrinsic_crop": [np.eye(3)] * 2}
    with pytest.raises(UserError, match=r"mask_crop is uint8 \(2, 16, 16, 3\); expected uint8 \(2, 16, 16\)"):
        writer.add(crops, None, rows, "seq_001", crops)
