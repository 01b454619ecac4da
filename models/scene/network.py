"""The network: detect -> crop -> encode -> rotate -> decode -> match -> paste -> compose, and poses from the points.

Tensors of boxes are (K,B,...), those of crops (K*B,...) box by box, for K boxes in each of B frames of H x W pixels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.parts.decoders import ImageDecoder, PoseDecoder
from models.parts.encoders import build_encoder
from models.parts.latent import camera_to_camera, evaluation_permutations, invert
from models.parts.options import coarsest_grid, decoder_widths, option
from models.scene.boxes import box_matrices, bump, crop_frames, left_to_right, paste_crops
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
from models.scene.detector import Bounds, Detector, reduce_frames
from models.scene.matching import best_matches, mix, no_matches, similarities, soft_matches
from utils.errors import UserError
from utils.geometry import at_least_float32, rotate_points
from utils.skeleton import NUM_JOINTS

# Outputs by the last step that they need; each step needs those before it.
_OF_CAMERAS = {"cam2cam", "shuffled_pose", "shuffled_pose_inv", "shuffled_appearance"}
_OF_BOXES = {"spatial_transformer", "spatial_transformer_raw", "ST_depth", "spatial_transformer_img_crop", "bg_crop"}
_OF_CROPS = {"img_crop", "blend_mask_crop"}
_OF_FRAMES = {"img", "radiance_normalized", "blend_mask", "depth_map"}
_OF_INPUTS = {*_OF_CAMERAS, "img_downscaled"}
_OF_DECODER = {*_OF_CROPS, *_OF_FRAMES}
_NEED_CAMERAS = {*_OF_CAMERAS, *_OF_DECODER, "similarity_matrix", "latent_3d_rotated"}


class DetectEncodeDecode(nn.Module):
    """Neural scene decomposition (Rhodin et al., CVPR 2019): several people in full frames.

    `training_mode` "NVS" has the image decoder, which renders frames of other cameras, and "pose" the pose decoder.
    Apart from dropout, batch norm and `offset_crop`, `forward` is a pure function of its inputs and of the mode:
    matches of boxes are soft in training. `output_types` may be changed at any time.
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
        self.masks = option(config, "masked_blending")
        self.scale_masks = option(config, "scale_mask_max_to_1") and not option(config, "empty_masks")
        self.weaken_dense = option(config, "normalize_mask_density")
        # One box has nothing to be matched with.
        self.matches = option(config, "match_crops") and self.boxes > 1
        self.bandwidth = option(config, "similarity_bandwidth")
        self.whole_frame = option(config, "disable_detector")
        if self.matches and not option(config, "latent_fg"):
            raise UserError("config: latent_fg = 0, expected at least 1 with match_crops, which compares appearances")
        self.detector = _build_detector(config) if self.depths or not self.whole_frame else None
        self.smooth = option(config, "smooth_detector_input")
        self.encoder = build_encoder(config, load)
        self.bump = option(config, "spatial_transformer")
        self.decoder = self.pose_decoder = None
        if option(config, "training_mode") == "NVS":
            self.decoder = _build_decoder(config)
        else:
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

        `input_dict`: `img`, `bg` (B,3,H,W) normalized frames and backgrounds; `R_cam_2_world` (B,3,3). Optional:
        `spatial_transformer` (B*K,2,3), boxes in place of the detector's; `shuffled_pose`, `shuffled_appearance` (B,)
        indices in place of the evaluation permutations; in evaluation mode `external_rotation_global` of the world and
        `external_rotation_cam` of the camera, (3,3) or (B,3,3), with which each frame is rendered for its own camera,
        so rotated, and then `shuffled_pose_weight`, how far the points are moved towards their rotated places.

        Returns a subset of the keys below. Frame j shows what input frame j shows, from the source view of the same
        instant. Slot i is the source frame i, rendered for view `shuffled_pose[i]`.
        - `img` (B,3,H,W), `depth_map` (B,1,H,W), `radiance_normalized` (K,B,1,H,W), `blend_mask` (B,3,H,W) to look at;
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
        if "3D" in wanted:
            outputs["3D"] = self.pose(points, boxes)
        if "similarity_matrix" in wanted or wanted & _OF_FRAMES:
            outputs["similarity_matrix"] = self.match(appearance, outputs["shuffled_pose_inv"])
        if "latent_3d_rotated" in wanted or wanted & _OF_DECODER:
            outputs["latent_3d_rotated"] = self._rotate(points, input_dict, outputs["cam2cam"])
        if wanted & _OF_DECODER:
            donated = appearance[:, outputs["shuffled_appearance"]]
            source = outputs["shuffled_pose_inv"]
            # Decoded by slot, and put in the order of the views that are rendered.
            images, masks = (part[:, source] for part in self.decode(donated, outputs["latent_3d_rotated"]))
            outputs["img_crop"] = self._frame_major(images.flatten(0, 1))
            outputs["blend_mask_crop"] = self._frame_major(masks.flatten(0, 1))
        if wanted & _OF_FRAMES:
            self._compose(images, masks, input_dict["bg"], outputs)
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
        if self.whole_frame:
            ones = torch.ones(self.boxes, len(frames), 2, device=frames.device, dtype=frames.dtype)
            boxes = box_matrices(ones, 0 * ones)
        return boxes, depths

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops (K*B,3,R,R) -> appearance (K,B,A) and points (K,B,N,3) in the camera frame."""
        appearance, points = self.encoder(crops)
        # Under autocast they come in bfloat16, which is too coarse for coordinates that are rotated.
        return appearance.unflatten(0, (self.boxes, -1)), at_least_float32(points).unflatten(0, (self.boxes, -1))

    def match(self, appearance: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Appearance (K,B,A) of all views, and the source `source[j]` (B,) of view j -> weights (K,K,B)."""
        if not self.matches:
            return no_matches(self.boxes, like=at_least_float32(appearance[0]))
        cosines = similarities(at_least_float32(appearance), source)
        return soft_matches(cosines, self.bandwidth) if self.training else best_matches(cosines)

    def decode(self, appearance: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Appearance (K,B,A) and points (K,B,N,3) -> normalized images (K,B,3,R,R) and masks (K,B,1,R,R) in 0..1."""
        decoded = at_least_float32(self.decoder(appearance.flatten(0, 1), points.flatten(0, 1)))
        decoded = decoded.unflatten(0, (self.boxes, -1))
        images, fading = decoded[:, :, :3], bump(self.bump, decoded)
        if not self.masks:
            return images, fading.expand_as(images[:, :, :1])
        masks = (EPSILON + (1 - EPSILON) * torch.sigmoid(decoded[:, :, 3:])) * fading
        return images, _scale_to_1(masks) if self.scale_masks else masks

    def pose(self, points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Unrotated points (K,B,N,3) and boxes (K,B,2,3) -> normalized poses (B,K,17,3), from left to right."""
        poses = at_least_float32(self.pose_decoder(points.flatten(0, 1))).unflatten(0, (self.boxes, -1))
        ordered = poses.gather(0, left_to_right(boxes)[..., None].expand_as(poses))
        return ordered.transpose(0, 1).unflatten(2, (NUM_JOINTS, 3))

    def set_pose_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Store the mean and standard deviation (51,), meters, of the poses that the pose decoder learns."""
        self.pose_mean.copy_(mean)
        self.pose_std.copy_(std)

    def denormalize_pose(self, normalized: torch.Tensor) -> torch.Tensor:
        """Normalized poses (...,17,3) -> poses (...,17,3) in meters, root-centered, camera frame."""
        return normalized * self.pose_std.view(NUM_JOINTS, 3) + self.pose_mean.view(NUM_JOINTS, 3)

    def stage1_parameters(self) -> list[nn.Parameter]:
        """Parameters trained in stage 1: all of a network of novel views, but what `freeze_encoder_stem` froze."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def stage2_parameters(self) -> list[nn.Parameter]:
        """Parameters trained in stage 2: those of the pose decoder."""
        return list(self.pose_decoder.parameters())

    def _wanted(self) -> set[str]:
        """The outputs to compute; UserError for one that this network has no part for."""
        missing = {"3D"} if self.pose_decoder is None else {*_OF_DECODER}
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
        """The input frames (B,3,H,W); UserError where an input is missing, or shapes do not fit together."""
        names = {"img"} | ({"R_cam_2_world"} if wanted & _NEED_CAMERAS else set())
        names |= {"bg"} if wanted & {*_OF_FRAMES, "bg_crop"} else set()
        for name in sorted(names):
            if name not in input_dict:
                raise UserError(f"input {name!r} is missing, expected it for output_types = {self.output_types}")
        background = wanted - _OF_INPUTS and self.detector is not None and self.detector.background
        if background and "bg" not in input_dict:
            raise UserError("input 'bg' is missing, expected the background of each frame for detector_background")
        frames = input_dict["img"]
        if frames.dim() != 4 or frames.shape[1] != 3:
            raise UserError(f"img has shape {tuple(frames.shape)}, expected (frames, 3, height, width)")
        expected = {
            "bg": tuple(frames.shape),
            "R_cam_2_world": (len(frames), 3, 3),
            "spatial_transformer": (len(frames) * self.boxes, 2, 3),
        }
        for name, shape in expected.items():
            if name in input_dict and tuple(input_dict[name].shape) != shape:
                found = tuple(input_dict[name].shape)
                boxes = f" (spatial_transformer_num = {self.boxes} a frame)" if name == "spatial_transformer" else ""
                raise UserError(f"{name} has shape {found}, expected {shape}{boxes} for img {tuple(frames.shape)}")
        return frames

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

    def _rotate(
        self, points: torch.Tensor, input_dict: Mapping[str, torch.Tensor], cam2cam: torch.Tensor
    ) -> torch.Tensor:
        """Points (K,B,N,3) of slots, as the target cameras see them."""
        rotated = rotate_points(points.flatten(0, 1), cam2cam).unflatten(0, points.shape[:2])
        if "shuffled_pose_weight" in input_dict and not self.training:
            rotated = torch.lerp(points, rotated, input_dict["shuffled_pose_weight"].to(points))
        return rotated

    def _compose(
        self, images: torch.Tensor, masks: torch.Tensor, background: torch.Tensor, outputs: dict[str, torch.Tensor]
    ) -> None:
        """Match images and masks (K,B,C,R,R) of people with the boxes of their views, and compose the frames."""
        boxes, weights, size = outputs["spatial_transformer"], outputs["similarity_matrix"], background.shape[-2:]
        # In 16 bits the matrix products of autocast would shift colors visibly.
        with torch.autocast(background.device.type, enabled=False):
            masks = mix(masks, weights) if self.masks else masks
            images = paste_crops(mix(images, weights), boxes, size, padding="border")
            pasted = paste_crops(masks, boxes, size, padding="zeros")
            pasted = _scale_to_1(pasted) if self.scale_masks else pasted
            layers = self._layers(pasted, outputs)
            radiance = weaken_dense(layers.radiance, masks) if self.weaken_dense else layers.radiance
            outputs["img"] = compose(images, radiance, background)
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


def _build_detector(config: Mapping[str, Any]) -> Detector:
    bounds = Bounds(**option(config, "spatial_transformer_bounds"))
    if bounds.min_size > bounds.max_size:
        raise UserError(
            f"config: spatial_transformer_bounds has min_size = {bounds.min_size}, expected at most its max_size = "
            f"{bounds.max_size}"
        )
    boxes, width = option(config, "spatial_transformer_num"), option(config, "detector_width")
    return Detector(
        boxes,
        width,
        bounds,
        shifts=option(config, "offset_crop"),
        square=option(config, "square_boxes"),
        spread=option(config, "distinct_starts"),
        smooth=option(config, "smooth_detector_input"),
        background=option(config, "detector_background"),
    )


def _build_decoder(config: Mapping[str, Any]) -> ImageDecoder:
    decoder = ImageDecoder(
        decoder_widths(config),
        coarsest_grid(config),
        option(config, "latent_fg"),
        option(config, "latent_3d"),
        option(config, "latent_dropout"),
        upsampling_bilinear=option(config, "upsampling_bilinear") == "upper",
        skip_background=False,
        add_background=False,
        color_by_appearance=option(config, "color_by_appearance"),
        channels=4 if option(config, "masked_blending") else 3,
        batch_norm=option(config, "decoder_batch_norm"),
    )
    if not option(config, "decoder_batch_norm"):
        # The start that was published.
        for part in decoder.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_normal_(part.weight)
                nn.init.zeros_(part.bias)
    return decoder


def _scale_to_1(masks: torch.Tensor) -> torch.Tensor:
    """Masks (...,H,W), each divided by its maximum."""
    return masks / (EPSILON + masks.amax((-2, -1), keepdim=True))
