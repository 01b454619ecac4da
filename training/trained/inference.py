"""From a picture of a person to a 3D pose, with a trained network and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms.v2.functional import resize

from training.loop.hardware import Hardware
from training.trained.load import load_trained
from training.trained.testing import trained_outputs
from utils.errors import UserError
from utils.geometry import mirror_pose
from utils.images import normalize
from utils.skeleton import NUM_JOINTS

Crops = np.ndarray | torch.Tensor | Image.Image | str | Path | Sequence


def open_network(config: dict, said: frozenset[str] = frozenset()) -> torch.nn.Module:
    """The network at `network_path`, in eval mode, on the CPU, with its resolved config as `network.config`.

    Of `output_types` only what was trained is kept, unless the user gave that key (`said`); keys of the architecture
    in `said` must agree with the file. A published file holds no statistics of poses: `set_pose_statistics` gives them.
    """
    network, network_config, checkpoint = load_trained(config, said)
    if "output_types" not in said:
        network.output_types = trained_outputs(network.output_types, checkpoint.config)
    network.config = network_config
    return network.eval()


def direct_poses(network: torch.nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """Poses (B,51), metres, camera frame, of normalised crops (B,3,R,R)."""
    _, points = network.encode(crops)
    return network.denormalize_pose(network.pose(points))


def mirrored_poses(network: torch.nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """The same by way of the crops' mirror images: the mean of both is better than either (`flip_test`)."""
    return mirror_pose(direct_poses(network, crops.flip(3)))


class PoseFromCrop:
    """Callable: crops of people -> poses (N,17,3) float32, metres, root-centred, in the camera frame of each crop.

    The frame: x right, y down, z forward, of a camera that looks at the centre of the crop; joints in the order of
    `utils.skeleton.JOINT_NAMES`, the hip (joint 0) at the origin. A crop is the square, 2 m wide at the person's
    distance, with the hip in its middle; of any size, it is resized with anti-aliasing. `device`, `precision` and
    `flip_test` (slower, and better) as in a config. Raises UserError when the network never learned poses.
    """

    def __init__(
        self, network: torch.nn.Module, device: str = "auto", precision: str = "auto", flip_test: bool = False
    ):
        if "3D" not in network.output_types:
            raise UserError("this network paints views but learned no poses; expected weights of stage 2")
        if not network.pose_mean.any():
            raise UserError(
                "this network holds no statistics of poses, as published files do not; expected them from the training "
                "layout of its data (statistics=FOLDER, or network.set_pose_statistics)"
            )
        self.hardware = Hardware(device, precision)
        self.network = self.hardware.place(network.eval())
        self.flip_test = flip_test

    @torch.no_grad()
    def __call__(self, crops: Crops, batch_size: int = 64) -> np.ndarray:
        """`crops` as `read_crops` takes them; `batch_size` of them go through the network at a time."""
        poses = []
        for batch in read_crops(crops, self.network.size).split(batch_size):
            with self.hardware.autocast():
                images = normalize(batch.to(self.hardware.device))
                pose = direct_poses(self.network, images)
                if self.flip_test:
                    pose = (pose + mirrored_poses(self.network, images)) / 2
            poses.append(pose.unflatten(1, (NUM_JOINTS, 3)).cpu())
        return torch.cat(poses).numpy()


def read_crops(crops: Crops, size: int) -> torch.Tensor:
    """Square RGB crops -> uint8 (N,3,size,size), resized with anti-aliasing.

    `crops`: an image file, a PIL image, uint8 arrays (H,W,3) or (N,H,W,3), uint8 tensors (3,H,W) or (N,3,H,W), or a
    sequence of any of these, whose sizes may differ. Raises UserError for anything else, and for crops that are not
    square: to squeeze a picture would change the person's proportions (`cut_square` cuts one).
    """
    if isinstance(crops, (list, tuple)):
        if not crops:
            raise UserError("no crops were given; expected at least one")
        return torch.cat([read_crops(crop, size) for crop in crops])
    pixels = _channels_first(crops)
    height, width = pixels.shape[-2:]
    if height != width or not height:
        raise UserError(
            f"a crop is {width}x{height} px; expected a square, 2 m wide at the person's distance, hip in the middle"
        )
    return resize(pixels, [size, size], antialias=True)


def cut_square(picture: np.ndarray | Image.Image | str | Path, centre: tuple[float, float], side: float) -> Image.Image:
    """Cut a crop out of a whole picture: `side` pixels wide about `centre` (x, y), black beyond the border.

    `centre` is the hip and `side` what 2 m take at the person's distance, about 1.15 times the height of somebody who
    stands upright. The pixels are not turned towards the person: in the corners of a wide-angle picture poses come
    out turned by up to the angle between the picture's centre and the person's.
    """
    if not side >= 1:
        raise UserError(f"side of a crop is {side} px; expected at least 1")
    pixels = _channels_first(picture)
    if len(pixels) != 1:
        raise UserError(f"{len(pixels)} pictures were given; expected one")
    x0, y0 = (round(float(middle) - side / 2) for middle in centre)
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    return image.crop((x0, y0, x0 + round(side), y0 + round(side)))


def _channels_first(crops) -> torch.Tensor:
    """One file, image, array or tensor -> uint8 (N,3,H,W)."""
    if isinstance(crops, (str, Path)):
        crops = _read_image(Path(crops))
    if isinstance(crops, Image.Image):
        crops = np.array(crops.convert("RGB"))
    if isinstance(crops, np.ndarray):
        found, layout = f"array {crops.shape} {crops.dtype}", "(H,W,3) or (N,H,W,3)"
        pixels = torch.from_numpy(np.ascontiguousarray(crops)) if crops.dtype == np.uint8 else None
        pixels = pixels.movedim(-1, -3) if pixels is not None and pixels.dim() > 2 else pixels
    elif isinstance(crops, torch.Tensor):
        found, layout = f"tensor {tuple(crops.shape)} {crops.dtype}", "(3,H,W) or (N,3,H,W)"
        pixels = crops.detach().cpu() if crops.dtype == torch.uint8 else None
    else:
        raise UserError(f"a crop is of type {type(crops).__name__}; expected an array, a tensor, a PIL image or a file")
    if pixels is None or pixels.dim() not in (3, 4) or pixels.shape[-3] != 3 or not len(pixels):
        raise UserError(f"crops are an {found}; expected uint8 RGB {layout}")
    return pixels if pixels.dim() == 4 else pixels[None]


def _read_image(path: Path) -> Image.Image:
    """An RGB image, turned as the camera that took it says."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"no such file: {str(path)!r}; expected an image") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(f"{str(path)!r} cannot be read ({reason}); expected an image such as PNG or JPEG") from error
