"""The training layout on disk: its files, and how they are written.

<root>/labels.h5                                           one row per (instant, camera)
<root>/seq_003/cam_01/img_crop_000042.png                  RGB uint8, the person
<root>/seq_003/cam_01/bg_crop_000042.png                   the same box without the person; optional
<root>/seq_003/cam_01/mask_crop_000042.png                 8-bit gray, 255 where the person is; optional
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.layout.labels import POSE_KEYS, ROW_SHAPES
from datasets.layout.pieces import PieceWriter, Rows, Shapes, checked_rows
from datasets.layout.png import map_threads, write_png
from utils.errors import UserError

IMAGE_KINDS = ("img_crop", "bg_crop")
CROP_CHANNELS = {"img_crop": 3, "bg_crop": 3, "mask_crop": 1}  # all kinds of crops
MIN_SIZE, MAX_SIZE = 16, 4096  # side of a crop, pixels


def image_path(root: str | Path, seq: int, cam: int, frame: int, kind: str) -> str:
    """Path of one crop; `kind` is one of `CROP_CHANNELS`."""
    return f"{camera_folder(root, seq, cam)}/{kind}_{frame:06d}.png"


def camera_folder(root: str | Path, seq: int, cam: int) -> str:
    """The folder of the images of one camera in one sequence."""
    # One per sequence and camera, so that no folder gets hundreds of thousands of files.
    return f"{root}/seq_{seq:03d}/cam_{cam:02d}"


def check_size(size: int) -> None:
    """Raises UserError for a size of crops that is too small or too large for any network."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UserError(f"size is {size}; expected at least {MIN_SIZE} pixels, at most {MAX_SIZE}")


def check_images(kind: str, images: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises UserError unless `images` are uint8 of this shape."""
    if images.shape != shape or images.dtype != np.uint8:
        raise UserError(f"{kind} is {images.dtype} {images.shape}; expected uint8 {shape}")


def write_images(files: Sequence[tuple[str, np.ndarray]], threads: int) -> None:
    """Write images by threads: (path, image (H,W,3) or (H,W) uint8). Their folders are made."""
    for folder in {Path(path).parent for path, _ in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for _ in map_threads(lambda file: write_png(*file), files, threads):
        pass


class LayoutWriter(PieceWriter):
    """Writes a layout of crops (version 1) in pieces, so that a killed job resumes where it stopped.

        writer = LayoutWriter(root, size=128)
        for key in keys:
            if not writer.has(key):
                writer.add(img_crop, bg_crop, rows, key)
        writer.finish()

    size: side R of the crops, pixels. total, threads, errors: as `PieceWriter`; UserError for a size below 16, too.
    """

    def __init__(self, root: str | Path, size: int, total: int | None = None, threads: int = 2):
        check_size(size)
        self.size = size
        super().__init__(root, {"size": size}, total, threads)

    def add(
        self,
        img_crop: np.ndarray,
        bg_crop: np.ndarray | None,
        rows: Rows,
        key: str,
        mask_crop: np.ndarray | None = None,
    ) -> None:
        """Write N crops and their labels as the piece `key` (a file name, like "seq_003").

        img_crop, bg_crop: (N,R,R,3) uint8; bg_crop: None where there is no background.
        mask_crop: (N,R,R) uint8, the share of the person in each pixel times 255; None where no masks are known.
        rows: the per-row keys of labels.h5, each (N,...): `frame`, `cam`, `seq`, `subj`, `3D` (N,51) or (N,17,3),
            `extrinsic_rot`, `extrinsic_rot_inv`, `bounding_box_cam`, `intrinsic_crop`. `3D` may be missing where no
            poses are known. Further keys (numbers or short strings, such as `motion`) are stored as given. All pieces
            must have the same keys.
        """
        rows = checked_rows(rows, len(img_crop), ROW_SHAPES, POSE_KEYS, "crops")
        images = {"img_crop": img_crop, "bg_crop": bg_crop, "mask_crop": mask_crop}
        images = {kind: crops for kind, crops in images.items() if crops is not None}
        for kind, crops in images.items():
            shape = (len(img_crop), self.size, self.size, CROP_CHANNELS[kind])
            check_images(kind, crops, shape[: 3 if kind == "mask_crop" else 4])
        ids = list(zip(rows["seq"], rows["cam"], rows["frame"], strict=True))
        files = [
            (image_path(self.root, *row, kind), crop)
            for kind in images
            for row, crop in zip(ids, images[kind], strict=True)
        ]
        # The part file comes last: a kill before it leaves images that the next call writes again.
        write_images(files, self.threads)
        self._save(key, rows)

    def _row_shapes(self, keys: list[str]) -> Shapes:
        return ROW_SHAPES
