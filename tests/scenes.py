"""A tiny set of full frames for tests: people of two colored rectangles each, who move before a plain background."""

from pathlib import Path

import numpy as np

from datasets import FrameWriter
from tests.synthetic import random_joints, ring_cameras
from tests.tiny import CHANGES

SIZE = 40, 72  # height and width of a frame, pixels
FOCAL = 60.0  # pixels
COLORS = np.array([(230, 60, 40), (50, 90, 230), (240, 220, 60), (80, 230, 120)])
# A person's rectangles at 1 m distance and focal length 1: half widths and the heights above the root, meters.
BODY, LEGS = (0.3, -0.1, 0.75), (0.18, -0.9, -0.1)


def write_scenes(root: str | Path, sequences: int = 4, instants: int = 5, cameras: int = 3, **changes) -> Path:
    """Write a set of `sequences` scenes and return its folder.

    changes: people (columns, 2), empty (columns without a person in sequence 1, 0), labels (of poses, True), boxes and
    positions (True), seed (0).
    """
    people, rng = changes.get("people", 2), np.random.default_rng(changes.get("seed", 0))
    writer = FrameWriter(root, size=SIZE)
    for seq in range(1, sequences + 1):
        subjects = np.arange(people) + 10 * seq
        subjects[people - changes.get("empty", 0) * (seq == 1) :] = -1
        img, backgrounds, rows, mask = _scene(seq, subjects, instants, cameras, rng)
        for key, names in {"labels": ["3D"], "boxes": ["box"], "positions": ["position"]}.items():
            if not changes.get(key, True):
                rows = {name: values for name, values in rows.items() if name not in names}
        writer.add(img, backgrounds, rows, f"seq_{seq:03d}", mask)
    writer.finish()
    return Path(root)


def scene_changes(data: str | Path, output: str | Path) -> dict:
    """What configs of tiny trainings on such a set change, of both stages."""
    shared = {name: value for name, value in CHANGES.items() if name not in ("inputDimension", "latent_3d")}
    return {
        **shared,
        "fullFrameResolution": [SIZE[1], SIZE[0]],
        "inputDimension": 32,
        "latent_3d": 60,
        "detector_width": 8,
        "batch_size_train": 4,
        "batch_size_test": 4,
        "precision": "float32",
        "dataset_folder_train": str(data),
        "output_folder": str(output),
    }


def _scene(seq: int, subjects: np.ndarray, instants: int, cameras: int, rng: np.random.Generator) -> tuple:
    """Frames (N,H,W,3), backgrounds by (seq, cam), rows and masks (N,H,W) of one sequence; N = instants * cameras."""
    rotation, center = ring_cameras(cameras)
    people, (height, width) = len(subjects), SIZE
    joints = random_joints(instants * people, rng).reshape(instants, people, 17, 3)
    # They walk around each other, far enough apart that nobody stands in somebody else.
    angle = rng.uniform(0, 2 * np.pi) + 0.4 * np.arange(instants)[:, None] + 2 * np.pi * np.arange(people) / people
    place = np.stack([np.cos(angle), np.sin(angle), np.full_like(angle, 0.92)], axis=-1)
    joints += (place - joints[:, :, 0])[:, :, None]
    in_camera = np.einsum("cij,tcpkj->tcpki", rotation, joints[:, None] - center[:, None, None])
    in_camera = in_camera.reshape(-1, people, 17, 3)
    intrinsics = np.array([[FOCAL, 0, (width - 1) / 2], [0, FOCAL, (height - 1) / 2], [0, 0, 1]])
    cam = np.tile(np.arange(cameras), instants)
    backgrounds = {(seq, c): _background(c) for c in range(cameras)}
    drawn = [_draw(backgrounds[seq, c], of[:, 0], intrinsics, subjects) for c, of in zip(cam, in_camera, strict=True)]
    frames, masks, boxes = zip(*drawn, strict=True)
    nobody = subjects < 0
    positions = np.where(nobody[:, None], np.nan, in_camera[:, :, 0])
    poses = np.where(nobody[:, None, None], np.nan, in_camera - in_camera[:, :, :1])
    count = len(cam)
    rows = {
        "frame": np.repeat(np.arange(instants), cameras),
        "cam": cam,
        "seq": np.full(count, seq),
        "subj": np.tile(subjects, (count, 1)),
        "extrinsic_rot": np.tile(rotation, (instants, 1, 1)),
        "extrinsic_rot_inv": np.tile(rotation.swapaxes(1, 2), (instants, 1, 1)),
        "intrinsics": np.tile(intrinsics, (count, 1, 1)),
        "3D": poses.reshape(count, people, 51),
        "box": np.stack(boxes),
        "position": positions,
    }
    return np.stack(frames), backgrounds, rows, np.stack(masks)


def _background(cam: int) -> np.ndarray:
    height, width = SIZE
    v, u = np.mgrid[:height, :width] / width
    return (255 * np.stack([0.3 + 0.2 * u, 0.35 + 0.1 * cam + 0 * u, 0.5 - 0.3 * v], axis=-1)).astype(np.uint8)


def _draw(background: np.ndarray, roots: np.ndarray, intrinsics: np.ndarray, subjects: np.ndarray) -> tuple:
    """A frame (H,W,3), its mask (H,W) and the boxes (P,4) of people with these roots (P,3), the nearest in front."""
    frame, mask = background.copy(), np.zeros(SIZE, np.uint8)
    boxes = np.full((len(roots), 4), np.nan)
    for person in np.argsort(-roots[:, 2]):
        if subjects[person] < 0:
            continue
        shown = np.zeros(SIZE, bool)
        for half, low, high in (BODY, LEGS):
            corners = roots[person] + np.array([(-half, -high, 0), (half, -low, 0)])
            (left, top), (right, bottom) = (corners @ intrinsics.T)[:, :2] / corners[:, 2:]
            rows, columns = slice(max(0, round(top)), round(bottom) + 1), slice(max(0, round(left)), round(right) + 1)
            shown[rows, columns] = True
            frame[rows, columns] = COLORS[subjects[person] % 10] * (0.6 if low < -0.5 else 1.0)
        mask[shown] = person + 1
        if shown.any():
            v, u = np.nonzero(shown)
            boxes[person] = u.min(), v.min(), np.ptp(u) + 1, np.ptp(v) + 1
    return frame, mask, boxes
