"""The network: detect -> crop -> encode -> rotate -> decode -> match -> paste -> compose, and poses from the points.

Tensors of boxes are (K,B,...), those of crops (K*B,...) box by box, for K boxes in each of B frames of H x W pixels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from models.parts.decoders import PoseDecoder
from models.parts.encoders import build_encoder
from models.parts.latent import camera_to_camera, evaluation_permutations, invert
from models.parts.options import option
from models.parts.pose_statistics import store_pose_statistics
from models.scene.boxes import box_matrices, crop_frames, left_to_right, paste_crops
from models.scene.build import build_decoder, build_detector
from models.scene.bumps import bump
from models.scene.compositing import (
    EPSILON,
    Layers,
    color_code,
    compose,
    depth_map,
    layers_by_depth,
    layers_side_by_side,
    opaque_layers,
    weaken_dense,
)
from models.scene.detector import reduce_frames
from models.scene.inputs import checked_frames
from models.scene.matching import Matcher, mix, mix_pairs
from models.scene.mirror import same_boxes, unmirrored_boxes
from models.scene.perspective import crop_rotations, pair_rotations
from utils.errors import UserError
from utils.geometry import at_least_float32, mirror_pose, rotate_points
from utils.skeleton import NUM_JOINTS

# Outputs by the last step that they need; each step needs those before it.
_OF_CAMERAS = {"cam2cam", "shuffled_pose", "shuffled_pose_inv", "shuffled_appearance"}
_OF_BOXES = {"spatial_transformer", "spatial_transformer_raw", "ST_depth", "spatial_transformer_img_crop", "bg_crop"}
_OF_CROPS = {"img_crop", "blend_mask_crop"}
_OF_FRAMES = {"img", "masks", "radiance_normalized", "blend_mask", "depth_map"}
_OF_INPUTS = {*_OF_CAMERAS, "img_downscaled"}
# What is seen in frames, from which everything follows but `_OF_SIGHT`.
SEEN = ("spatial_transformer", "ST_depth", "latent_fg", "latent_3d")
_OF_SIGHT = {"3D", *_OF_BOXES} - {*SEEN}
_OF_DECODER = {*_OF_CROPS, *_OF_FRAMES}
_NEED_POINTS_TURNED = {*_OF_DECODER, "latent_3d_rotated", "3D"}
_NEED_CAMERAS = {*_OF_CAMERAS, *_OF_DECODER, "similarity_matrix", "latent_3d_rotated"}


class DetectEncodeDecode(nn.Module):
    """Neural scene decomposition (Rhodin et al., CVPR 2019): several people in full frames.

    `training_mode` "NVS" has the image decoder, which renders frames of other cameras, "pose" the pose decoder, and
    "both" both of them.
    Apart from dropout, batch norm and `offset_crop`, `forward` is a pure function of its inputs and of the mode:
    matches of boxes are soft in training. `output_types` may be changed at any time, and so may `flip_test`: in
    evaluation mode, boxes, depths and poses are then means of those of the frame and of its mirror image.
    """

    def __init__(self, config: Mapping[str, Any], load: bool = True):
        super().__init__()
        self.output_types = tuple(option(config, "output_types"))
        self.boxes = option(config, "spatial_transformer_num")
        self.sub_batch = max(1, option(config, "useCamBatches"))  # published: 0 is frames without groups
        self.size = option(config, "inputDimension")
        self.shuffle_3d = option(config, "shuffle_3d")
        self.depths = option(config, "predict_transformer_depth")
        self.opaque = option(config, "opaque_masks")
        self.masks, self.masks_of_layers = option(config, "masked_blending"), option(config, "masks_of_layers")
        self.scale_masks = option(config, "scale_mask_max_to_1") and not option(config, "empty_masks")
        self.weaken_dense = option(config, "normalize_mask_density")
        self.match = Matcher(config)
        self.match_appearance = option(config, "match_appearance") and option(config, "shuffle_fg")
        self.perspective = option(config, "perspectiveCorrection")
        self.whole_frame = option(config, "disable_detector")
        self.detector = build_detector(config) if self.depths or not self.whole_frame else None
        self.smooth = option(config, "smooth_detector_input")
        self.flip_test = False
        self.encoder = build_encoder(config, load)
        self.bump = option(config, "spatial_transformer")
        self.decoder = self.pose_decoder = None
        mode = option(config, "training_mode")
        if mode in ("NVS", "both"):
            self.decoder = build_decoder(config)
        if mode in ("pose", "both"):
            self.pose_decoder = PoseDecoder(
                option(config, "latent_3d"),
                option(config, "n_hidden_to3Dpose"),
                option(config, "width_to3Dpose"),
                option(config, "dropout_to3Dpose"),
            )
            # Mean and deviation of the training poses, meters: without them, outputs of the pose decoder mean nothing.
            self.register_buffer("pose_mean", torch.zeros(3 * NUM_JOINTS))
            self.register_buffer("pose_std", torch.ones(3 * NUM_JOINTS))
        self._wanted()

    def forward(self, input_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the outputs named in `output_types`, and nothing that they do not need.

        `input_dict`: `img`, `bg` (B,3,H,W) normalized frames and backgrounds; `R_cam_2_world` (B,3,3); with
        `perspectiveCorrection` also `intrinsics` (B,3,3), pixels whose centers are at integers. Optional:
        `spatial_transformer` (B*K,2,3), boxes in place of the detector's; `shuffled_pose`, `shuffled_appearance` (B,)
        indices in place of the evaluation permutations; in evaluation mode `external_rotation_global` of the world and
        `external_rotation_cam` of the camera, (3,3) or (B,3,3), with which each frame is rendered for its own camera,
        so rotated, and then `shuffled_pose_weight`, how far the points are moved towards their rotated places; `seen`,
        the outputs `SEEN` of an earlier call for the same frames, which are then neither detected nor encoded again.

        Returns a subset of the keys below. Frame j shows what input frame j shows, from the source view of the same
        instant. Slot i is the source frame i, rendered for view `shuffled_pose[i]`.
        With `perspectiveCorrection` what is per slot or before matching is per frame and matched, except `cam2cam`.
        - `img` (B,3,H,W), `depth_map` (B,1,H,W), `radiance_normalized` (K,B,1,H,W), `blend_mask` (B,3,H,W) to look at;
        - `masks` (K,B,1,H,W): of each person, as if the others were not there;
        - `spatial_transformer` (K,B,2,3), `ST_depth` (K,B), `spatial_transformer_raw` (B*K,2,3) of the detector;
        - `similarity_matrix` (K,K,B): weights of the source boxes, by target box, source box and target view;
        - `latent_fg` (K,B,A), `latent_3d` (K*B,N,3) and, per slot, `latent_3d_rotated` (K,B,N,3), `cam2cam` (K*B,3,3);
        - `spatial_transformer_img_crop`, `bg_crop` and, before matching, `img_crop`, `blend_mask_crop`: (B*K,...,R,R);
        - `3D` (B,K,17,3): normalized poses in the camera frame, from left to right in the frame;
        - `img_downscaled` (B,3,128,128); `shuffled_pose`, `shuffled_pose_inv`, `shuffled_appearance` (B,).
        """
        wanted = self._wanted()
        frames = self._frames(input_dict, wanted)
        outputs: dict[str, torch.Tensor] = {}
        if "img_downscaled" in wanted:
            outputs["img_downscaled"] = reduce_frames(frames, smooth=self.smooth)
        if wanted & _NEED_CAMERAS:
            self._permute(input_dict, outputs)
        if wanted <= _OF_INPUTS:
            return {name: outputs[name] for name in self.output_types}
        mirrored = None
        if "seen" in input_dict:
            outputs |= {name: input_dict["seen"][name] for name in SEEN if name in input_dict["seen"]}
        else:
            crops = self._see(frames, input_dict, wanted, outputs)
            if "3D" in wanted and self._flips:
                mirrored = self.encode(crops.flip(-1))[1]
        if not wanted - _OF_INPUTS - _OF_BOXES:
            return {name: outputs[name] for name in self.output_types}
        boxes, appearance = outputs["spatial_transformer"], outputs["latent_fg"]
        points = outputs["latent_3d"].unflatten(0, (self.boxes, -1))
        turns = None
        if self.perspective and wanted & _NEED_POINTS_TURNED:
            turns = crop_rotations(boxes, input_dict["intrinsics"], frames.shape[-2:])
        if "3D" in wanted:
            outputs["3D"] = self.pose(points, boxes, turns, mirrored)
        if wanted & {*_OF_DECODER, "similarity_matrix", "latent_3d_rotated"}:
            outputs["similarity_matrix"] = self.match(appearance, outputs["shuffled_pose_inv"])
        if wanted & {*_OF_DECODER, "latent_3d_rotated"}:
            donor = outputs["shuffled_appearance"]
            donated = appearance[:, donor]
            if self.match_appearance:
                donated = mix(donated, self.match(appearance, donor))
            people = self._rotate(donated, points, turns, input_dict, outputs)
        if wanted & _OF_DECODER:
            images, masks = self._decode(*people, turns is not None, outputs)
        if wanted & _OF_FRAMES:
            self.compose(images, masks, input_dict["bg"], outputs)
        return {name: outputs[name] for name in self.output_types}

    def detect(
        self, frames: torch.Tensor, backgrounds: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Frames (B,3,H,W), with `detector_background` their backgrounds -> boxes (K,B,2,3) and depths (K,B).

        Without a detector: whole frames, and None.
        """
        boxes = depths = None
        if self.detector is not None:
            boxes, depths = self.detector(frames, backgrounds)
            if self._flips:
                flipped, their_depths = self.detector(*(x if x is None else x.flip(-1) for x in (frames, backgrounds)))
                flipped = unmirrored_boxes(flipped)
                same = same_boxes(boxes, flipped)
                boxes, depths = (boxes + mix(flipped, same)) / 2, (depths + mix(their_depths, same)) / 2
        if self.whole_frame:
            ones = torch.ones(self.boxes, len(frames), 2, device=frames.device, dtype=frames.dtype)
            boxes = box_matrices(ones, 0 * ones)
        return boxes, depths

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops (K*B,3,R,R) -> appearance (K,B,A) and points (K,B,N,3) in the camera frame."""
        appearance, points = self.encoder(crops)
        # Under autocast they come in bfloat16, which is too coarse for coordinates that are rotated.
        return appearance.unflatten(0, (self.boxes, -1)), at_least_float32(points).unflatten(0, (self.boxes, -1))

    def decode(self, appearance: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Appearance (...,A) and points (...,N,3) -> normalized images (...,3,R,R) and masks (...,1,R,R) in 0..1.

        With `masks_of_layers` images are what people add to a frame: their colors times their masks.
        """
        people = appearance.shape[:-1]
        decoded = at_least_float32(self.decoder(appearance.flatten(0, -2), points.flatten(0, -3)))
        images, fading = decoded[:, :3].unflatten(0, people), bump(self.bump, decoded)
        if not self.masks:
            return images, fading.expand(*people, 1, -1, -1)
        shown = decoded[:, 3:].unflatten(0, people)
        if self.masks_of_layers:
            return images * fading, _Between0And1.apply(shown) * fading
        masks = (EPSILON + (1 - EPSILON) * torch.sigmoid(shown)) * fading
        return images, _scale_to_1(masks) if self.scale_masks else masks

    def pose(
        self,
        points: torch.Tensor,
        boxes: torch.Tensor,
        turns: torch.Tensor | None = None,
        mirrored: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Unrotated points (K,B,N,3) and boxes (K,B,2,3) -> normalized poses (B,K,17,3), from left to right.

        They are in the frame's camera; `turns` (K,B,3,3): rotations from it to the cameras of the boxes. With the
        points `mirrored` (K,B,N,3) of flipped crops they are the means of both.
        """
        poses = at_least_float32(self.pose_decoder(points.flatten(0, 1)))
        if mirrored is not None:
            flipped = at_least_float32(self.pose_decoder(mirrored.flatten(0, 1)))
            joints = mirror_pose(self.denormalize_pose(flipped.unflatten(1, (NUM_JOINTS, 3))).flatten(1))
            poses = (poses + self._normalize_pose(joints)) / 2
        poses = poses.unflatten(0, (self.boxes, -1))
        if turns is not None:
            poses = self._turn_back(poses, turns)
        ordered = poses.gather(0, left_to_right(boxes)[..., None].expand_as(poses))
        return ordered.transpose(0, 1).unflatten(2, (NUM_JOINTS, 3))

    @property
    def to_pose(self) -> PoseDecoder | None:
        """The pose decoder, under the name that it has in the network of one person."""
        return self.pose_decoder

    def set_pose_statistics(self, mean: torch.Tensor | np.ndarray, std: torch.Tensor | np.ndarray) -> None:
        """Store the mean and standard deviation (51,), meters, of the poses that the pose decoder learns.

        Raises UserError as `store_pose_statistics` does, and for a network without a pose decoder.
        """
        if self.pose_decoder is None:
            raise UserError("this network has no pose decoder; expected one, for the statistics of its poses")
        store_pose_statistics(self, mean, std)

    def denormalize_pose(self, normalized: torch.Tensor) -> torch.Tensor:
        """Normalized poses (...,17,3) -> poses (...,17,3) in meters, root-centered, camera frame."""
        return normalized * self.pose_std.view(NUM_JOINTS, 3) + self.pose_mean.view(NUM_JOINTS, 3)

    def forget_poses(self) -> None:
        """Become the network of `training_mode` "NVS", without the pose decoder of "both"."""
        self.pose_decoder = None
        del self.pose_mean, self.pose_std

    def stage1_parameters(self) -> list[nn.Parameter]:
        """Parameters trained in stage 1: all of a network of novel views, but what `freeze_encoder_stem` froze."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def stage2_parameters(self) -> list[nn.Parameter]:
        """Parameters trained in stage 2: those of the pose decoder."""
        return list(self.pose_decoder.parameters())

    @property
    def _flips(self) -> bool:
        return self.flip_test and not self.training

    def _wanted(self) -> set[str]:
        """The outputs to compute; UserError for one that this network has no part for."""
        missing = {"3D"} if self.pose_decoder is None else {*_OF_DECODER} if self.decoder is None else set()
        why = "NVS" if self.pose_decoder is None else "pose"
        wanted = set(self.output_types)
        for name in self.output_types:
            if name in missing:
                raise UserError(f"config: output_types has {name!r}, which training_mode = {why!r} does not compute")
            if name in ("depth_map", "ST_depth") and not self.depths:
                raise UserError(f"config: output_types has {name!r}, expected predict_transformer_depth with it")
            if name == "spatial_transformer_raw" and self.detector is None:
                raise UserError(f"config: output_types has {name!r}, but disable_detector = True leaves no detector")
        return wanted

    def _frames(self, input_dict: Mapping[str, torch.Tensor], wanted: set[str]) -> torch.Tensor:
        """The input frames (B,3,H,W), checked with all other inputs that `wanted` outputs need."""
        asked = f"output_types = {self.output_types}"
        needed = {"img": asked}
        if "seen" in input_dict and (of_sight := sorted(wanted & _OF_SIGHT)):
            raise UserError(f"output_types has {of_sight[0]!r}, which 'seen' does not tell; leave out either")
        if wanted & _NEED_CAMERAS:
            needed["R_cam_2_world"] = asked
        if self.detector is not None and self.detector.background and wanted - _OF_INPUTS:
            needed["bg"] = "detector_background"
        if wanted & {*_OF_FRAMES, "bg_crop"}:
            needed["bg"] = asked
        if self.perspective and wanted & _NEED_POINTS_TURNED:
            needed["intrinsics"] = "perspectiveCorrection (pixels of the frames)"
        return checked_frames(input_dict, needed, self.boxes)

    def _permute(self, input_dict: Mapping[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
        """Which slot renders which view, and by which rotation."""
        to_world = input_dict["R_cam_2_world"]
        external = [input_dict.get(f"external_rotation_{of}") for of in ("global", "cam")]
        viewed = not self.training and any(rotation is not None for rotation in external)
        shuffle = self.shuffle_3d and not viewed and "shuffled_pose" not in input_dict
        target, donor = evaluation_permutations(len(to_world), self.sub_batch, shuffle, to_world.device)
        target = input_dict.get("shuffled_pose", target)
        donor = input_dict.get("shuffled_appearance", donor)
        cam2cam = camera_to_camera(to_world.mT, to_world, target, *(external if viewed else ()))
        outputs["cam2cam"] = cam2cam.repeat(self.boxes, 1, 1)
        outputs |= {"shuffled_pose": target, "shuffled_pose_inv": invert(target), "shuffled_appearance": donor}

    def _see(
        self,
        frames: torch.Tensor,
        input_dict: Mapping[str, torch.Tensor],
        wanted: set[str],
        outputs: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Detect people, crop and encode them, as far as `wanted` outputs need it; returns the crops (K*B,3,R,R)."""
        self._detect(frames, input_dict, outputs)
        boxes = outputs["spatial_transformer"]
        crops = crop_frames(frames, boxes, self.size)
        crops = crops * bump(self.bump, crops)
        outputs["spatial_transformer_img_crop"] = self._frame_major(crops)
        if "bg_crop" in wanted:
            outputs["bg_crop"] = self._frame_major(crop_frames(input_dict["bg"], boxes, self.size))
        if wanted - _OF_INPUTS - _OF_BOXES:
            appearance, points = self.encode(crops)
            outputs |= {"latent_fg": appearance, "latent_3d": points.flatten(0, 1)}
        return crops

    def _detect(
        self, frames: torch.Tensor, input_dict: Mapping[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> None:
        boxes, depths = self.detect(frames, input_dict.get("bg"))
        if boxes is not None:
            outputs["spatial_transformer_raw"] = boxes.transpose(0, 1).flatten(0, 1)
        if "spatial_transformer" in input_dict:
            boxes = input_dict["spatial_transformer"].unflatten(0, (-1, self.boxes)).transpose(0, 1)
        outputs |= (
            {"spatial_transformer": boxes} if depths is None else {"spatial_transformer": boxes, "ST_depth": depths}
        )

    def _turn_back(self, poses: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Normalized poses (K,B,51) in the cameras of boxes -> the same in the cameras of their frames."""
        joints = self.denormalize_pose(poses.unflatten(2, (NUM_JOINTS, 3)))
        return self._normalize_pose(rotate_points(joints.flatten(0, 1), turns.mT.flatten(0, 1)).view_as(poses))

    def _normalize_pose(self, poses: torch.Tensor) -> torch.Tensor:
        """Poses (...,51), meters -> normalized ones."""
        # The root, which is at 0, may have no deviation.
        return (poses - self.pose_mean) / torch.where(self.pose_std > 0, self.pose_std, 1.0)

    def _rotate(
        self,
        appearance: torch.Tensor,
        points: torch.Tensor,
        turns: torch.Tensor | None,
        input_dict: Mapping[str, torch.Tensor],
        outputs: dict[str, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appearance (K,B,A) and points (K,B,N,3) of slots -> what is decoded, as the target cameras see it.

        With `turns` (K,B,3,3), from the cameras of frames to those of boxes, rotations depend on both boxes: the result
        is of matched people (K,B,...) by target box and view, or, where matches are soft, of all pairs (K,K,B,...).
        """
        boxes, rotations = points.shape[:2], outputs["cam2cam"]
        if turns is not None:
            # A view has as many rotations as pairs of its boxes with those of its source.
            source = outputs["shuffled_pose_inv"]
            appearance, points = (x[:, source].expand(self.boxes, *x.shape) for x in (appearance, points))
            boxes, rotations = (
                points.shape[:3],
                pair_rotations(rotations[source], turns, turns[:, source]).flatten(0, 2),
            )
        rotated = rotate_points(points.flatten(0, -3), rotations).unflatten(0, boxes)
        if "shuffled_pose_weight" in input_dict and not self.training:
            rotated = torch.lerp(points, rotated, input_dict["shuffled_pose_weight"].to(points))
        outputs["latent_3d_rotated"] = rotated
        if turns is not None:
            weights = outputs["similarity_matrix"]
            outputs["latent_3d_rotated"] = mix_pairs(rotated, weights)
            if not self.match.soft:
                return mix_pairs(appearance, weights), outputs["latent_3d_rotated"]
        return appearance, rotated

    def _decode(
        self, appearance: torch.Tensor, points: torch.Tensor, matched: bool, outputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `_rotate` returned -> images and masks (K,B,C,R,R) of views, after matching."""
        weights = outputs["similarity_matrix"]
        crops = self.decode(appearance, points)
        if not matched:
            # Decoded by slot, and put in the order of the views that are rendered.
            crops = tuple(part[:, outputs["shuffled_pose_inv"]] for part in crops)
        elif self.match.soft:
            crops = tuple(mix_pairs(part, weights) for part in crops)
        for name, part in zip(("img_crop", "blend_mask_crop"), crops, strict=True):
            outputs[name] = self._frame_major(part.flatten(0, 1))
        if matched:
            return crops
        images, masks = crops
        return mix(images, weights), mix(masks, weights) if self.masks else masks

    def compose(
        self, images: torch.Tensor, masks: torch.Tensor, background: torch.Tensor, outputs: dict[str, torch.Tensor]
    ) -> None:
        """Put images and masks (K,B,C,R,R) of people into the boxes of their views, and compose the frames."""
        boxes, size = outputs["spatial_transformer"], background.shape[-2:]
        with torch.autocast(background.device.type, enabled=False):
            images = paste_crops(images, boxes, size, padding="zeros" if self.masks_of_layers else "border")
            pasted = paste_crops(masks, boxes, size, padding="zeros")
            pasted = _scale_to_1(pasted) if self.scale_masks else pasted
            layers = self._layers(pasted, outputs)
            radiance, passing = layers.radiance, layers.passing if self.masks_of_layers else None
            if self.weaken_dense:
                radiance = weaken_dense(radiance, masks)
            outputs |= {"img": compose(images, radiance, background, passing), "masks": pasted}
            outputs |= {"radiance_normalized": radiance, "blend_mask": color_code(radiance)}
            if self.depths:
                outputs["depth_map"] = depth_map(layers._replace(radiance=radiance), outputs["ST_depth"])

    def _layers(self, masks: torch.Tensor, outputs: dict[str, torch.Tensor]) -> Layers:
        """Masks (K,B,1,H,W) in frames -> who is seen where."""
        if not self.depths:
            return layers_side_by_side(masks)
        return (opaque_layers if self.opaque else layers_by_depth)(masks, outputs["ST_depth"])

    def _frame_major(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops (K*B,...), box by box -> (B*K,...), frame by frame."""
        return crops.unflatten(0, (self.boxes, -1)).transpose(0, 1).flatten(0, 1)


class _Between0And1(torch.autograd.Function):
    """Clamped values, whose gradient lets what is outside come back, and never leads further out."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values)
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (values,) = ctx.saved_tensors
        leads_out = ((values < 0) & (gradient > 0)) | ((values > 1) & (gradient < 0))
        return gradient.masked_fill(leads_out, 0)


def _scale_to_1(masks: torch.Tensor) -> torch.Tensor:
    """Masks (...,H,W), each divided by its maximum."""
    return masks / (EPSILON + masks.amax((-2, -1), keepdim=True))
