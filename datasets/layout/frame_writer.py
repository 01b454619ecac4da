"""Version 2 of the training layout on disk, full frames of several people: its files, and how they are written.

<root>/labels.h5                                 one row per (instant, camera), a column per person
<root>/seq_003/cam_01/img_000042.png             RGB uint8, the frame
<root>/seq_003/cam_01/bg.png                     the same view without people
<root>/seq_003/cam_01/mask_000042.png            8-bit gray: 0 nobody, p + 1 the person of column p; optional
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.layout.labels import FRAMES, MAX_PEOPLE, NOBODY, OPTIONAL_FRAME_KEYS, row_shapes
from datasets.layout.pieces import PieceWriter, Rows, Shapes, checked_rows
from datasets.layout.writer import camera_folder, check_images, check_size, write_images
from utils.errors import UserError

FRAME_CHANNELS = {"img": 3, "bg": 3, "mask": 1}  # all kinds of images of version 2


def frame_path(root: str | Path, seq: int, cam: int, frame: int, kind: str) -> str:
    """Path of one image; `kind` is one of `FRAME_CHANNELS`. All frames of a camera in a sequence share one "bg"."""
    number = "" if kind == "bg" else f"_{frame:06d}"
    return f"{camera_folder(root, seq, cam)}/{kind}{number}.png"


class FrameWriter(PieceWriter):
    """Writes a layout of full frames (version 2) in pieces, so that a killed job resumes where it stopped.

        writer = FrameWriter(root, size=(128, 228))
        for key in keys:
            if not writer.has(key):
                writer.add(img, {(seq, cam): background, ...}, rows, key, mask)
        writer.finish()

    size: (height, width) of all frames, pixels. total, threads, errors: as `PieceWriter`; UserError for a side below
    16, too.
    """

    version = FRAMES

    def __init__(self, root: str | Path, size: tuple[int, int], total: int | None = None, threads: int = 2):
        self.size = tuple(map(int, size))
        for side in self.size:
            check_size(side)
        super().__init__(root, {"size": list(self.size)}, total, threads)

    def add(
        self,
        img: np.ndarray,
        bg: Mapping[tuple[int, int], np.ndarray],
        rows: Rows,
        key: str,
        mask: np.ndarray | None = None,
    ) -> None:
        """Write N frames and their labels as the piece `key` (a file name, like "seq_003").

        img: (N,H,W,3) uint8. bg: the background (H,W,3) uint8 of each (seq, cam) of the rows; those that an earlier
            piece wrote may be missing. mask: (N,H,W) uint8, 0 nobody, p + 1 the person of column p; None: not known.
        rows: the per-row keys of labels.h5, each (N,...): `frame`, `cam`, `seq`, `subj` (N,P), -1 where there is
            nobody, `extrinsic_rot`, `extrinsic_rot_inv`, `intrinsics` and, NaN where unknown, `3D` (N,P,51) or
            (N,P,17,3), `box` (N,P,4), `position` (N,P,3), `occlusion` (N,P), which may be missing, as may
            `camera_position` (N,3), the cameras' centers in the world, meters. Further keys
            (numbers or short strings, such as `motion`) are stored as given. All pieces must have the same keys; P may
            differ: pieces of fewer people get columns of nobody.
        """
        count, people = len(img), _num_people(rows)
        rows = checked_rows(rows, count, row_shapes(FRAMES, people), OPTIONAL_FRAME_KEYS, "frames")
        check_images("img", img, (count, *self.size, 3))
        for place, background in bg.items():
            check_images(f"bg of seq {place[0]}, cam {place[1]},", background, (*self.size, 3))
        if mask is not None:
            check_images("mask", mask, (count, *self.size))
            if mask.max(initial=0) > people:
                raise UserError(f"mask holds {mask.max()}; expected at most {people}, the number of columns")
        # The part file comes last: a kill before it leaves images that the next call writes again.
        write_images(self._files(img, bg, mask, rows), self.threads)
        self._save(key, rows)

    def _files(
        self, img: np.ndarray, bg: Mapping[tuple[int, int], np.ndarray], mask: np.ndarray | None, rows: Rows
    ) -> list[tuple[str, np.ndarray]]:
        ids = np.stack([rows["seq"], rows["cam"], rows["frame"]], axis=1).tolist()
        files = []
        for seq, cam in sorted({(seq, cam) for seq, cam, _ in ids}):
            path = frame_path(self.root, seq, cam, 0, "bg")
            if (seq, cam) in bg:
                files.append((path, bg[seq, cam]))
            elif not Path(path).exists():
                raise UserError(f"no background of seq {seq}, cam {cam}; expected one for each sequence and camera")
        for kind, images in (("img", img), ("mask", mask)):
            if images is not None:
                files += [(frame_path(self.root, *row, kind), image) for row, image in zip(ids, images, strict=True)]
        return files

    def _row_shapes(self, keys: list[str]) -> Shapes:
        people = max(self._load(key, ["subj"])["subj"].shape[1] for key in keys)
        return row_shapes(FRAMES, people)

    @staticmethod
    def _whole(array: np.ndarray, row_shape: tuple[int, ...]) -> np.ndarray:
        if array.shape[1:] == row_shape:
            return array
        nobody = NOBODY if array.dtype.kind == "i" else np.nan
        added = np.full((len(array), row_shape[0] - array.shape[1], *row_shape[1:]), nobody, array.dtype)
        return np.concatenate([array, added], axis=1)


def _num_people(rows: Rows) -> int:
    shape = np.shape(rows.get("subj", np.zeros((0, 1))))
    if len(shape) != 2 or not 1 <= shape[1] <= MAX_PEOPLE:
        raise UserError(f"subj has shape {shape}; expected (N, people), 1 to {MAX_PEOPLE} people")
    return shape[1]
