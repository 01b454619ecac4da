"""Rays through boxes of two cameras: where they meet."""

import torch

from models.scene.perspective import box_directions
from models.scene.rays import matched_depths, meet
from utils.geometry import rotation_about

SIZE = (40, 72)
SOURCE = torch.tensor([1, 0])


def _cameras() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """World -> camera (2,3,3), centers (2,3) and intrinsics (2,3,3) of two cameras that look at the origin."""
    angles = torch.tensor([0.3, 1.7], dtype=torch.float64)
    rotation = rotation_about("y", angles)
    centers = -5 * rotation.mT @ torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    intrinsics = torch.tensor([[60.0, 0, 33], [0, 60, 20], [0, 0, 1]], dtype=torch.float64).repeat(2, 1, 1)
    intrinsics[1, :2, :2] *= 0.8
    return rotation, centers, intrinsics


def people_boxes(people: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (K,2,2,3) centered on `people` (K,3), world, and their true depths (K,2)."""
    rotation, centers, intrinsics = _cameras()
    seen = torch.einsum("bij,kbj->kbi", rotation, people[:, None] - centers)
    pixels = torch.einsum("bij,kbj->kbi", intrinsics, seen / seen[..., 2:])[..., :2]
    places = pixels / torch.tensor([SIZE[1] - 1, SIZE[0] - 1]) * 2 - 1
    boxes = torch.cat([torch.diag_embed(torch.full_like(places, 0.3)), places[..., None]], dim=-1)
    return boxes, seen[..., 2]


def camera_inputs() -> dict[str, torch.Tensor]:
    """Inputs of the network that say where the cameras are, with frames of SIZE."""
    rotation, centers, intrinsics = _cameras()
    frames = torch.zeros(2, 3, *SIZE)
    return {"img": frames, "R_cam_2_world": rotation.mT, "camera_position": centers, "intrinsics": intrinsics}


PEOPLE = torch.tensor([[0.8, 0.1, 0.3], [-0.6, 0.0, -0.9], [0.1, -0.2, 1.0]], dtype=torch.float64)


def _meetings(boxes: torch.Tensor, source: torch.Tensor = SOURCE):
    rotation, centers, intrinsics = _cameras()
    return meet(box_directions(boxes, intrinsics, SIZE), rotation.mT, centers, source)


def test_rays_of_one_person_meet_at_its_depth():
    boxes, depths = people_boxes(PEOPLE)
    meetings = _meetings(boxes)
    same = torch.eye(3, dtype=torch.bool)
    assert meetings.miss[same].max() < 1e-9
    torch.testing.assert_close(meetings.depth[same], depths)


def test_depths_follow_the_matches():
    boxes, depths = people_boxes(PEOPLE)
    order = torch.tensor([2, 0, 1])
    exchanged = torch.stack([boxes[:, 0], boxes[order][:, 1]], dim=1)
    weights = torch.zeros(3, 3, 2, dtype=torch.float64)
    weights[torch.arange(3), torch.argsort(order), 0] = weights[torch.arange(3), order, 1] = 1
    found, known = matched_depths(_meetings(exchanged), weights)
    assert known.all()
    torch.testing.assert_close(found[:, 0], depths[:, 0])
    torch.testing.assert_close(found[:, 1], depths[order, 1])


def test_where_appearance_does_not_tell_rays_do():
    boxes, depths = people_boxes(torch.tensor([[0.8, 0.4, 0.3], [-0.6, -0.4, -0.9]], dtype=torch.float64))
    found, known = matched_depths(_meetings(boxes), torch.full((2, 2, 2), 0.5, dtype=torch.float64))
    assert known.all()
    torch.testing.assert_close(found, depths)


def test_depths_of_rays_that_miss_or_meet_behind_a_camera_are_unknown():
    boxes, _ = people_boxes(PEOPLE[:1])
    higher = boxes.clone()
    higher[:, 1, 1, 2] -= 0.5
    assert not matched_depths(_meetings(higher), torch.ones(1, 1, 2))[1].any()
    behind, _ = people_boxes(PEOPLE[:1] + 20 * (_cameras()[1][0] / 5))
    assert not matched_depths(_meetings(behind), torch.ones(1, 1, 2))[1].any()


def test_a_view_that_is_its_own_source_knows_no_depth():
    boxes, _ = people_boxes(PEOPLE)
    meetings = _meetings(boxes, torch.tensor([0, 1]))
    _, known = matched_depths(meetings, torch.eye(3, dtype=torch.float64)[..., None].expand(-1, -1, 2))
    assert not known.any()
