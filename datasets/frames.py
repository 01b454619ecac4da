"""Reads full frames and labels of a training layout of version 2, by row or by batch."""

from datasets.layout.frame_writer import FRAME_CHANNELS
from datasets.layout.labels import FRAME_ROW_KEYS, FRAMES, OPTIONAL_FRAME_KEYS
from datasets.reader import LayoutDataset

FRAME_BATCH_KEYS = (*FRAME_CHANNELS, *FRAME_ROW_KEYS)
_OPTIONAL = ("mask", *OPTIONAL_FRAME_KEYS)


class FrameDataset(LayoutDataset):
    """Full frames and labels of several people (version 2). One item is one row: one instant seen by one camera.

    root: folder of the layout. keys: which of FRAME_BATCH_KEYS (or further per-row numbers of labels.h5) an item has;
    None: all that the set has. `kinds` are the kinds of images of the set. preload: read all images into memory,
    each background once. progress: show a progress bar meanwhile.
    Packed frames (datasets/layout/packed.py) are used where there are any, so that nothing is decoded.

    `dataset[row]` returns a dictionary of tensors, `dataset.__getitems__(rows)` the same with a batch dimension:
        img, bg: (3,H,W) uint8 RGB, the frame and the same view without people.
        mask: (H,W) uint8, 0 nobody, p + 1 the person of column p that is visible there.
        extrinsic_rot, extrinsic_rot_inv: (3,3) float32, world -> camera and its inverse.
        intrinsics: (3,3) float32, camera -> pixels of the frame, pixel centers at integers.
        camera_position: (3,) float32, the camera's center in the world, meters, where the set has it.
        subj: (P,) int64, the people; -1: nobody in this column.
        3D: (P,51) float32, meters, camera frame, root-centered. NaN where unknown, as in all that follow.
        box: (P,4) float32, left, top, width, height in pixels of the whole silhouette inside the frame.
        position: (P,3) float32, the root, meters, camera frame. occlusion: (P,) float32, share that others hide.
        frame, cam, seq: int64.
    `size` is (height, width) of the frames in pixels, `num_people` the number P of columns.

    Raises UserError for a missing or unfinished layout or one of version 1, a missing key, and an image that is
    missing, corrupt or of another size.
    """

    version = FRAMES
    batch_keys = FRAME_BATCH_KEYS

    @property
    def num_people(self) -> int:
        """Number P of columns: the largest number of people in a scene."""
        return self.labels.num_people

    def _default_keys(self) -> tuple[str, ...]:
        return tuple(k for k in FRAME_BATCH_KEYS if k not in _OPTIONAL or k in self.kinds or k in self.labels)
