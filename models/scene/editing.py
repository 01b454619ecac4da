"""Taking frames apart into people, and composing frames of these people or of others."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from models.scene.boxes import crop_frames
from models.scene.bumps import bump
from models.scene.network import DetectEncodeDecode


class ScenePeople(NamedTuple):
    """K people in each of B frames: appearance (K,B,A), points (K,B,N,3), boxes (K,B,2,3) as in models/scene/boxes.py,
    and depths (K,B), None of a network without them.
    """

    appearance: torch.Tensor
    points: torch.Tensor
    boxes: torch.Tensor
    depths: torch.Tensor | None

    def only(self, people: Sequence[int]) -> "ScenePeople":
        """Those of the numbers `people`."""
        return ScenePeople(*(None if values is None else values[list(people)] for values in self))

    def moved(self, person: int, right: float = 0.0, down: float = 0.0) -> "ScenePeople":
        """With the box of one person elsewhere, by shares of the frame's sides."""
        boxes = self.boxes.clone()
        boxes[person, :, :, 2] += 2 * boxes.new_tensor([right, down])
        return self._replace(boxes=boxes)

    def dressed_as(self, person: int, other: int) -> "ScenePeople":
        """With the appearance of `other` for one person."""
        appearance = self.appearance.clone()
        appearance[person] = self.appearance[other]
        return self._replace(appearance=appearance)


def take_apart(network: DetectEncodeDecode, frames: torch.Tensor, backgrounds: torch.Tensor) -> ScenePeople:
    """The people that `network` sees in normalized frames (B,3,H,W) before normalized `backgrounds`."""
    boxes, depths = network.detect(frames, backgrounds)
    crops = crop_frames(frames, boxes, network.size)
    return ScenePeople(*network.encode(crops * bump(network.bump, crops)), boxes, depths)


def put_together(
    network: DetectEncodeDecode, people: ScenePeople, backgrounds: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Compose frames of `people` before normalized `backgrounds` (B,3,H,W).

    Returns the network's outputs `img` (B,3,H,W), normalized, `radiance_normalized` (K,B,1,H,W), `blend_mask` and, with
    depths, `depth_map`. Without any people the frames are the backgrounds.
    """
    if not len(people.boxes):
        return {"img": backgrounds, "radiance_normalized": backgrounds.new_zeros(0, *backgrounds[:, :1].shape)}
    outputs = {"spatial_transformer": people.boxes}
    if people.depths is not None:
        outputs["ST_depth"] = people.depths
    network.compose(*network.decode(people.appearance, people.points), backgrounds, outputs)
    return outputs
