"""Losses that lead boxes to people, and depths to where they are."""

import pytest
import torch

from datasets import BOX_METRES
from models.scene.boxes import box_matrices, box_sizes
from models.scene.rays import detector_depths
from tests.models.test_scene_rays import PEOPLE, SIZE, SOURCE, camera_inputs, people_boxes
from tests.training.test_silhouettes import shaded_scene
from training.silhouettes import silhouettes
from training.stages.augmentation import mirror
from training.stages.box_losses import cover_loss, people_loss, ray_losses
from training.stages.losses import mask_loss

HEIGHT, WIDTH = 64, 96


def _scene(*places: tuple[int, int]) -> torch.Tensor:
    """The silhouettes (1,H,W) of a frame with bright people of 24 x 8 pixels centered on (x, y)."""
    background = torch.zeros(1, 3, HEIGHT, WIDTH)
    frame = background.clone()
    for x, y in places:
        frame[..., y - 12 : y + 12, x - 4 : x + 4] = 1.5
    return silhouettes(frame, background)


def _box(x: float, y: float, side: float = 0.45) -> torch.Tensor:
    """A square box (1,2,3) of `side` heights centered on a pixel."""
    size = torch.tensor([[side * HEIGHT / WIDTH, side]])
    return box_matrices(size, torch.tensor([[2 * x / (WIDTH - 1) - 1, 2 * y / (HEIGHT - 1) - 1]]))


def test_boxes_that_cover_all_people_cost_least():
    scene = _scene((25, 30), (70, 34))
    costs = [
        cover_loss(torch.stack(boxes), scene)
        for boxes in (
            [_box(25, 30), _box(70, 34)],
            [_box(25, 30), _box(25, 30)],
            [_box(48, 60), _box(90, 60)],
        )
    ]
    assert costs[0] < costs[1] < costs[2]
    torch.testing.assert_close(costs[0], cover_loss(torch.stack([_box(70, 34), _box(25, 30)]), scene))


def test_where_nobody_is_small_boxes_cost_less():
    scene = _scene()
    assert cover_loss(_box(48, 32, 0.3)[None], scene) < cover_loss(_box(48, 32, 0.6)[None], scene)


def test_a_lost_box_is_led_to_the_person():
    scene = _scene((25, 30))
    center = torch.tensor([[[0.3, 0.5]]], requires_grad=True)
    optimizer = torch.optim.Adam([center], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        size = torch.tensor([[[0.5 * HEIGHT / WIDTH, 0.5]]])
        cover_loss(box_matrices(size, center), scene).backward()
        optimizer.step()
    torch.testing.assert_close(center[0, 0], _box(25, 30)[0, :, 2], atol=0.15, rtol=0)


def test_masks_that_fill_the_silhouette_together_cost_nothing():
    shown = silhouettes(*shaded_scene(0.75))
    person = torch.zeros(1, 1, HEIGHT, WIDTH)
    person[..., 20:44, 40:48] = 1
    halves = torch.stack([0.4 * person, 0.6 * person]).requires_grad_(True)
    assert mask_loss(halves, shown) < 1e-12
    nobody, everybody = torch.zeros(2, 1, 1, HEIGHT, WIDTH), torch.stack([person, torch.ones_like(person) - person])
    share = 24 * 8 / (HEIGHT * WIDTH)
    torch.testing.assert_close(mask_loss(nobody, shown), torch.tensor(share))
    torch.testing.assert_close(mask_loss(everybody, shown), torch.tensor(1 - share))


def _said(depths: torch.Tensor) -> torch.Tensor:
    """Depths (K,2) of `camera_inputs`, meters, as a perfect detector says them."""
    return detector_depths(depths, camera_inputs()["intrinsics"][:, 1, 1] / (SIZE[0] - 1))


def _outputs(depths: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
    same = torch.eye(len(PEOPLE), dtype=torch.float64)[..., None].expand(-1, -1, 2)
    return {
        "spatial_transformer": boxes,
        "similarity_matrix": same,
        "ST_depth": depths,
        "shuffled_pose_inv": SOURCE,
    }


def test_true_depths_cost_nothing_and_only_depths_get_gradients():
    boxes, depths = people_boxes(PEOPLE)
    inputs = camera_inputs()
    assert ray_losses(_outputs(_said(depths), boxes), inputs)[0] < 1e-12
    boxes.requires_grad_(True)
    wrong = (_said(depths) + 0.5).requires_grad_(True)
    loss, _ = ray_losses(_outputs(wrong, boxes), inputs)
    assert loss.item() == pytest.approx(0.5 - 0.15)
    loss.backward()
    assert (wrong.grad > 0).all() and boxes.grad is None


def test_rays_meet_where_they_do_under_autocast_too():
    boxes, depths = people_boxes(PEOPLE)
    inputs = {name: value.float() if value.is_floating_point() else value for name, value in camera_inputs().items()}
    with torch.autocast("cpu", torch.bfloat16):
        depth, _ = ray_losses(_outputs(_said(depths).float(), boxes.float()), inputs)
    assert depth < 1e-6


def test_people_look_as_far_away_as_they_are_small_whatever_the_lens():
    inputs, (_, depths) = camera_inputs(), people_boxes(PEOPLE)
    said = _said(depths)
    # Twice the focal length at twice the distance shows a person alike.
    torch.testing.assert_close(detector_depths(2 * depths, 2 * inputs["intrinsics"][:, 1, 1] / (SIZE[0] - 1)), said)


def test_a_mirrored_room_tells_the_same_depths():
    boxes, depths = people_boxes(PEOPLE)
    mirrored = mirror(camera_inputs() | {"extrinsic_rot_inv": camera_inputs()["R_cam_2_world"]}, torch.ones(2).bool())
    mirrored["R_cam_2_world"] = mirrored["extrinsic_rot_inv"]
    flipped = boxes.clone()
    flipped[..., 0, 2] *= -1
    assert ray_losses(_outputs(_said(depths), flipped), mirrored)[0] < 1e-12
    assert torch.equal(mirror(mirrored, torch.zeros(2).bool())["intrinsics"], mirrored["intrinsics"])


def test_boxes_of_two_meters_cost_nothing_and_others_grow_or_shrink_where_they_are():
    boxes, depths = people_boxes(PEOPLE)
    inputs = camera_inputs()
    side = BOX_METRES * inputs["intrinsics"][:, 1, 1] / (inputs["img"].shape[-2] - 1) / depths
    sides = box_sizes(boxes) / box_sizes(boxes)[..., 1:] * side[..., None]
    exact = box_matrices(sides, boxes[..., 2])
    assert ray_losses(_outputs(_said(depths), exact), inputs)[1] < 1e-12
    factor = torch.tensor([2.0, 0.5, 1.0], dtype=boxes.dtype)[:, None, None]
    sizes = (sides * factor).requires_grad_(True)
    centers = boxes[..., 2].clone().requires_grad_(True)
    ray_losses(_outputs(_said(depths), box_matrices(sizes, centers)), inputs)[1].backward()
    assert (sizes.grad[0, :, 1] > 0).all() and (sizes.grad[1, :, 1] < 0).all()
    assert not centers.grad.any()


def test_depths_that_nothing_tells_cost_nothing():
    boxes, depths = people_boxes(PEOPLE)
    boxes[:, 1, 1, 2] -= 0.5
    assert all(loss == 0 for loss in ray_losses(_outputs(depths, boxes), camera_inputs()))


def test_one_person_in_one_box_costs_less_than_halves_of_it_in_two():
    whole = torch.zeros(2, 1, 1, 20, 20)
    whole[0, ..., 5:15, 8:12] = 1
    halves = torch.zeros_like(whole)
    halves[0, ..., 5:10, 8:12] = halves[1, ..., 10:15, 8:12] = 1
    shared = torch.stack([whole[0], whole[0]]) / 2
    nobody = torch.zeros_like(whole)
    assert people_loss(nobody) < people_loss(whole) < people_loss(halves)
    torch.testing.assert_close(people_loss(shared), people_loss(halves))
    torch.testing.assert_close(people_loss(whole.flip(0)), people_loss(whole))
