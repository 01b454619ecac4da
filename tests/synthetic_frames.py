"""A tiny valid layout of full frames (version 2): colored figures that walk past each other, seen by a ring of cameras.

Each person is a flat rectangle around its joints, the nearer one in front: boxes, masks and occlusion are exact.
"""

from pathlib import Path

import numpy as np

from datasets.layout.frame_writer import FrameWriter
from tests.synthetic import TINTS, random_joints, ring_cameras

WALK = 0.9  # meters, the largest distance of a person from the middle of the scene
FOCAL = 0.9  # focal length by the height of the frame
MARGIN = 2  # pixels around the joints


def write_synthetic_frames(
    root: str | Path,
    size: tuple[int, int] = (48, 64),
    scenes: tuple[tuple[int, ...], ...] = ((1, 5), (5,), (), (6, 1)),
    instants: int = 4,
    cameras: int = 3,
    seed: int = 0,
    masks: bool = True,
    people: int = 2,
) -> Path:
    """Write a layout of len(scenes) * instants * cameras frames, and return its folder.

    size: (height, width). scenes: the people of each sequence; sequences count from 1. people: number of columns.
    """
    rng = np.random.default_rng(seed)
    writer = FrameWriter(root, size)
    for seq, subjects in enumerate(scenes, 1):
        img, bg, rows, mask = synthetic_scene(seq, subjects, size, instants, cameras, people, rng)
        writer.add(img, bg, rows, f"seq_{seq:03d}", mask if masks else None)
    writer.finish()
    return Path(root)


def synthetic_scene(
    seq: int,
    subjects: tuple[int, ...],
    size: tuple[int, int],
    instants: int,
    cameras: int,
    people: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict, dict, np.ndarray]:
    """Frames (N,H,W,3), backgrounds by (seq, cam), rows and masks (N,H,W) of one sequence, for `FrameWriter.add`."""
    height, width = size
    rotation, center = ring_cameras(cameras)
    intrinsics = np.array([[FOCAL * height, 0, (width - 1) / 2], [0, FOCAL * height, (height - 1) / 2], [0, 0, 1]])
    bg = {(seq, cam): rng.integers(0, 100, (height, width, 3)).astype(np.uint8) for cam in range(cameras)}
    count = instants * cameras
    rows = {
        "camera_position": np.tile(center, (instants, 1)),
        "frame": np.repeat(5 * np.arange(instants), cameras),
        "cam": np.tile(np.arange(cameras), instants),
        "seq": np.full(count, seq),
        "subj": np.tile([*subjects, *[-1] * (people - len(subjects))], (count, 1)),
        "extrinsic_rot": np.tile(rotation, (instants, 1, 1)),
        "extrinsic_rot_inv": np.tile(rotation.swapaxes(1, 2), (instants, 1, 1)),
        "intrinsics": np.tile(intrinsics, (count, 1, 1)),
        "3D": np.full((count, people, 51), np.nan),
        "box": np.full((count, people, 4), np.nan),
        "position": np.full((count, people, 3), np.nan),
        "occlusion": np.full((count, people), np.nan),
        "motion": np.full(count, "walking"),
    }
    img = np.stack([bg[seq, cam] for cam in rows["cam"]])
    mask = np.zeros((count, height, width), np.uint8)
    for column in range(len(subjects)):
        way = rng.uniform(-WALK, WALK, (2, 1, 2)) * np.linspace([1, 0], [0, 1], instants).T[..., None]
        joints = random_joints(instants, rng)
        joints[..., :2] += way.sum(0)[:, None]
        joints = np.einsum("cij,tcpj->tcpi", rotation, joints[:, None] - center[:, None]).reshape(count, 17, 3)
        rows["position"][:, column] = joints[:, 0]
        rows["3D"][:, column] = (joints - joints[:, :1]).reshape(count, 51)
        rows["box"][:, column] = _boxes(joints @ intrinsics.T, size)
    for row in range(count):
        _paint(img[row], mask[row], rows, row)
    return img, bg, rows, mask


def _boxes(projected: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N,4) of the pixels around projected joints (N,17,3), cut at the frame; NaN where nothing is left."""
    pixels = projected[..., :2] / projected[..., 2:]
    limits = np.array(size[::-1])
    low = np.clip(np.floor(pixels.min(1)) - MARGIN, 0, limits)
    high = np.clip(np.ceil(pixels.max(1)) + MARGIN, 0, limits)
    return np.where((high > low).all(1, keepdims=True), np.concatenate([low, high - low], axis=1), np.nan)


def _paint(frame: np.ndarray, mask: np.ndarray, rows: dict, row: int) -> None:
    """Paint the people of a row from the farthest to the nearest, and note what of each is hidden."""
    boxes, depth = rows["box"][row], rows["position"][row, :, 2]
    present = [column for column in np.argsort(-depth) if np.isfinite(boxes[column]).all()]
    for column in present:
        left, top, width, height = boxes[column].astype(int)
        tint = np.array(TINTS[rows["subj"][row, column]])
        frame[top : top + height, left : left + width] = 255 * tint
        mask[top : top + height, left : left + width] = column + 1
    for column in present:
        rows["occlusion"][row, column] = 1 - (mask == column + 1).sum() / boxes[column, 2:].prod()
