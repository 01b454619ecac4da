"""What is measured: the configurations, and synthetic data for them."""

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.layout.packed import pack
from datasets.layout.writer import LayoutWriter
from datasets.reader import MultiViewDataset
from models import build_network
from training.loop.hardware import Hardware
from training.loop.loaders import cache_on_device

# configuration -> its config modules of stage 1 and stage 2
CONFIGURATIONS = {
    "published": ("config_train_encodeDecode", "config_train_encodeDecode_pose"),
    "demo": ("config_demo", "config_demo_pose"),
}
# config key -> the network whose ImageNet weights it downloads
PRETRAINED = {"encoder_weights": "resnet50", "perceptual_weights": "resnet18"}
# a tiny network for tests of the benchmark itself
QUICK = {
    "encoderType": "ResNet18", "encoder_width": 8, "inputDimension": 32, "feature_scale": 8, "latent_fg": 16,
    "latent_3d": 30, "width_to3Dpose": 32, "batch_size_train": 8, "batch_size_test": 8,
    "encoder_weights": None, "perceptual_weights": None,
}  # fmt: skip
SUBJECTS = (1, 5, 6, 7, 8)
CAMERAS = 4


class Size(NamedTuple):
    """How much is measured. `seconds`: for all samples of a measure; `shortest`: of one sample."""

    instants: int  # per subject, in two sequences
    test_instants: int
    cached: int  # crops
    index_rows: int
    rendered: int  # sequences of 32 crops
    seconds: float
    shortest: float


FULL = Size(instants=26, test_instants=32, cached=128, index_rows=1_500_000, rendered=8, seconds=4, shortest=0.2)
TINY = Size(instants=4, test_instants=2, cached=8, index_rows=4_000, rendered=3, seconds=0, shortest=0)


def read_configs(name: str, quick: bool, device: str = "auto") -> tuple[dict, dict]:
    """The configs of both stages of the configuration `name`."""
    # Sets that are preloaded into memory need no loading. Sets that do not fit are what is measured.
    changes = {"device": device, "visdom": False, "preload_images": False, **(QUICK if quick else {})}
    files = (importlib.import_module(f"configs.{module}") for module in CONFIGURATIONS[name])
    return tuple({**file.config_dict, **changes} for file in files)


def with_random_weights(config: dict, folder: Path) -> dict:
    """Return `config` with files of random weights, written to `folder`, in place of those of ImageNet."""
    # Nothing is downloaded, and the stem stays frozen as published, which it would not be without any weights.
    files = {key: folder / f"{PRETRAINED[key]}.pth" for key in PRETRAINED if config[key] == "imagenet"}
    for key, file in files.items():
        if not file.exists():
            import torchvision

            torch.save(getattr(torchvision.models, PRETRAINED[key])(weights=None).state_dict(), file)
    return {**config, **{key: str(file) for key, file in files.items()}}


class Setup(NamedTuple):
    """What the measures of one way ("fast" or "plain") of one configuration need."""

    config: dict
    pose_config: dict
    hardware: Hardware
    network: torch.nn.Module
    train: MultiViewDataset
    test: MultiViewDataset


def make_setups(name: str, folder: Path, size: Size, quick: bool, device: str = "auto") -> dict[str, Setup]:
    """The same data and network for both ways.

    Fast: packed crops, devices and precision as the config says. Plain: PNG files and float32.
    """
    config, pose_config = (with_random_weights(config, folder) for config in read_configs(name, quick, device))
    folders = {"train": folder / name / "train", "test": folder / name / "test"}
    write_layout(folders["train"], config["inputDimension"], size.instants, SUBJECTS)
    write_layout(folders["test"], config["inputDimension"], size.test_instants, (9,))
    setups = {}
    # Datasets look for packed crops when they are opened, so the plain way has to come before they are packed.
    for way in ("plain", "fast"):
        if way == "fast":
            for path in folders.values():
                pack(path, progress=False)
        hardware, network = make_network(config, way)
        datasets = [MultiViewDataset(path, progress=False) for path in folders.values()]
        if way == "fast":
            datasets = [cache_on_device(dataset, config, hardware.device) for dataset in datasets]
        setups[way] = Setup(config, pose_config, hardware, network, *datasets)
    return setups


def make_network(config: dict, way: str) -> tuple[Hardware, torch.nn.Module]:
    """A network with poses and images as outputs, on the hardware and in the precision of a way."""
    precision = config["precision"] if way == "fast" else "float32"
    hardware = Hardware(config["device"], precision)
    torch.manual_seed(0)
    return hardware, hardware.place(build_network({**config, "output_types": ["3D", "img_crop"]}))


def write_layout(root: Path, size: int, instants: int, subjects: tuple[int, ...]) -> None:
    """Write a layout of synthetic pictures in front of others, with random poses."""
    rng = np.random.default_rng(0)
    writer = LayoutWriter(root, size)
    for seq in range(2 * len(subjects)):
        count = CAMERAS * max(1, instants // 2)
        pose = rng.normal(0, 0.3, (count, 51))
        pose[:, :3] = 0
        eye = np.tile(np.eye(3), (count, 1, 1))
        rows = {
            "frame": np.repeat(np.arange(count // CAMERAS), CAMERAS),
            "cam": np.tile(np.arange(CAMERAS), count // CAMERAS),
            "seq": np.full(count, seq),
            "subj": np.full(count, subjects[seq // 2]),
            "3D": pose,
            "extrinsic_rot": eye,
            "extrinsic_rot_inv": eye,
            "bounding_box_cam": rng.random((count, 4)),
            "intrinsic_crop": eye,
        }
        background = pictures(count, size, rng)
        crops, middle = background.copy(), slice(size // 4, -(size // 4))
        crops[:, middle, middle] = pictures(count, size // 2, rng)
        writer.add(crops, background, rows, f"seq_{seq:03d}")
    writer.finish()


def pictures(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth colors with a little noise: (count,size,size,3) uint8."""
    # PNG files of them are as large, and take as long to decode, as those of rendered people.
    coarse = rng.integers(40, 215, (count, 5, 5, 3)).repeat(-(-size // 5), 1).repeat(-(-size // 5), 2)
    return (coarse[:, :size, :size] + rng.integers(0, 3, (count, size, size, 3))).astype(np.uint8)
