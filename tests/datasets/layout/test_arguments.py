"""Values that no set has are refused before anything is written or allocated."""

import math

import pytest

from datasets.layout.arguments import check_at_least, check_box
from datasets.layout.writer import check_size
from utils.errors import UserError


@pytest.mark.parametrize("box", [0, -1, 1e-9, 1e9, math.inf, math.nan])
def test_boxes_that_show_no_person(box):
    with pytest.raises(UserError, match=r"box_metres is .*; expected 0\.1 to 100 meters"):
        check_box(box)
    check_box(2.0)


@pytest.mark.parametrize(
    "given", [{"every": 0}, {"workers": 10**6}, {"crops": 10**15}, {"people": -1}, {"first_sequence": 10**20}], ids=str
)
def test_numbers_out_of_range(given):
    ((name, value),) = given.items()
    with pytest.raises(UserError, match=f"{name} is {value}; expected at least 1, at most"):
        check_at_least(1, **given)
    check_at_least(1, **{name: 1}, other=None)


@pytest.mark.parametrize("size", [0, 15, 10**6])
def test_sizes_that_no_network_has(size):
    with pytest.raises(UserError, match=f"size is {size}; expected at least 16 pixels, at most"):
        check_size(size)
