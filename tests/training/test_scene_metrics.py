"""Laws of the measures of people in frames, and cases computed by hand."""

import pytest
import torch

from training.scene_metrics import (
    VISIBLE,
    People,
    boxes_in_pixels,
    compare_people,
    depth_order,
    mask_iou,
    match_people,
    overlapping_pairs,
    people_as_crops,
    predicted_people,
    true_people,
)
from utils.errors import UserError

NOBODY = [float("nan")] * 4


def rectangles(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (40, 60)) -> torch.Tensor:
    """An instance map (1,H,W) of (left, top, width, height) each, the first in front of the others."""
    canvas = torch.zeros(1, *size, dtype=torch.long)
    for number, (left, top, width, height) in reversed(list(enumerate(boxes, 1))):
        canvas[0, top : top + height, left : left + width] = number
    return canvas


def radiance_of(maps: torch.Tensor, count: int, strength: float = 0.9) -> torch.Tensor:
    """Radiance (K,B,1,H,W) that makes these instance maps (B,H,W)."""
    return strength * torch.stack([maps == number for number in range(1, count + 1)])[:, :, None].float()


def scene(seed: int = 0, people: int = 3) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Labels of one frame with `people` who overlap, nearest first, and the radiance of a perfect prediction."""
    generator = torch.Generator().manual_seed(seed)
    boxes = [
        (4 + 14 * person + int(torch.randint(0, 6, (), generator=generator)), 5 + person, 18, 30 - person)
        for person in range(people)
    ]
    maps = rectangles(*boxes)
    occlusion = [1 - (maps == number).sum() / (box[2] * box[3]) for number, box in enumerate(boxes, 1)]
    labels = {
        "subj": torch.arange(people)[None] + 5,
        "box": torch.tensor([boxes]).float(),
        "mask": maps.to(torch.uint8),
        "position": torch.stack([torch.tensor([0.0, 0.0, 4.0 + person]) for person in range(people)])[None],
        "occlusion": torch.tensor([occlusion]),
    }
    return labels, radiance_of(maps, people)


def test_a_perfect_prediction():
    labels, radiance = scene()
    true = true_people(labels)
    predicted = predicted_people(radiance, torch.tensor([[1.0], [2.0], [3.0]]))
    result = compare_people(predicted, true)
    assert result.box_iou.tolist() == result.mask_iou.tolist() == [[1.0, 1.0, 1.0]]
    assert result.match.tolist() == [[0, 1, 2]] and result.missed.tolist() == result.false.tolist() == [0]
    pairs = overlapping_pairs(true, labels["occlusion"], labels["box"])
    order = depth_order(predicted, result.match, pairs)
    assert pairs.nonzero().tolist() == [[0, 0, 1], [0, 1, 2]]  # each hides a part of the next one
    assert order[pairs].tolist() == [1.0, 1.0]
    reverse = depth_order(predicted._replace(depths=-predicted.depths), result.match, pairs)
    assert reverse[pairs].tolist() == [0.0, 0.0]
    equal = depth_order(predicted._replace(depths=0 * predicted.depths), result.match, pairs)
    assert equal[pairs].tolist() == [0.0, 0.0]


def test_the_order_of_people_changes_nothing():
    labels, radiance = scene()
    depths = torch.tensor([[2.0], [1.0], [3.0]])
    radiance[0, :, :, :20] = 0  # not perfect
    order, inverse = torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])
    moved = {key: value[:, order] for key, value in labels.items() if key != "mask"}
    moved["mask"] = torch.where(labels["mask"] > 0, inverse[labels["mask"].long() - 1] + 1, 0)

    def measure(labels, radiance, depths):
        true, predicted = true_people(labels), predicted_people(radiance, depths)
        result = compare_people(predicted, true)
        ordered = depth_order(predicted, result.match, overlapping_pairs(true, labels["occlusion"], labels["box"]))
        return result, ordered

    (first, ordered), (second, also) = measure(labels, radiance, depths), measure(moved, radiance, depths)
    torch.testing.assert_close(second.box_iou, first.box_iou[:, order])
    torch.testing.assert_close(second.mask_iou, first.mask_iou[:, order])
    assert second.match.tolist() == first.match[:, order].tolist()
    torch.testing.assert_close(also, ordered[:, order][:, :, order], equal_nan=True)
    third, again = measure(labels, radiance[order], depths[order])
    torch.testing.assert_close(third.box_iou, first.box_iou)
    torch.testing.assert_close(again, ordered, equal_nan=True)
    assert order[third.match].tolist() == first.match.tolist()


def test_two_boxes_that_show_one_person_are_one_and_neighbors_are_two():
    masks = torch.zeros(3, 2, 1, 40, 60)
    masks[0, :, :, 10:30, 10:20] = masks[1, :, :, 10:30, 11:21] = 1  # one person, twice
    masks[2, :, :, 10:30, 18:28] = 1  # somebody close by
    radiance = masks.clone()
    radiance[1] *= 1 - masks[0]
    radiance[2] *= (1 - masks[0]) * (1 - masks[1])
    found = predicted_people(radiance, masks=masks)
    assert found.present.tolist() == [[True, False, True]] * 2
    assert (found.maps == 1).equal((masks[0] + masks[1] > 0)[:, 0])
    assert predicted_people(radiance).present.all()
    order = torch.tensor([1, 2, 0])
    assert predicted_people(radiance[order], masks=masks[order]).present.tolist() == [[False, True, True]] * 2


def test_nobody_is_where_the_frame_is_its_background():
    radiance = torch.zeros(2, 2, 1, 40, 60)
    radiance[0, :, :, 10:30, 10:20] = radiance[1, :, :, 10:30, 40:50] = 0.5
    differs = torch.zeros(2, 40, 60, dtype=torch.bool)
    differs[0, :, :18] = True
    found = predicted_people(radiance, differs=differs)
    assert found.present.tolist() == [[True, False], [False, False]]
    assert found.maps.equal(predicted_people(radiance).maps * differs) and found.maps[0].any()
    assert found.boxes[0, 0].tolist() == [10, 10, 8, 20]


def test_an_empty_scene():
    empty = {
        "subj": torch.full((2, 2), -1),
        "box": torch.tensor([[NOBODY] * 2] * 2),
        "mask": torch.zeros(2, 40, 60, dtype=torch.uint8),
        "position": torch.full((2, 2, 3), torch.nan),
    }
    true = true_people(empty)
    one = torch.cat([torch.zeros(1, 40, 60, dtype=torch.long), rectangles((3, 3, 10, 20))])
    result = compare_people(predicted_people(radiance_of(one, 2), torch.zeros(2, 2)), true)
    assert result.false.tolist() == [0, 1] and result.missed.tolist() == [0, 0]
    assert result.box_iou.isnan().all() and result.mask_iou.isnan().all() and (result.match == -1).all()
    assert not overlapping_pairs(true, torch.full((2, 2), torch.nan)).any()
    nothing = compare_people(predicted_people(torch.zeros(2, 2, 1, 40, 60)), true)
    assert nothing.false.tolist() == [0, 0]


def test_nobody_found():
    labels, radiance = scene()
    result = compare_people(predicted_people(0 * radiance), true_people(labels))
    assert result.box_iou.tolist() == result.mask_iou.tolist() == [[0.0, 0.0, 0.0]]
    assert result.missed.tolist() == [3] and result.false.tolist() == [0]


def test_overlaps_by_hand():
    labels = {"subj": torch.tensor([[7]]), "box": torch.tensor([[[10.0, 10, 10, 20]]])}
    labels["mask"] = rectangles((10, 10, 10, 20)).to(torch.uint8)
    # Moved by half of its width: a third is shared.
    result = compare_people(predicted_people(radiance_of(rectangles((15, 10, 10, 20)), 1)), true_people(labels))
    assert result.box_iou.item() == pytest.approx(1 / 3) and result.mask_iou.item() == pytest.approx(1 / 3)
    # An L-shape has the whole box, and three quarters of the mask.
    shape = rectangles((10, 10, 10, 20))
    shape[:, 10:20, 15:20] = 0
    result = compare_people(predicted_people(radiance_of(shape, 1)), true_people(labels))
    assert result.box_iou.item() == 1 and result.mask_iou.item() == pytest.approx(0.75)
    # Somewhere else: missed, and a false person.
    result = compare_people(predicted_people(radiance_of(rectangles((40, 10, 10, 20)), 1)), true_people(labels))
    assert (result.box_iou.item(), result.missed.item(), result.false.item()) == (0, 1, 1)


def test_two_boxes_on_one_person_are_one_person_and_a_false_one():
    labels = {"subj": torch.tensor([[7, -1]]), "box": torch.tensor([[[10.0, 10, 10, 20], NOBODY]])}
    parts = rectangles((10, 10, 10, 12), (10, 22, 10, 8))
    result = compare_people(predicted_people(radiance_of(parts, 2)), true_people(labels))
    assert result.match.tolist() == [[0, -1]] and result.false.tolist() == [1] and result.missed.tolist() == [0]
    assert result.box_iou[0, 0].item() == pytest.approx(12 / 20) and result.mask_iou is None


def test_matches_are_one_to_one():
    boxes = torch.tensor([[0.0, 0, 10, 10], [2.0, 0, 10, 10]])
    # Both true boxes overlap most with the first box.
    true = torch.tensor([[0.0, 0, 10, 10], [-2.0, 0, 10, 10], [30.0, 0, 10, 10]])
    first, second = match_people(boxes, true)
    assert sorted(first.tolist()) == [0, 1] and len(set(second.tolist())) == 2
    # Of boxes that overlap with nobody, the nearer one is taken.
    _, second = match_people(torch.tensor([[100.0, 0, 10, 10]]), true)
    assert second.tolist() == [2]


def test_who_is_present():
    # Where people have enough of the radiance, and who has most of it.
    radiance = torch.zeros(2, 1, 1, 40, 60)
    radiance[0, ..., 5:15, 5:15], radiance[1, ..., 5:15, 10:20] = 0.45 * VISIBLE, 0.7 * VISIBLE
    predicted = predicted_people(radiance)
    assert predicted.present.tolist() == [[False, True]]  # alone, neither has enough
    assert predicted.boxes[0, 1].tolist() == [10, 5, 5, 10]  # where both are
    assert predicted.maps[0, 7, 12] == 2
    few = radiance_of(rectangles((5, 5, 2, 1), (20, 5, 3, 1)), 2)  # 0.1 % of 40 x 60 pixels are 2.4
    assert predicted_people(few).present.tolist() == [[False, True]]


def test_hidden_people_and_those_out_of_the_frame_are_not_present():
    maps = rectangles((10, 10, 10, 20), (12, 12, 5, 5))
    boxes = torch.tensor([[[10.0, 10, 10, 20], [12, 12, 5, 5], NOBODY]])
    labels = {"subj": torch.tensor([[3, 4, 5]]), "box": boxes, "mask": maps.to(torch.uint8)}
    assert true_people(labels).present.tolist() == [[True, False, False]]
    without = true_people({"subj": labels["subj"], "box": boxes})
    assert without.present.tolist() == [[True, True, False]] and without.maps is None and without.depths is None


def test_boxes_of_the_network_in_pixels():
    whole = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    right = torch.tensor([[0.5, 0, 0.5], [0, 1.0, 0]])
    boxes = boxes_in_pixels(torch.stack([whole, right])[:, None], (41, 61))
    assert boxes.tolist() == [[[0, 0, 61, 41], [30, 0, 31, 41]]]  # all pixels, from the first to the last, count


def test_crops_around_people_are_squares_of_their_whole_silhouettes():
    boxes = torch.tensor([[[20.0, 10, 8, 16], [2, 20, 12, 6], NOBODY]])
    visible = boxes.clone()
    visible[0, 0, 2] = 2  # the rest of it is hidden
    true = People(torch.tensor([[True, True, False]]), visible)
    crops = people_as_crops(true, boxes, (40, 60)).boxes[0, :2]
    # 1.25 times the longer sides, from the center of the first pixel to that of the last, around the same centers.
    torch.testing.assert_close(crops[:, 2:], torch.tensor([[21.0, 21], [16, 16]]))
    centers = boxes[0, :2, :2] + (boxes[0, :2, 2:] - 1) / 2
    torch.testing.assert_close(crops[:, :2] + (crops[:, 2:] - 1) / 2, centers)
    of_visible = people_as_crops(true, None, (40, 60)).boxes[0]
    assert float(of_visible[0, 0] + (of_visible[0, 2] - 1) / 2) == pytest.approx(20.5)


def test_people_overlap_only_where_one_hides_the_other():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 10, 10], [40, 0, 10, 10]]])
    true = People(torch.tensor([[True, True, True]]), boxes, depths=torch.tensor([[2.0, 1.0, 3.0]]))
    hidden = torch.tensor([[0.3, 0.0, 0.3]])
    assert overlapping_pairs(true, hidden).nonzero().tolist() == [[0, 1, 0]]
    assert not overlapping_pairs(true, torch.tensor([[0.01, 0.0, 0.3]])).any()
    # What is visible of the two does not touch, but their silhouettes do.
    visible = boxes.clone()
    visible[0, 0, 2] = 4
    apart = true._replace(boxes=visible)
    assert not overlapping_pairs(apart, hidden).any() and overlapping_pairs(apart, hidden, boxes)[0, 1, 0]


def test_mask_iou_of_all_pairs():
    true, predicted = rectangles((0, 0, 10, 10), (20, 0, 10, 10))[0], rectangles((20, 0, 10, 5), (0, 0, 20, 10))[0]
    expected = torch.tensor([[0, 0.5], [0.5, 0]], dtype=torch.float64)
    torch.testing.assert_close(mask_iou(predicted, true, 2, 2), expected)


def test_masks_of_nobody_known_are_refused():
    labels, _ = scene()
    count = labels["subj"].shape[1]
    with pytest.raises(UserError, match=rf"a mask has the value 200; expected the number of a person, 0 to {count}"):
        true_people({**labels, "mask": torch.where(labels["mask"] > 0, 200, 0).to(torch.uint8)})
