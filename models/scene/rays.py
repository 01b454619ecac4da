"""Rays through boxes: where two calibrated cameras see the same person, their rays nearly meet.

A box says only in which direction its person is. With the cameras' places, the rays of two views give its true depth.
They match no boxes for the picture: where cameras are equally high, the rays of all people nearly meet.
"""

from typing import NamedTuple

import torch

from utils.geometry import rotate_points

LARGEST_MISS = 0.4  # meters: half the width of a person, and what two boxes' centers differ by
USUAL_MISS = 0.3  # meters, of rays of one person, while boxes are rough
_UNLIKELY = 1e-3  # weight of a match that appearance excludes
_DEPTH_OF_ZERO = 5.0  # meters: the depth that the detector's 0 stands for
_USUAL_FOCAL_LENGTH = 1.4  # frame heights: of the camera whose depths the detector says
_BEHIND = 10.0  # meters, added to the miss where rays meet behind a camera
_LEAST_SQUARED_SINE = 0.02  # of the angle between rays: those of cameras that look alike meet anywhere


class Meetings(NamedTuple):
    """Of target box t of view j and source box s of its source view: (K,K,B) tensors in meters.

    miss: least distance of their rays. depth: along the viewing direction of view j, to where that is.
    """

    miss: torch.Tensor
    depth: torch.Tensor


def meet(directions: torch.Tensor, cam_to_world: torch.Tensor, centers: torch.Tensor, source: torch.Tensor) -> Meetings:
    """Where rays of all boxes of view j meet those of all boxes of view `source[j]` (B,).

    `directions` (K,B,3): points at depth 1, camera frames. `cam_to_world` (B,3,3), `centers` (B,3): the cameras, world.
    """
    world = rotate_points(directions.transpose(0, 1), cam_to_world).transpose(0, 1)
    length = world.norm(dim=-1, keepdim=True)
    world = world / length
    ours, theirs = world[:, None], world[None, :, source]
    between = (centers[source] - centers)[None, None]
    cosine = (ours * theirs).sum(-1)
    along_ours, along_theirs = (ours * between).sum(-1), (theirs * between).sum(-1)
    squared_sine = (1 - cosine.square()).clamp(min=_LEAST_SQUARED_SINE)
    ours_at = (along_ours - cosine * along_theirs) / squared_sine
    theirs_at = (cosine * along_ours - along_theirs) / squared_sine
    miss = (ours * ours_at[..., None] - theirs * theirs_at[..., None] - between).norm(dim=-1)
    miss = miss + _BEHIND * (ours_at <= 0) + _BEHIND * (theirs_at <= 0)
    return Meetings(miss, ours_at / length[:, None, :, 0])


def matched_depths(meetings: Meetings, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Depths (K,B) of the target boxes, meters, by the most likely match; and which are known.

    `weights` (K,K,B): of the source boxes. Of likely ones that whose rays miss less is preferred. Known are depths in
    front of both cameras, of rays that nearly meet.
    """
    likely = torch.log(weights + _UNLIKELY) - (meetings.miss / USUAL_MISS).square()
    best = likely.argmax(1, keepdim=True)
    miss, depth = (values.gather(1, best).squeeze(1) for values in meetings)
    return depth, miss < LARGEST_MISS


def detector_depths(depths: torch.Tensor, focal_lengths: torch.Tensor) -> torch.Tensor:
    """Depths (K,B), meters -> as the detector says them, which sees no lens. `focal_lengths` (B,): frame heights.

    They are those at which people would be as large in a camera of the usual focal length.
    """
    return depths * (_USUAL_FOCAL_LENGTH / focal_lengths) - _DEPTH_OF_ZERO
