"""The network: encode -> rotate -> decode -> unshuffle, and the pose from the points."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from models.parts.decoders import ImageDecoder, PoseDecoder
from models.parts.encoders import build_encoder
from models.parts.latent import ImplicitRotation, camera_to_camera, evaluation_permutations, invert
from models.parts.options import PART_KEYS, POSE_DECODER_KEYS, coarsest_grid, decoder_widths, option
from models.parts.pose_statistics import store_pose_statistics
from models.parts.trust import TrustHead
from utils.errors import UserError
from utils.geometry import rotate_points
from utils.keys import KEYS
from utils.skeleton import NUM_JOINTS

OUTPUT_TYPES = KEYS["output_types"].choices
# Keys that decide which tensors a network has: a network can only load weights of a config that agrees in these.
ARCHITECTURE_KEYS = (
    "method",
    *PART_KEYS,
    "implicit_rotation",
    "upsampling_bilinear",
    "skip_background",
    "add_background",
    "color_by_appearance",
    *POSE_DECODER_KEYS,
)
_NEED_POINTS = {"3D", "img_crop", "mask_crop", "latent_3d"}
_NEED_VIEWS = {"img_crop", "mask_crop", "cam2cam", "shuffled_pose", "shuffled_appearance"}


class EncodeDecode(nn.Module):
    """Encoder, latent rotation, image decoder and pose decoder (Rhodin et al., ECCV 2018).

    Apart from dropout and batch norm `forward` is a pure function of its inputs: random permutations are drawn where
    batches are made, and passed in as index tensors. `output_types` may be changed at any time. Without `load` the file
    of `encoder_weights` is not read, because weights of the whole network are about to be loaded.
    """

    def __init__(self, config: Mapping[str, Any], load: bool = True):
        super().__init__()
        self.output_types = tuple(option(config, "output_types"))
        self.sub_batch = option(config, "useCamBatches")
        self.size = option(config, "inputDimension")
        self.shuffle_3d = option(config, "shuffle_3d")
        # Whether its views are of crops centered on the person (training/stages/centering.py).
        self.center_targets = option(config, "center_targets")
        latent_3d, dropout = option(config, "latent_3d"), option(config, "latent_dropout")
        self.encoder = build_encoder(config, load)
        self.implicit_rotation = ImplicitRotation(latent_3d, dropout) if option(config, "implicit_rotation") else None
        self.decoder = ImageDecoder(
            decoder_widths(config),
            coarsest_grid(config),
            option(config, "latent_fg"),
            latent_3d,
            dropout,
            upsampling_bilinear=option(config, "upsampling_bilinear"),
            skip_background=option(config, "skip_background"),
            add_background=option(config, "add_background"),
            color_by_appearance=option(config, "color_by_appearance"),
        )
        if self.center_targets and not self.decoder.uses_background:
            raise UserError("center_targets needs backgrounds; expected skip_background or add_background")
        self.to_pose = PoseDecoder(
            latent_3d,
            option(config, "n_hidden_to3Dpose"),
            option(config, "width_to3Dpose"),
            option(config, "dropout_to3Dpose"),
        )
        # Mean and deviation of the training poses, meters. They are stored with the weights because the outputs of a
        # trained pose decoder mean nothing without them.
        self.register_buffer("pose_mean", torch.zeros(3 * NUM_JOINTS))
        self.register_buffer("pose_std", torch.ones(3 * NUM_JOINTS))
        # How far to trust a pose, where that was calibrated (training/trained/calibrating.py). No part of training.
        self.trust: TrustHead | None = None

    def forward(self, input_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the outputs named in `output_types`, and nothing that they do not need.

        `input_dict`: `img_crop`, `bg_crop` (B,3,R,R) normalized; `extrinsic_rot`, `extrinsic_rot_inv` (B,3,3),
        world -> camera and back. Optional: `input_crop` (B,3,R,R), which is encoded in place of `img_crop`, and whose
        camera `extrinsic_rot_inv` is then of; `encoded`, what `encode` gave of that crop, or None;
        `shuffled_pose`, `shuffled_appearance` (B,) indices, in place of the evaluation permutations;
        `external_rotation_global` of the world and `external_rotation_cam` of the camera, (3,3) or (B,3,3). With an
        external rotation every crop is reconstructed for its own camera, so rotated.

        Returns a subset of: `3D` (B,51) normalized pose in the camera frame of crop i; `img_crop` (B,3,R,R),
        output j to compare with input crop j; `mask_crop` (B,1,R,R), the share of the background that it hides;
        `latent_3d` (B,N,3) unrotated; `cam2cam` (B,3,3);
        `shuffled_pose`, `shuffled_appearance` (B,), the permutations that were used. UserError for a missing input.
        """
        wanted, outputs = set(self.output_types), {}
        encoded, crop = input_dict.get("encoded"), "input_crop" if "input_crop" in input_dict else "img_crop"
        self._check_inputs(input_dict, wanted, () if encoded is not None else (crop,))
        if wanted & _NEED_POINTS:
            if encoded is None:
                encoded = self.encode(input_dict[crop])
            appearance, points = encoded
            outputs["latent_3d"] = points
        if "3D" in wanted:
            outputs["3D"] = self.pose(points)
        if wanted & _NEED_VIEWS:
            target, donor = self.permutations(input_dict)
            cam2cam = self.cam2cam(input_dict, target)
            outputs.update(cam2cam=cam2cam, shuffled_pose=target, shuffled_appearance=donor)
        if wanted & {"img_crop", "mask_crop"}:
            # Slot i is decoded from the points of crop i as camera target[i] sees them, and with its background.
            # The images are put in order at the end, so that output j shows what input crop j shows.
            rotated = self.rotate(points, cam2cam)
            background = input_dict["bg_crop"][target] if self.decoder.uses_background else None
            image = self.decode(appearance[donor], rotated, background, with_mask="mask_crop" in wanted)
            image = self.unshuffle(image, target)
            outputs.update(img_crop=image[:, :3], mask_crop=image[:, 3:])
        return {name: outputs[name] for name in self.output_types}

    def _check_inputs(self, input_dict: Mapping[str, torch.Tensor], wanted: set[str], encoded: tuple[str, ...]) -> None:
        """UserError where an input of the outputs `wanted` is missing, which are computed from crops `encoded`."""
        needed = [*encoded] if wanted & _NEED_POINTS else []
        if wanted & _NEED_VIEWS:
            needed += ["extrinsic_rot", "extrinsic_rot_inv"]
        if wanted & {"img_crop", "mask_crop"} and self.decoder.uses_background:
            needed.append("bg_crop")
        missing = [name for name in needed if name not in input_dict]
        if missing:
            raise UserError(f"input {missing[0]!r} is missing, expected it for output_types = {self.output_types}")

    def encode(self, img_crop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalized crops (B,3,R,R) -> appearance (B,A), points (B,N,3) in the camera frame."""
        if img_crop.shape[1:] != (3, self.size, self.size):
            raise UserError(f"crops have shape {tuple(img_crop.shape[1:])}, expected {(3, self.size, self.size)}")
        if not img_crop.is_floating_point():
            raise UserError(f"crops are {img_crop.dtype}; expected floats, as utils.images.normalize makes them")
        appearance, points = self.encoder(img_crop)
        # Under autocast they come in bfloat16, which is too coarse for coordinates that are rotated.
        return appearance, points.float()

    def rotate(self, points: torch.Tensor, cam2cam: torch.Tensor) -> torch.Tensor:
        """Points (B,N,3), rotations (B,3,3) -> points (B,N,3) as the target cameras see them."""
        if self.implicit_rotation is not None:
            return self.implicit_rotation(points, cam2cam)
        return rotate_points(points, cam2cam)

    def decode(
        self,
        appearance: torch.Tensor,
        points: torch.Tensor,
        background: torch.Tensor | None = None,
        with_mask: bool = False,
    ) -> torch.Tensor:
        """appearance (B,A), points (B,N,3), background (B,3,R,R) or None -> normalized image (B,3,R,R), float32.

        `with_mask`: as `ImageDecoder.forward` has it.
        """
        return self.decoder(appearance, points, background, with_mask).float()

    def unshuffle(self, images: torch.Tensor, shuffled_pose: torch.Tensor) -> torch.Tensor:
        """Reorder decoded images (B,3,R,R) to the order of the input crops: slot i holds view `shuffled_pose[i]`."""
        return images[invert(shuffled_pose)]

    def pose(self, points: torch.Tensor) -> torch.Tensor:
        """Unrotated points (B,N,3) -> normalized pose (B,51) relative to the crop's own camera, float32."""
        return self.to_pose(points).float()

    def set_pose_statistics(self, mean: torch.Tensor | np.ndarray, std: torch.Tensor | np.ndarray) -> None:
        """Store the mean and standard deviation (51,), meters, of the poses that the pose decoder learns.

        Raises UserError as `store_pose_statistics` does.
        """
        store_pose_statistics(self, mean, std)

    def denormalize_pose(self, normalized: torch.Tensor) -> torch.Tensor:
        """Output of the pose decoder (B,51) -> pose (B,51) in meters, root-centered, camera frame."""
        return normalized * self.pose_std + self.pose_mean

    def permutations(self, input_dict: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The permutations (B,), (B,) that `forward` uses: those given, otherwise those of evaluation."""
        # With an external rotation every crop is shown from its own camera, so that only the rotation changes.
        rotations = input_dict["extrinsic_rot"]
        shuffle = self.shuffle_3d and "shuffled_pose" not in input_dict and not _has_external_rotation(input_dict)
        target, donor = evaluation_permutations(len(rotations), self.sub_batch, shuffle, rotations.device)
        return input_dict.get("shuffled_pose", target), input_dict.get("shuffled_appearance", donor)

    def cam2cam(self, input_dict: Mapping[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Rotations (B,3,3) from the camera of crop i to that of crop `target[i]`; external rotations are included."""
        return camera_to_camera(
            input_dict["extrinsic_rot"],
            input_dict["extrinsic_rot_inv"],
            target,
            input_dict.get("external_rotation_global"),
            input_dict.get("external_rotation_cam"),
        )

    def stage1_parameters(self) -> list[nn.Parameter]:
        """Parameters trained in stage 1: all but the pose decoder and what `freeze_encoder_stem` froze."""
        named = self.named_parameters()
        return [parameter for name, parameter in named if parameter.requires_grad and not name.startswith("to_pose.")]

    def stage2_parameters(self) -> list[nn.Parameter]:
        """Parameters trained in stage 2 while the encoder is frozen: those of the pose decoder."""
        return list(self.to_pose.parameters())


def _has_external_rotation(input_dict: Mapping[str, torch.Tensor]) -> bool:
    return "external_rotation_global" in input_dict or "external_rotation_cam" in input_dict
