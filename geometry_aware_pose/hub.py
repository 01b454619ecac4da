"""A trained network, and poses from crops, in one call each; hubconf.py offers the same functions to torch.hub.

`weights` is one of the packaged "benchmark64" (64 px, five rendered people, 1 % of their labels; its novel views are
sharper) and "wild128" (128 px, for poses in real pictures: 840 rendered people in as many rooms, all labels),
"published" (the network of the published implementation, 128 px, Human3.6M; the file must be downloaded by hand), the
path of a run folder, of a folder that `save_pretrained` wrote or of a weights file, "hf://OWNER/NAME" (a repository on
the Hugging Face Hub), or None.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from geometry_aware_pose.own_packages import put_first

if TYPE_CHECKING:
    from models import EncodeDecode
    from training.estimation.photo import PhotoPoses
    from training.trained.inference import PoseFromCrop

WEIGHTS_FILE = "model.safetensors"  # in a folder that `save_pretrained` wrote
PACKAGED_WEIGHTS = ("benchmark64", "wild128")
_WEIGHTS_KEYS = ("network_path", "pretrained_network_path")  # config keys, in the place of which is `weights`
_PUBLISHED_FILE = "network_best_val_t1.pth"
_PUBLISHED_HOME = "https://github.com/hrhodin/UnsupervisedGeometryAwareRepresentationLearning"


def encode_decode(weights: str | Path | None = "benchmark64", **config: Any) -> EncodeDecode:
    """The network (models.EncodeDecode), float32, on the CPU, in eval mode; `network.config` is its config.

    weights: "benchmark64", "wild128", "published", the path of a run folder or weights file, or None for random weights
    of the published configuration, by its `seed`. config: keys of the table in utils/keys.py to override. Architecture
    keys must agree with the weights; an unknown key, a value out of its limits or other weights (`network_path`) are a
    UserError.

    network.encode maps normalized crops (B,3,R,R) (utils.images.normalize, R = network.size) to an appearance code
    (B,A) and points (B,P,3). network.rotate and network.decode render a novel view.
    network.denormalize_pose(network.pose(points)) gives poses (B,51) in meters, root-centered, in the camera frame of
    the crop. network(dictionary) does all of this. Published weights hold no pose statistics: call
    network.set_pose_statistics before denormalize_pose.
    """
    put_first()
    import torch

    from configs.config_test_encodeDecode import config_dict
    from configs.config_train_encodeDecode import config_dict as published_config
    from models import build_network
    from training.trained.load import open_network
    from utils.config import check_config
    from utils.errors import UserError
    from utils.keys import KEYS

    config = check_config(config, KEYS)
    for key in _WEIGHTS_KEYS:
        if config.get(key) is not None:
            raise UserError(f"{key} is {config[key]!r}; expected None, and its weights as weights={config[key]!r}")
    if weights is not None:
        on_cpu = {"device": "cpu", "precision": "float32"}
        resolved = {**config_dict, **on_cpu, **config, "network_path": weights_path(weights)}
        network, network.config, *_ = open_network(resolved, frozenset(config))
        return network
    random_weights = {"encoder_weights": None, "output_types": ["img_crop", "3D"]}
    resolved = {**published_config, **random_weights, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(resolved["seed"])
        network = build_network(resolved)
    network.config = resolved
    return network.eval()


def pose_from_crop(
    weights: str | Path = "wild128",
    device: str = "auto",
    precision: str = "auto",
    statistics: str | Path | None = None,
    flip_test: bool = False,
    trust: bool = True,
) -> PoseFromCrop:
    """A callable that maps crops to poses (N,17,3): numpy float32, meters, root-centered, camera frame of the crop.

    The array says how far to trust each pose: `poses.trust` (N,) in 0..1, the expected fraction of joints within 150 mm
    of the truth; `poses.expected_error` (N,) in mm; `poses.flagged` (N,), pictures unlike those of the training, such
    as noise, an empty room or a part of a person. All are None for weights that were not calibrated.

    Input: an image file, a PIL image, uint8 arrays (H,W,3) or (N,H,W,3), uint8 tensors (3,H,W) or (N,3,H,W), or a list
    of these. Files and PIL images are rotated as their EXIF orientation tells. A crop is a square of 2 m at the
    person's distance with the hip in its center; it is resized to the network's size, with anti-aliasing. Axes: x
    right, y down, z forward. Joint 0, the hip, is the origin; utils/skeleton.py lists the other joints.

    weights: "benchmark64", "wild128", "published", or the path of a run folder or weights file. device: "auto", "cpu",
    "cuda" or "mps". precision: "auto" (bfloat16 where the hardware supports it), "float32" or "bfloat16". statistics:
    a folder in the training layout whose `pose_mean` and `pose_std` scale the poses; for published weights only, which
    hold none. flip_test: average with the pose of the mirrored crop; more accurate, twice the time.
    trust: False leaves trust out, which takes three quarters of the time.

    The packaged networks have seen rendered people only; on photographs use "wild128", whose error is 10 to 19 cm.
    """
    put_first()
    from datasets.layout.labels import read_statistics
    from training.trained.inference import PoseFromCrop
    from utils.errors import UserError

    if weights is None:
        raise UserError("weights is None; expected trained weights, because random weights give random poses")
    network = encode_decode(weights)
    if statistics is not None:
        if not isinstance(statistics, str | Path):
            raise UserError(f"statistics is {statistics!r}; expected the folder of a training layout")
        if network.pose_mean.any():
            raise UserError(f"statistics is {str(statistics)!r}, but {weights} has its own; expected None")
        network.set_pose_statistics(*read_statistics(statistics))
    return PoseFromCrop(network, device, precision, flip_test, trust)


def pose_from_photo(
    photo: Any, weights: str | Path = "wild128", device: str = "auto", field: float | None = None
) -> PhotoPoses:
    """The people in a whole photograph: a file, a PIL image (rotated as EXIF tells), or an array (H,W,3) uint8 RGB.

    Returns `poses` (N,17,3), as `pose_from_crop` gives them, in the frame of the photograph's camera and with trust;
    `roots` (N,3), where the hips are, meters; and `picture`, a PIL image with the skeletons. N is 0 where nobody is
    found. BlazePose finds the people (pip install "geometry-aware-pose[estimate]"). field: the camera's field of view
    across the longer side of the photograph, degrees; None: 60, as of most phones. weights, device: as of
    `pose_from_crop`, but no published weights, which hold no statistics of poses.

    For many photographs, load once: training.estimation.photo.PoseFromPhoto(pose_from_crop(...)).
    """
    put_first()
    from training.estimation.photo import PoseFromPhoto
    from training.estimation.shot import DEFAULT_FIELD

    network = pose_from_crop(weights, device, flip_test=True)
    return PoseFromPhoto(network, DEFAULT_FIELD if field is None else field)(photo)


def weights_path(weights: str | Path) -> str:
    """The path that `weights`, as described above, means."""
    from training.loop.latest import without_latest
    from utils.errors import UserError
    from utils.paths import packaged_weights

    check_name("weights", weights)
    if weights in PACKAGED_WEIGHTS:
        return str(packaged_weights(weights))
    if weights == "published":
        return _published_weights()
    if str(weights).startswith("hf://"):
        from geometry_aware_pose.hugging_face import weights_file_of

        return weights_file_of(weights)
    weights = Path(weights).expanduser()
    if not weights.exists():
        expected = ", ".join(map(repr, (*PACKAGED_WEIGHTS, "published")))
        raise UserError(f"weights {str(weights)!r} do not exist; expected {expected}, a path, or None")
    saved = weights / WEIGHTS_FILE
    return without_latest(str(saved if saved.is_file() else weights))


def check_name(what: str, name: object) -> None:
    """UserError where `name`, which the user gave as `what`, is neither a name nor a path."""
    from utils.errors import UserError

    if not isinstance(name, str | Path) or not str(name) or "\0" in str(name):
        raise UserError(f"{what} is {name!r}; expected a name or a path")


def _published_weights() -> str:
    """The published file, in torch.hub's checkpoint folder. No permanent URL is known, so users put it there."""
    import torch

    from utils.errors import UserError

    path = Path(torch.hub.get_dir()) / "checkpoints" / _PUBLISHED_FILE
    if not path.is_file():
        raise UserError(
            f"published weights are not at {str(path)!r}; the test script of {_PUBLISHED_HOME} downloads "
            f"{_PUBLISHED_FILE}: put it there, or give its path as weights"
        )
    return str(path)
