"""torch.hub entry points: a trained network, and poses from crops.

    network = torch.hub.load(FOLDER, "encode_decode", source="local")      # FOLDER: a copy of this repository
    poses = torch.hub.load(FOLDER, "pose_from_crop", source="local")("crop.png")

With "owner/repository" in place of FOLDER, and without `source`, torch.hub downloads the repository. `weights` is
"benchmark64" or "demo64" (in the repository: small, 64 px, trained on rendered people, for 80 and for 14 minutes),
"published" (those of the published implementation, 128 px, Human3.6M; to be fetched by hand), the path of a run folder
or of a file of weights, or None.
"""

import pathlib
import sys

dependencies = ["torch", "torchvision", "numpy", "PIL", "h5py", "ignite", "roma", "safetensors", "tqdm"]

_ROOT = pathlib.Path(__file__).resolve().parent
_PACKAGED = ("benchmark64", "demo64")
_PACKAGES = ("configs", "datasets", "models", "training", "utils")
_PUBLISHED_FILE = "network_best_val_t1.pth"
_PUBLISHED_HOME = "https://github.com/hrhodin/UnsupervisedGeometryAwareRepresentationLearning"


def encode_decode(weights="benchmark64", **config):
    """The network (models.EncodeDecode), float32 on the CPU, in eval mode, with its config as `network.config`.

    weights: see above. None: random weights of the published configuration. `config`: keys of
    configs/config_train_encodeDecode.py and config_train_encodeDecode_pose.py to change; keys of the architecture
    must agree with the weights, an unknown key is an error that names the nearest one.

    network.encode: normalised crops (B,3,R,R) (utils.images.normalize; R = network.size) -> appearance (B,A), points
    (B,P,3); network.rotate, network.decode: a novel view; network.denormalize_pose(network.pose(points)): poses
    (B,51), metres, camera frame of the crop, root-centred. network(dictionary) does all at once. The published file
    holds no statistics of poses: call network.set_pose_statistics before poses are denormalised.
    """
    _import_from_here_first()
    from configs.config_test_encodeDecode import config_dict, optional_keys
    from configs.config_train_encodeDecode import config_dict as published_config
    from models import build_network
    from training.trained.inference import open_network
    from utils.config import check_config

    check_config(config, config_dict, optional_keys)
    if weights is not None:
        return open_network({**config_dict, **config, "network_path": _weights_path(weights)}, frozenset(config))
    random_weights = {"encoder_weights": None, "output_types": ["img_crop", "3D"]}
    resolved = {**published_config, **random_weights, **config}
    network = build_network(resolved)
    network.config = resolved
    return network.eval()


def pose_from_crop(weights="benchmark64", device="auto", precision="auto", statistics=None, flip_test=False):
    """A callable: crops -> poses (N,17,3), numpy float32, metres, root-centred, in the camera frame of each crop.

    It takes an image file, a PIL image, uint8 arrays (H,W,3) or (N,H,W,3), uint8 tensors (3,H,W) or (N,3,H,W), or a
    list of these. A crop is square, 2 m wide at the person's distance, with the hip in its middle; it is resized,
    with anti-aliasing, to the size of the network. x is right, y down, z forward; joint 0, the hip, is the origin,
    and utils/skeleton.py has the order of the others.

    weights: see above, but not None. device: "auto", "cpu", "cuda", "mps". precision: "auto" (bfloat16 where the
    hardware computes in it), "float32", "bfloat16". statistics: a folder in the training layout whose `pose_mean`
    and `pose_std` the poses are scaled with; needed for published weights, which hold none. flip_test: the mean with
    the pose of the crop's mirror image, which is better, for twice the time.
    """
    _import_from_here_first()
    import torch

    from datasets.layout.labels import read_statistics
    from training.trained.inference import PoseFromCrop
    from utils.errors import UserError

    if weights is None:
        raise UserError("weights is None; expected trained weights, because random ones know no poses")
    network = encode_decode(weights)
    if statistics is not None:
        network.set_pose_statistics(*map(torch.as_tensor, read_statistics(statistics)))
    return PoseFromCrop(network, device, precision, flip_test)


def _weights_path(weights):
    from utils.errors import UserError

    if weights in _PACKAGED:
        return str(_ROOT / "examples" / "weights" / f"{weights}.safetensors")
    if weights == "published":
        return _published_weights()
    if not pathlib.Path(weights).exists():
        expected = ", ".join(map(repr, (*_PACKAGED, "published")))
        raise UserError(f"weights {str(weights)!r} do not exist; expected {expected}, a path, or None")
    return str(weights)


def _published_weights():
    """The published file, where torch.hub keeps weights: no lasting address of it is known, so users put it there."""
    import torch

    from utils.errors import UserError

    path = pathlib.Path(torch.hub.get_dir()) / "checkpoints" / _PUBLISHED_FILE
    if not path.is_file():
        raise UserError(
            f"published weights are not at {str(path)!r}; the test script of {_PUBLISHED_HOME} downloads "
            f"{_PUBLISHED_FILE}: put it there, or give its path as weights"
        )
    return str(path)


def _import_from_here_first():
    """Let no foreign package named `datasets` or `utils` win; one that is imported already is an error."""
    root = str(_ROOT)
    # twice: torch.hub takes one away when it has loaded
    sys.path[:] = [root, root, *(folder for folder in sys.path if folder != root)]
    for name in _PACKAGES:
        module = sys.modules.get(name)
        places = list(getattr(module, "__path__", [])) or [getattr(module, "__file__", None) or "built in"]
        if module is not None and pathlib.Path(places[0]).resolve() != _ROOT / name:
            raise ImportError(
                f"another package {name!r} is imported already, from {places[0]!r}; load this project before it, "
                "or in a process of its own"
            )
