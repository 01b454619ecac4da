"""From an image of a person to a 3D pose."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models import EncodeDecode
from training.loop.hardware import Hardware
from training.loop.threads import map_batches
from training.trained.copies import Estimate, estimate_poses
from training.trained.fusion import Fused, fuse_cameras
from utils.errors import UserError
from utils.images import normalize, resize
from utils.pictures import as_rgb, read_picture
from utils.readers import whole_number
from utils.skeleton import NUM_JOINTS

MAX_SIDE = 1 << 14  # of a crop of a picture, pixels
Crops = np.ndarray | torch.Tensor | Image.Image | str | Path | Sequence


class Poses(np.ndarray):
    """Poses (N,17,3) float32, meters: an array that also says how far to trust each of them.

    `trust` (N,) in 0..1: the expected fraction of joints within 150 mm of the truth, 0 where there is no person.
    `expected_error` (N,): N-MPJPE, mm. `flagged` (N,) bool: the picture is unlike nearly all held-out crops of the
    training. All are None for weights that were not calibrated (configs/calibrate_trust.py), where it was turned off,
    and in arrays computed from this one.
    """

    trust: np.ndarray | None
    expected_error: np.ndarray | None
    flagged: np.ndarray | None

    @classmethod
    def of(cls, poses: np.ndarray, *judged: np.ndarray | None) -> "Poses":
        """Poses with their trust, expected errors and flags."""
        array = poses.view(cls)
        array.trust, array.expected_error, array.flagged = judged or (None, None, None)
        return array

    def __array_finalize__(self, source: np.ndarray | None) -> None:
        # Rows of a part of this array would not be those of its trust.
        self.trust = self.expected_error = self.flagged = None


class PoseFromCrop:
    """Callable: crops of people -> `Poses` (N,17,3), meters, root-centered, in the camera frame of each crop.

    Axes: x right, y down, z forward, of a camera that looks at the center of the crop. Joints are in the order of
    `utils.skeleton.JOINT_NAMES`, with the hip (joint 0) at the origin. A crop is a square of 2 m at the person's
    distance with the hip in its center; it is resized with anti-aliasing. `device`, `precision` and `flip_test`
    (more accurate, twice the time) as in a config. `trust`: judge the poses, where the network was calibrated for it;
    four times the time of a pose alone. Flagged pictures make a warning. Raises UserError when the network was not
    trained for poses.
    """

    def __init__(
        self,
        network: EncodeDecode,
        device: str = "auto",
        precision: str = "auto",
        flip_test: bool = False,
        trust: bool = True,
    ):
        if "3D" not in network.output_types:
            raise UserError("this network renders views but was not trained for poses; expected weights of stage 2")
        # A new network has the mean zero, which no real poses have.
        if not network.pose_mean.any():
            raise UserError(
                "this network holds no pose statistics, because published files have none; expected those of its "
                "training data (pose_from_crop(statistics=FOLDER), or network.set_pose_statistics), or other weights"
            )
        for name, value in {"flip_test": flip_test, "trust": trust}.items():
            if not isinstance(value, bool):
                raise UserError(f"{name} is {value!r}; expected True or False")
        self.hardware = Hardware(device, precision)
        self.network = self.hardware.place(network.eval())
        self.flip_test, self.trust = flip_test, trust

    def __call__(self, crops: Crops, batch_size: int = 64) -> Poses:
        """Poses of `crops`, which may be anything that `read_crops` accepts, `batch_size` at a time."""
        size = whole_number(batch_size, least=1)
        if size is None:
            raise UserError(f"batch_size is {batch_size!r}; expected a whole number, at least 1")
        batches = read_crops(crops, self.network.size).split(size)
        estimates = list(map_batches(self._estimate, batches, self.hardware.device))
        pose, *judged = (
            None if parts[0] is None else torch.cat(parts).numpy() for parts in zip(*estimates, strict=True)
        )
        poses = Poses.of(pose.reshape(-1, NUM_JOINTS, 3), *judged)
        if poses.flagged is not None and poses.flagged.any():
            warnings.warn(
                f"{poses.flagged.sum()} of {len(poses)} pictures are unlike the training crops of this network: do "
                "not rely on their poses (see .flagged and .trust)",
                stacklevel=2,
            )
        return poses

    def nobody(self) -> Poses:
        """The poses (0,17,3) of no crops, judged as those of others are."""
        judged = [np.empty(0, kind) for kind in (np.float32, np.float32, bool)]
        judges = self.trust and self.network.trust is not None
        return Poses.of(np.empty((0, NUM_JOINTS, 3), np.float32), *(judged if judges else ()))

    def fuse(
        self, crops: Crops, rotations: np.ndarray, instants: np.ndarray | None = None, batch_size: int = 64
    ) -> tuple[Fused, Poses]:
        """Poses of N crops fused over the cameras that see an instant, in the world frame, and those of each crop.

        rotations: (N,3,3), world -> camera of each crop. instants: (N,) ids, equal for crops of the same person at the
        same time; None: all N are of one. Cameras are weighted by how they agree, less in depth than across, and by
        the square of trust, where the network was calibrated for it.
        """
        poses = self(crops, batch_size)
        return fuse_cameras(poses, rotations, instants, poses.trust), poses

    @torch.no_grad()
    def _estimate(self, batch: torch.Tensor) -> Estimate:
        with self.hardware.autocast():
            images = normalize(batch.to(self.hardware.device))
            estimate = estimate_poses(self.network, images, self.flip_test, self.trust)
        return Estimate(*(None if values is None else values.cpu() for values in estimate))


def read_crops(crops: Crops, size: int) -> torch.Tensor:
    """Square RGB crops -> uint8 (N,3,size,size), resized with anti-aliasing.

    `crops`: an image file, a PIL image, uint8 arrays (H,W,3) or (N,H,W,3), uint8 tensors (3,H,W) or (N,3,H,W), or a
    sequence of any of these, whose sizes may differ. Files and PIL images are rotated as their EXIF orientation tells.
    Raises UserError for anything else, and for crops that are not square (`crop_square` makes one), because resizing
    them to a square would change the person's proportions.
    """
    if isinstance(crops, (list, tuple)):
        if not crops:
            raise UserError("no crops given; expected at least one")
        # Of one level: a list that holds itself would have no end.
        if nested := [crop for crop in crops if isinstance(crop, (list, tuple))]:
            raise UserError(f"a crop is of type {type(nested[0]).__name__}; expected a list of crops, not of lists")
        return torch.cat([read_crops(crop, size) for crop in crops])
    pixels = _channels_first(crops)
    height, width = pixels.shape[-2:]
    if height != width or not height:
        raise UserError(
            f"a crop is {width}x{height} px; expected a square, 2 m wide at the person's distance, hip in its center"
        )
    return pixels if height == size else resize(pixels, size)


def crop_square(
    picture: np.ndarray | Image.Image | str | Path, center: tuple[float, float], side: float
) -> Image.Image:
    """Crop a square of `side` pixels around `center` (x, y) from a whole picture; black beyond its border.

    `center` is the hip. `side` is the length in pixels of 2 m at the person's distance: about 1.15 times the height
    of a person who stands upright. The crop is not rectified: near the corners of a wide-angle picture, poses come out
    rotated by up to the angle between the viewing directions of the picture's center and of the person. Raises
    UserError for a square that shows nothing of the picture.
    """
    x, y, side = _square(center, side)
    pixels = _channels_first(picture)
    if len(pixels) != 1:
        raise UserError(f"{len(pixels)} pictures given; expected one")
    height, width = pixels.shape[-2:]
    # The side is rounded once, so that the crop stays square wherever its center falls.
    x0, y0, side = round(x - side / 2), round(y - side / 2), round(side)
    if not (-side < x0 < width and -side < y0 < height):
        raise UserError(f"a crop of {side} px around ({x:g}, {y:g}) is outside of the picture of {width}x{height} px")
    return Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).crop((x0, y0, x0 + side, y0 + side))


def _square(center: tuple[float, float], side: float) -> tuple[float, float, float]:
    """Center x, y and side of a square, pixels."""
    try:
        square = np.array([*center, side])
    except (TypeError, ValueError):
        square = np.array(None)
    if square.shape != (3,) or square.dtype.kind not in "iuf" or not np.isfinite(square).all():
        raise UserError(f"center of a crop is {center!r}, its side {side!r}; expected (x, y) and a number, pixels")
    x, y, side = square.tolist()
    if not 1 <= side <= MAX_SIDE:
        raise UserError(f"side of a crop is {side:g} px; expected 1 to {MAX_SIDE} px")
    return x, y, side


def _channels_first(crops: np.ndarray | torch.Tensor | Image.Image | str | Path) -> torch.Tensor:
    """One file, image, array or tensor -> uint8 (N,3,H,W)."""
    if isinstance(crops, (str, Path)):
        crops = read_picture(crops)
    if isinstance(crops, Image.Image):
        crops = as_rgb(crops)
    if isinstance(crops, np.ndarray):
        found, layout = f"an array {crops.shape} {crops.dtype}", "(H,W,3) or (N,H,W,3)"
        # A copy where strides are negative, as in image[:, ::-1], because tensors have no such strides; and of what
        # cannot be written, as np.asarray(image) of a PIL image, about which torch warns.
        pixels = torch.from_numpy(np.require(crops, requirements="CWE")) if crops.dtype == np.uint8 else None
        pixels = pixels.movedim(-1, -3) if pixels is not None and pixels.dim() > 2 else pixels
    elif isinstance(crops, torch.Tensor):
        found, layout = f"a tensor {tuple(crops.shape)} {crops.dtype}", "(3,H,W) or (N,3,H,W)"
        pixels = crops.detach().cpu() if crops.dtype == torch.uint8 and not crops.is_meta else None
    else:
        raise UserError(f"a crop is of type {type(crops).__name__}; expected an array, a tensor, a PIL image or a file")
    if pixels is None or pixels.dim() not in (3, 4) or pixels.shape[-3] != 3 or not len(pixels):
        raise UserError(f"crops are {found}; expected uint8 RGB {layout}")
    return pixels if pixels.dim() == 4 else pixels[None]
