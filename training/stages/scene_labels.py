"""Stage 2 of several people: labeled people, and what a frozen network sees of them."""

from collections.abc import Mapping

import numpy as np
import torch

from datasets import FrameDataset
from models.scene.perspective import crop_rotations
from training.loop.hardware import Hardware
from training.loop.loaders import FRAME_KEYS, Batch, normalize_batch
from training.stages.assignment import assign_boxes, of_people, person_centers
from training.stages.labels import CachedLatents
from utils.errors import UserError
from utils.geometry import rotate_points

_PLACES = ("box", "position", "intrinsics")  # labels that tell where people are
_SEEN = ("spatial_transformer", "latent_3d")  # outputs of a network that poses are learned from


def label_keys(config: dict, dataset: FrameDataset) -> tuple[str, ...]:
    """What of a set stage 2 reads. `dataset` says what it has."""
    background = FRAME_KEYS[1:] if config["detector_background"] else ()
    turned = ("intrinsics",) if config["perspectiveCorrection"] else ()
    keys = (*FRAME_KEYS[:1], *background, *turned, "extrinsic_rot", "3D", *place_keys(dataset))
    return tuple(dict.fromkeys(keys))


def check_people(labels: Mapping[str, np.ndarray], train: np.ndarray, held_out: np.ndarray) -> None:
    """UserError where too few people have a pose, and a place where `labels` tell places, in the labeled frames.

    Two are needed in the rows `train`, and one in `held_out`.
    """
    for rows, least, purpose in ((train, 2, "train on"), (held_out, 1, "choose the best network by")):
        known = np.isfinite(labels["3D"][rows]).all(-1)
        # Poses of whom a camera does not see may be known, too, but no box shows them.
        told = {key: torch.as_tensor(labels[key][rows]) for key in _PLACES if key in labels}
        centers = person_centers(told)
        if centers is not None:
            known &= np.isfinite(centers.numpy()).all(-1)
        if known.sum() < least:
            raise UserError(
                f"{known.sum()} people have a pose {'' if centers is None else 'and a place '}in the {len(rows)} "
                f"labeled frames to {purpose}; expected {least} or more: change label_fraction, label_subjects, "
                "validation_fraction or seed"
            )


def place_keys(dataset: FrameDataset) -> tuple[str, ...]:
    """The labels that tell where people are."""
    if "box" in dataset.labels:
        return ("box",)
    return ("position", "intrinsics") if "position" in dataset.labels else ()


def see_people(network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of normalized frames -> boxes (K,B,2,3) and points (K,B,N,3), in the camera frames of the boxes."""
    network.output_types = _SEEN
    outputs = network(batch)
    boxes = outputs["spatial_transformer"]
    return boxes, outputs["latent_3d"].unflatten(0, boxes.shape[:2])


def known_people(batch: Batch, boxes: torch.Tensor, config: dict, inside: bool = True) -> Batch:
    """The people of a batch of frames as boxes (K,B,2,3) show them: `chosen` (B,P), the box of each, or -1.

    `3D` (B,P,51), meters, is NaN without a box or without a label; `vertical` (B,P,3) is the world's z axis. Both are
    in the camera frame of the box where `perspectiveCorrection` turns it, else in that of the frame. `inside`: as
    `assign_boxes` has it.
    """
    size, people = tuple(batch["img"].shape[-2:]), batch["3D"].shape[1]
    chosen = assign_boxes(boxes, person_centers(batch), size, people, inside)
    pose = batch["3D"].masked_fill((chosen < 0)[..., None], torch.nan)
    # The third column of a rotation from world to camera is the world's z axis as the camera sees it.
    vertical = batch["extrinsic_rot"][:, None, :, 2].expand(-1, people, -1)
    if config["perspectiveCorrection"]:
        turns = of_people(crop_rotations(boxes, batch["intrinsics"], size), chosen).flatten(0, 1)
        joints = rotate_points(pose.unflatten(-1, (-1, 3)).flatten(0, 1), turns)
        pose = joints.flatten(1).unflatten(0, chosen.shape)
        vertical = rotate_points(vertical.flatten(0, 1)[:, None], turns)[:, 0].unflatten(0, chosen.shape)
    return {"chosen": chosen, "3D": pose, "vertical": vertical}


class SceneLatents(CachedLatents):
    """Labeled people as a frozen network sees them, detected and encoded once and held on the device.

    `points` (M,N,3), `3D` (M,51) in meters and `vertical` (M,3) of all people of the frames `rows` who have a label and
    a box, as `known_people` gives them. Of several processes each encodes its share of the frames.
    """

    def __init__(
        self, network: torch.nn.Module, dataset: FrameDataset, rows: np.ndarray, hardware: Hardware, config: dict
    ):
        super().__init__(network, dataset, rows, hardware, config)
        found = torch.isfinite(self.tensors["3D"]).all(-1)
        #: Share of the people with a label who have a box.
        self.found = float(found.sum() / self.tensors.pop("labeled").sum().clamp(min=1))
        self.frames = torch.nonzero(found)[:, 0].cpu().numpy()
        self.tensors = {name: values[found] for name, values in self.tensors.items()}

    def of_frames(self, positions: np.ndarray, least: int) -> np.ndarray:
        """The people of the frames at `positions` of `rows`, as positions among all people.

        UserError for fewer than `least`.
        """
        people = np.flatnonzero(np.isin(self.frames, positions))
        if len(people) < least:
            raise UserError(
                f"{len(positions)} labeled frames have {len(people)} people in a box of the network, expected {least} "
                "or more: its detector has not learned where people are"
            )
        return people

    @torch.no_grad()
    def _encode(self, batch: Batch) -> Batch:
        batch = normalize_batch(self.hardware.move(batch))
        with self.hardware.autocast():
            boxes, points = see_people(self.network, batch)
        people = known_people(batch, boxes, self.config)
        labeled = torch.isfinite(batch["3D"]).all(-1)
        return {"points": of_people(points, people.pop("chosen")), "labeled": labeled, **people}
