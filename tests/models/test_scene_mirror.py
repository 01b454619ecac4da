"""`flip_test`: the mean of what is found in a frame and in its mirror image has no side."""

import pytest
import torch

from models import build_network
from models.scene.boxes import box_matrices
from models.scene.mirror import same_boxes, unmirrored_boxes
from tests.scene_networks import SMALL, move_boxes, some_frames
from utils.errors import UserError
from utils.geometry import mirror_pose


def _network(**changes):
    torch.manual_seed(0)
    network = build_network({**SMALL, "training_mode": "pose", "output_types": ["3D"], **changes}).eval()
    move_boxes(network)
    network.set_pose_statistics(0.2 * torch.randn(51), 0.5 + torch.rand(51))
    network.output_types = ("spatial_transformer", "3D") + (("ST_depth",) if network.depths else ())
    return network


def _inputs():
    frames = some_frames()
    height, width = frames["img"].shape[2:]
    intrinsics = torch.tensor([[70.0, 0, 0.45 * width], [0, 70, 0.5 * height], [0, 0, 1]])
    return {**frames, "intrinsics": intrinsics.expand(len(frames["img"]), 3, 3)}


def _mirrored(inputs):
    """The frames of a mirrored room."""
    flip_x = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    intrinsics = inputs["intrinsics"].clone()
    intrinsics[:, 0, 2] = inputs["img"].shape[3] - 1 - intrinsics[:, 0, 2]
    rotations = flip_x @ inputs["R_cam_2_world"] @ flip_x
    flipped = {key: inputs[key].flip(-1) for key in ("img", "bg")}
    return {**inputs, **flipped, "R_cam_2_world": rotations, "intrinsics": intrinsics}


CASES = [
    {"detector_background": True, "perspectiveCorrection": True},
    {"spatial_transformer_num": 3, "distinct_starts": True},
    {"predict_transformer_depth": False},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
@torch.no_grad()
def test_a_mirrored_frame_shows_the_mirrored_people(changes):
    network, inputs = _network(**changes), _inputs()
    plain = network(inputs)
    network.flip_test = True
    seen, mirrored = network(inputs), network(_mirrored(inputs))
    assert (seen["spatial_transformer"] - plain["spatial_transformer"]).abs().max() > 1e-3
    boxes = unmirrored_boxes(mirrored["spatial_transformer"])
    same = same_boxes(seen["spatial_transformer"], boxes).argmax(1)
    torch.testing.assert_close(boxes.gather(0, same[..., None, None].expand_as(boxes)), seen["spatial_transformer"])
    if network.depths:
        torch.testing.assert_close(mirrored["ST_depth"].gather(0, same), seen["ST_depth"])
    # Poses come from left to right.
    poses = network.denormalize_pose(mirrored["3D"].flip(1)).flatten(0, 1).flatten(1)
    expected = network.denormalize_pose(seen["3D"]).flatten(0, 1).flatten(1)
    torch.testing.assert_close(mirror_pose(poses), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_training_and_networks_that_were_not_asked_see_no_mirror():
    network, inputs = _network(latent_dropout=0.0, dropout_to3Dpose=0.0), some_frames()
    plain = network(inputs)["3D"]
    network.flip_test = True
    assert not torch.allclose(network(inputs)["3D"], plain)
    network.flip_test = False
    assert torch.equal(network(inputs)["3D"], plain)
    trained = []
    for network.flip_test in (False, True):
        torch.manual_seed(0)
        trained.append(network.train()(inputs)["3D"])
    assert torch.equal(*trained)


def test_boxes_are_matched_one_to_one_by_their_places():
    places = torch.tensor([[-0.5, 0.1], [0.0, 0.0], [0.6, 0.2]])[:, None]
    boxes = box_matrices(torch.full((3, 1, 2), 0.4), places)
    moved = box_matrices(torch.full((3, 1, 2), 0.4), places[[2, 0, 1]] + 0.05)
    assert same_boxes(boxes, moved)[..., 0].argmax(1).tolist() == [1, 2, 0]
    with pytest.raises(UserError, match="spatial_transformer_num is 7; expected at most 6 with flip_test"):
        same_boxes(boxes[:1].expand(7, 1, 2, 3), boxes[:1].expand(7, 1, 2, 3))
