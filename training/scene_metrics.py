"""How well people are found in frames: boxes, instance masks, depth order, missed and false people.

Predicted and true people are compared frame by frame, one to one. Of B frames, K people are predicted in each and P are
true at most; a box is (left, top, width, height) in pixels.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from models.scene.boxes import box_matrices, box_sizes
from utils.errors import UserError

# Limbs that may be anywhere in other views are rendered faintly: a half of the radiance would leave them out. Where the
# frame says itself where somebody is, even less is enough. Chosen on held-out training scenes (docs/results/scene.md).
VISIBLE = 0.05
DECODED = 0.3  # the same of masks alone, where nobody looks at the frame
# Share of the masks of two boxes that both have: with more, both show one person. Chosen as VISIBLE was.
SAME_MASK = 0.3
CROP_MARGIN = 1.25  # sides of a crop around a person, in its longer sides: crops fade to their borders
MIN_AREA = 1e-3  # of a frame: whoever has fewer pixels is not in it
FOUND_IOU = 0.1  # of boxes: with less, the predicted person is somewhere else
RECALL_IOU = 0.5
HIDDEN = 0.05  # of a silhouette: people overlap where others hide more of the one behind


class People(NamedTuple):
    """People of B frames, predicted or true: who is there, their boxes, instance maps and depths.

    `present` (B,N) bool; `boxes` (B,N,4), of those present; `maps` (B,H,W) int64, 0 for nobody and n + 1 where person n
    is visible, None where it is not known; `depths` (B,N), of any unit, or None.
    """

    present: torch.Tensor
    boxes: torch.Tensor
    maps: torch.Tensor | None = None
    depths: torch.Tensor | None = None


class Comparison(NamedTuple):
    """True people (B,P) and what was found of them; NaN where nobody is, 0 for the overlap of the missed.

    `match` (B,P) int64: which predicted person was found, -1 for nobody. `mask_iou` is None without maps. `missed` and
    `false` (B,): numbers of true people who were not found, and of predicted people who are none.
    """

    match: torch.Tensor
    box_iou: torch.Tensor
    mask_iou: torch.Tensor | None
    missed: torch.Tensor
    false: torch.Tensor


def predicted_people(
    radiance: torch.Tensor,
    depths: torch.Tensor | None = None,
    masks: torch.Tensor | None = None,
    differs: torch.Tensor | None = None,
    visible: float = VISIBLE,
) -> People:
    """The people that a network sees, from the radiance (K,B,1,H,W) of its boxes and their depths (K,B).

    A person is visible where people have at least `visible` of the radiance and it has the largest share of that, is
    present if that is at least 0.1 % of the frame, and has the box around it. With `masks` (K,B,1,H,W), of each as if
    alone, two whose masks are nearly the same are one: that which is more visible. With `differs` (B,H,W), where the
    frame is not its background, nobody is visible elsewhere.
    """
    people = radiance.squeeze(2).transpose(0, 1)
    if masks is not None:
        people = _merge_same(people, masks.squeeze(2).transpose(0, 1))
    maps = torch.where(people.sum(1) >= visible, people.argmax(1) + 1, 0)
    if differs is not None:
        maps = maps * differs
    return People(*people_of_maps(maps, len(radiance)), maps, None if depths is None else depths.T)


def _merge_same(people: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Radiance (B,K,H,W), where people whose `masks` (B,K,H,W) overlap by SAME_MASK have all of it in one of them."""
    people = people.clone()
    for first in range(masks.shape[1]):
        for second in range(first + 1, masks.shape[1]):
            shared = torch.minimum(masks[:, first], masks[:, second]).sum((1, 2))
            union = torch.maximum(masks[:, first], masks[:, second]).sum((1, 2))
            same = shared > SAME_MASK * union
            areas = people[:, [first, second]].sum((2, 3))
            kept = torch.where(areas[:, 0] >= areas[:, 1], first, second)[same]
            lost = first + second - kept
            frame = torch.nonzero(same)[:, 0]
            people[frame, kept] += people[frame, lost]
            people[frame, lost] = 0
    return people


def true_people(batch: Mapping[str, torch.Tensor]) -> People:
    """The people of a batch of frames, from its labels `subj` (B,P), `mask` (B,H,W), `box` (B,P,4), `position` (B,P,3).

    Where there are masks, a person's box is the one around what is visible of it, as those of predicted people are, and
    who is visible in less than 0.1 % of the frame is not present; else it is the label `box`, of the whole silhouette.
    """
    named, depths = batch["subj"] >= 0, batch["position"][..., 2] if "position" in batch else None
    if "mask" in batch:
        maps = batch["mask"].long()
        visible, boxes = people_of_maps(maps, named.shape[1])
        return People(named & visible, boxes, maps, depths)
    return People(named & batch["box"].isfinite().all(-1), batch["box"], None, depths)


def people_of_maps(maps: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Instance maps (B,H,W) of `count` people -> who is present (B,N) and their boxes (B,N,4), NaN for nobody.

    UserError for a value that is nobody's.
    """
    if maps.numel() and maps.max() > count:
        raise UserError(f"a mask has the value {int(maps.max())}; expected the number of a person, 0 to {count}")
    masks = maps[:, None] == torch.arange(1, count + 1, device=maps.device)[:, None, None]
    present = masks.sum((2, 3)) >= MIN_AREA * maps[0].numel()
    left, width = _extent(masks.any(2))
    top, height = _extent(masks.any(3))
    boxes = torch.stack([left, top, width, height], dim=-1).float()
    return present, boxes.masked_fill(~present[..., None], torch.nan)


def boxes_in_pixels(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes (K,B,2,3) of a network (models/scene/boxes.py) in frames of `size` (H,W) -> (B,K,4), pixels."""
    scale = torch.tensor([size[1], size[0]], device=boxes.device) - 1
    sides, centers = box_sizes(boxes) * scale, (boxes[..., 2] + 1) / 2 * scale
    # From the center of the first pixel to that of the last: one pixel more.
    return torch.cat([centers - sides / 2, sides + 1], dim=-1).transpose(0, 1)


def crops_around(people: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes (...,4) around people, pixels of frames of `size` (H,W) -> those of a network that learns them (...,2,3).

    Those are squares in pixels, as crops are, 1.25 times as large as the longer side of the person.
    """
    extent = people.new_tensor([size[1] - 1, size[0] - 1])
    center = 2 * (people[..., :2] + (people[..., 2:] - 1) / 2) / extent - 1
    return box_matrices(CROP_MARGIN * people[..., 2:].amax(-1, keepdim=True) / extent, center)


def people_as_crops(true: People, silhouettes: torch.Tensor | None, size: tuple[int, int]) -> People:
    """True people with the boxes of crops around them, for networks without masks: theirs are not those of silhouettes.

    `silhouettes` (B,P,4): boxes around whole people, with what others hide; `true` has those of what is visible.
    """
    boxes = true.boxes
    if silhouettes is not None:
        boxes = torch.where(silhouettes.isfinite(), silhouettes, boxes)
    return true._replace(boxes=boxes_in_pixels(crops_around(boxes.transpose(0, 1), size), size))


def match_people(boxes: torch.Tensor, true_boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Assign boxes (n,4) to true boxes (m,4) one to one: indices of both, (min(n,m),) each.

    The sum of the distance-IoU of the pairs is the largest possible (Hungarian method): the IoU, less the squared
    distance of the centers in diagonals of the box around both, which tells apart boxes that do not overlap.
    """
    # Imported here, because importing torchvision takes two seconds.
    from scipy.optimize import linear_sum_assignment
    from torchvision.ops import distance_box_iou

    similarity = distance_box_iou(_corners(boxes), _corners(true_boxes))
    return tuple(map(torch.from_numpy, linear_sum_assignment(similarity.numpy(), maximize=True)))


def compare_people(predicted: People, true: People) -> Comparison:
    """Match predicted and true people of each frame, and measure how far they overlap. On the CPU."""
    from torchvision.ops import box_iou

    with_maps = predicted.maps is not None and true.maps is not None
    match = torch.full(true.present.shape, -1)
    overlap = torch.zeros(true.present.shape, dtype=torch.float64).masked_fill(~true.present, torch.nan)
    mask_overlap = overlap.clone() if with_maps else None
    for frame in range(len(match)):
        guesses, people = predicted.present[frame].nonzero()[:, 0], true.present[frame].nonzero()[:, 0]
        boxes, true_boxes = predicted.boxes[frame, guesses].double(), true.boxes[frame, people].double()
        first, second = match_people(boxes, true_boxes)
        iou = box_iou(_corners(boxes), _corners(true_boxes))[first, second]
        found = iou >= FOUND_IOU
        guesses, people = guesses[first[found]], people[second[found]]
        match[frame, people], overlap[frame, people] = guesses, iou[found]
        if with_maps:
            counts = predicted.present.shape[1], true.present.shape[1]
            mask_overlap[frame, people] = mask_iou(predicted.maps[frame], true.maps[frame], *counts)[guesses, people]
    found = (match >= 0).sum(1)
    return Comparison(match, overlap, mask_overlap, true.present.sum(1) - found, predicted.present.sum(1) - found)


def mask_iou(predicted: torch.Tensor, true: torch.Tensor, count: int, true_count: int) -> torch.Tensor:
    """IoU (K,P) of each of `count` people of the instance map `predicted` (H,W) with each of `true_count` of `true`."""
    pairs = torch.bincount((predicted * (true_count + 1) + true).flatten(), minlength=(count + 1) * (true_count + 1))
    shared = pairs.view(count + 1, true_count + 1).double()
    union = shared.sum(1, keepdim=True) + shared.sum(0) - shared
    return (shared / union.clamp(min=1))[1:, 1:]


def overlapping_pairs(true: People, occlusion: torch.Tensor, silhouettes: torch.Tensor | None = None) -> torch.Tensor:
    """Which true person (B,P,P: the first) stands in front of which (the second), where they overlap.

    The boxes of their `silhouettes` (B,P,4), or without them of what is visible, touch, and other people hide more than
    5 % of the one behind; `occlusion` (B,P) is that share.
    """
    corners = _corners(true.boxes if silhouettes is None else silhouettes)
    low, high = (pick(corners[:, :, None], corners[:, None]) for pick in (torch.maximum, torch.minimum))
    touch = (high[..., 2:] >= low[..., :2]).all(-1)
    in_front = true.depths[:, :, None] < true.depths[:, None]
    present = true.present[:, :, None] & true.present[:, None]
    return touch & in_front & present & (occlusion > HIDDEN)[:, None]


def depth_order(predicted: People, match: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Whether those found of overlapping pairs (B,P,P) have the right order: 1 or 0; NaN for other pairs (B,P,P)."""
    found = match >= 0
    depths = predicted.depths.gather(1, match.clamp(min=0))
    right = (depths[:, :, None] < depths[:, None]).double()
    return right.masked_fill(~(pairs & found[:, :, None] & found[:, None]), torch.nan)


def _extent(occupied: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First place and length of what is true in (...,L) -> (...) each; the length is 0 or less where nothing is."""
    first = occupied.int().argmax(-1)
    last = occupied.shape[-1] - 1 - occupied.flip(-1).int().argmax(-1)
    return first, last + 1 - first


def _corners(boxes: torch.Tensor) -> torch.Tensor:
    """(left, top, width, height) -> (left, top, right, bottom)."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)
