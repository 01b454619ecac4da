"""The keys of the second method (models/scene, several people in full frames): those of utils/keys.py, and its own.

The names are those of its published implementation, and the defaults its published values.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from utils.keys import DATA, LOSS, MACHINE, NETWORK, SCHEDULE, STAGE2, Key


def _of(table: Mapping[str, Key], *names: str, **changed: Any) -> dict[str, Key]:
    """`names` of a table, as they are, and others with another default."""
    return {name: table[name] for name in names} | {
        name: replace(table[name], default=default) for name, default in changed.items()
    }


# fmt: off
SCENE_DATA = {
    **_of(DATA, "dataset_folder_train", "dataset_folder_test"),
    "training_set": replace(DATA["training_set"], default="scenes"),
    "actor_subset": replace(DATA["actor_subset"], default=None, kind=list,
        comment="training subjects: instants of which all people are in it; None: all of the set"),
    "fullFrameResolution": Key([910, 512], "width and height of frames, pixels; the network takes any, and their ratio "
        "decides where the box prior draws boxes", at_least=32),
    "useCamBatches": replace(DATA["useCamBatches"], at_least=0,
        comment="cameras of a group: so many frames of one instant, each of another camera; 0: no groups"),
    **_of(DATA, "useSubjectBatches", "every_nth_frame"),
    "validation_fraction": replace(DATA["validation_fraction"],
        comment="of the training frames, whole sequences held out to choose the best network"),
    "validation_crops": replace(DATA["validation_crops"],
        comment="held-out frames in one evaluation of stage 1, at most"),
    "batch_size_train": replace(DATA["batch_size_train"], default=16,
        comment="frames; with torchrun, of all processes together"),
    "batch_size_test": replace(DATA["batch_size_test"], default=8, comment="frames in a batch of evaluation"),
    "num_workers": replace(DATA["num_workers"], comment="processes that decode images, 0: none; unused where frames "
        "are in memory, or packed and on a CPU"),
    **_of(DATA, "preload_images", "crops_on_device"),
}

SCENE_NETWORK = {
    "method": replace(NETWORK["method"], default="scene", choices=("scene",)),
    **_of(NETWORK, "pretrained_network_path"),
    "pretrained_crops_path": Key(None, "run folder or weights file of the method of one person, with the same encoder "
        "and image decoder, to start both from in stage 1", kind=str, optional=True),
    "training_mode": Key("NVS", "NVS: an image decoder, for novel views; pose: a pose decoder in its place; "
        "both: a pose decoder beside the image decoder", choices=("NVS", "pose", "both")),
    "spatial_transformer": Key("GaussBSqSqr", "how a crop fades to its border, from which its box gets gradients "
        "(models/scene/bumps.py); True: not at all", choices=("GaussBSqSqr", "GaussBsq", "GaussB", "Gauss", True)),
    "spatial_transformer_num": Key(2, "boxes in each frame: so many people", at_least=1),
    "spatial_transformer_bounds": Key({"border_factor": 0.8, "min_size": 0.2, "max_size": 1.0}, "of boxes: how far "
        "from the frame's center theirs may be, in half frame sides; least and largest side, in frame sides",
        above=0, at_most=2),
    "square_boxes": Key(False, "boxes are square in pixels, and the limits of their sides hold for the height; False: "
        "width and height are free"),
    "distinct_starts": Key(False, "boxes start side by side, and the box prior holds for the average of all; False: "
        "all start in the middle, and the prior holds for each"),
    "disable_detector": Key(False, "every box is the whole frame"),
    "detector_width": Key(64, "channels of the detector's first layer", at_least=8),
    "detector_background": Key(False, "the detector also sees the difference of frame and background"),
    "smooth_detector_input": Key(False, "a low-pass filter before frames are reduced for the detector"),
    "offset_crop": Key(False, "in training, the detector sees the frame moved by up to 5 % of half its side"),
    **_of(NETWORK, "encoderType", "encoder_weights", "freeze_encoder_stem", "encoder_width", "encoder_side",
        "encoder_frozen_stages", "encoder_statistics", "encoder_max_pool"),
    "inputDimension": replace(NETWORK["inputDimension"], comment="side of the crops that the network makes, pixels"),
    **_of(NETWORK, "sigmoid_bottleneck", "num_encoding_layers", "feature_scale", "latent_fg", "latent_3d",
        "latent_dropout", "color_by_appearance"),
    "decoder_batch_norm": Key(False, "the image decoder normalizes what it enlarges; without, it diverges unless "
        "decoder_rate is low"),
    "shuffle_fg": replace(NETWORK["shuffle_fg"], default=False),
    "shuffle_3d": replace(NETWORK["shuffle_3d"],
        comment="the target is the next view of its group: always in tests, in training of every other group"),
    "target_other_view": replace(NETWORK["target_other_view"],
        comment="with shuffle_3d: in training, too, the target is always another view"),
    "match_crops": Key(True, "match boxes of two views by their appearance; False: by their number"),
    "match_one_to_one": Key(False, "of match_crops: no two boxes take the same one"),
    "match_appearance": Key(False, "with shuffle_fg: appearance is that of the matched box; False: of the box of the "
        "same number"),
    "perspectiveCorrection": Key(False, "points are of a camera that looks at the box, and not of the frame's; needs "
        "the cameras' intrinsics. In training all pairs of boxes are decoded"),
    "similarity_bandwidth": Key(10.0, "of match_crops: how decided matches are in training", above=0),
    "masked_blending": Key(True, "decode a mask of each person; False: its crop is opaque but for its faded border"),
    "masks_of_layers": Key(False, "with color_by_appearance: masks are what layers hide of the background, as in the "
        "method of one person; False: a channel of their own"),
    "scale_mask_max_to_1": Key(True, "divide each mask by its maximum"),
    "empty_masks": Key(False, "masks may be empty, where there is nobody: scale_mask_max_to_1 does nothing"),
    "normalize_mask_density": Key(False, "people whose mask covers more of its crop contribute less"),
    "predict_transformer_depth": Key(True, "people hide each other by predicted depths; False: they share pixels"),
    "opaque_masks": Key(False, "a mask of 1 hides all that is behind it; False: 86.5 %"),
    "upsampling_bilinear": Key("upper", "upper: bilinear in all levels of the decoder; False: transposed convolutions",
        choices=("upper", False)),
    **_of(NETWORK, "n_hidden_to3Dpose", "width_to3Dpose", "dropout_to3Dpose"),
    "output_types": Key(["img", "spatial_transformer"], "what the network computes: img is novel views, 3D is poses "
        "(more in models/scene/network.py)", choices=(
            "img", "3D", "spatial_transformer", "spatial_transformer_raw", "ST_depth", "similarity_matrix", "latent_fg",
            "latent_3d", "latent_3d_rotated", "cam2cam", "img_crop", "blend_mask_crop", "bg_crop",
            "spatial_transformer_img_crop", "radiance_normalized", "masks", "blend_mask", "depth_map", "img_downscaled",
            "shuffled_pose", "shuffled_pose_inv", "shuffled_appearance")),
}

SCENE_LOSS = {
    "MAE": replace(LOSS["MAE"], default=False),
    **_of(LOSS, "loss_weight_rgb", "loss_weight_imageNet", "perceptual_weights", "loss_weight_masks"),
    "match_statistics": Key(True, "compare frames whose mean and contrast were matched; False: as they are"),
    "loss_weight_cover": Key(0.0, "of the share of the foreground, where frames differ from their backgrounds, that no "
        "box covers, and of the sizes of boxes", at_least=0),
    "loss_weight_people": Key(0.0, "of the root of how much of the frame each person fills: one person in one box, and "
        "nobody where nobody is", at_least=0),
    "loss_weight_depth": Key(0.0, "of the predicted depths' distance to where the rays through matched boxes of both "
        "views meet; needs cameras with known places", at_least=0),
    "loss_weight_size": Key(0.0, "of the boxes' distance from 2 m at these depths; needs cameras with known places",
        at_least=0),
    "loss_around_boxes": Key(False, "in training, compare what is around boxes; False: whole frames"),
    "loss_weight_boxes": Key(0.1, "of the box prior: average position the frame's center, average height 0.4 of it",
        at_least=0),
}

SCENE_SCHEDULE = {
    "num_training_iterations": replace(SCHEDULE["num_training_iterations"], default=600_000),
    **_of(SCHEDULE, "optimizer", "learning_rate"),
    "train_encoder": Key(True, "stage 1 trains the encoder too; False: it stays as pretrained_crops_path or "
        "pretrained_network_path has it"),
    "decoder_rate": Key(0.2, "learning rate of the image decoder's convolutions, times learning_rate", above=0,
        at_most=1),
    **_of(SCHEDULE, "learning_rate_schedule", "weight_decay"),
    "augment_mirror": replace(SCHEDULE["augment_mirror"], comment="stage 1: mirror a random half of the groups, as in "
        "a mirrored room"),
    **_of(SCHEDULE, "print_every"),
    "test_every": replace(SCHEDULE["test_every"],
        comment="iterations between evaluations on held-out frames, and between checkpoints"),
    **_of(SCHEDULE, "plot_every"),
}

SCENE_STAGE2 = {
    **_of(STAGE2, "network_path", "label_subjects"),
    "label_fraction": replace(STAGE2["label_fraction"],
        comment="of their frames that are labeled, chosen at random; a part of them validates"),
    "freeze_encoder": replace(STAGE2["freeze_encoder"],
        comment="train the pose decoder only; False: detector and encoder too (without network_path: plain "
        "supervision)"),
    "loss_weight_true_boxes": Key(1.0, "without freeze_encoder: of the boxes' distance to those of the labels, where "
        "the set has some", at_least=0),
    "pose_loss": replace(LOSS["pose_loss"],
        comment="what poses learn by: squared meters (published), or the distance of joints, which tests measure"),
    **_of(STAGE2, "augment_yaw", "augment_points"),
    "flip_test": replace(STAGE2["flip_test"],
        comment="in tests, average boxes, depths and poses of a frame and of its mirror image"),
    **_of(STAGE2, "pose_variance_floor"),
}
# fmt: on

SCENE_GROUPS = {
    "data": SCENE_DATA,
    "network": SCENE_NETWORK,
    "loss": SCENE_LOSS,
    "schedule": SCENE_SCHEDULE,
    "machine": MACHINE,
    "stage 2": SCENE_STAGE2,
}
SCENE_KEYS = {name: key for group in SCENE_GROUPS.values() for name, key in group.items()}
SCENE_STAGE1_KEYS = {name: key for name, key in SCENE_KEYS.items() if name not in SCENE_GROUPS["stage 2"]}
SCENE_UNREAD_IN_STAGE2 = frozenset(SCENE_LOSS) | {
    "useCamBatches", "useSubjectBatches", "validation_crops", "train_encoder", "decoder_rate", "augment_mirror",
    "flip_test",
}  # fmt: skip
