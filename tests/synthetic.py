"""A tiny valid training layout for tests: colored blobs at the joints of random people, seen by a ring of cameras."""

import hashlib
from pathlib import Path

import numpy as np

from datasets.cameras.crop_camera import crop_camera, project_to_crop
from datasets.layout.labels import Labels
from datasets.layout.writer import LayoutWriter
from datasets.people.kinematics import rotation_z
from utils.skeleton import BONES

# Bone vectors of a T-pose (meters, world frame: x to the person's left, y backwards, z up), in the order of BONES.
REST_BONES = np.array(
    [
        (-0.13, 0, 0), (0, 0, -0.45), (0, 0, -0.45),
        (0.13, 0, 0), (0, 0, -0.45), (0, 0, -0.45),
        (0, 0, 0.24), (0, 0, 0.25), (0, 0, 0.1), (0, 0, 0.12),
        (-0.15, 0, 0), (-0.28, 0, 0), (-0.25, 0, 0),
        (0.15, 0, 0), (0.28, 0, 0), (0.25, 0, 0),
    ]
)  # fmt: skip
LIMB_ANGLE = 0.6  # radians, standard deviation of a bone's direction from the T-pose
TINTS = {1: (1.0, 0.4, 0.3), 5: (0.3, 1.0, 0.4), 6: (0.3, 0.4, 1.0), 9: (1.0, 1.0, 0.3), 11: (0.3, 1.0, 1.0)}


def write_synthetic_layout(
    root: str | Path,
    size: int = 64,
    subjects: tuple[int, ...] = (1, 5),
    sequences_per_subject: int = 2,
    instants: int = 6,
    cameras: int = 4,
    seed: int = 0,
    background: bool = True,
    masks: bool = False,
) -> Path:
    """Write a layout of len(subjects) * sequences_per_subject * instants * cameras crops, and return its folder.

    The geometry is exact: a pose of one camera, rotated into another, is that camera's pose, and every blob lies where
    `project` puts its joint. `seq` counts from 1 over all subjects.
    """
    rng = np.random.default_rng(seed)
    writer = LayoutWriter(root, size)
    for index in range(len(subjects) * sequences_per_subject):
        subject = subjects[index // sequences_per_subject]
        img_crop, bg_crop, rows = _sequence(subject, index + 1, size, instants, cameras, rng)
        mask_crop = 255 * (img_crop != bg_crop).any(-1).astype(np.uint8) if masks else None
        writer.add(img_crop, bg_crop if background else None, rows, f"seq_{index + 1:03d}", mask_crop)
    writer.finish()
    return Path(root)


def _sequence(subject: int, seq: int, size: int, instants: int, cameras: int, rng: np.random.Generator) -> tuple:
    joints = random_joints(instants, rng)
    rotation, center = ring_cameras(cameras)
    joints_cam = np.einsum("cij,tcpj->tcpi", rotation, joints[:, None] - center[:, None])
    joints_cam = joints_cam.reshape(-1, 17, 3)
    camera = crop_camera(joints_cam[:, 0])
    poses = joints_cam @ camera.rotation.swapaxes(-1, -2)
    extrinsic_rot = camera.rotation @ np.tile(rotation, (instants, 1, 1))
    rows = {
        "frame": np.repeat(5 * np.arange(instants), cameras),
        "cam": np.tile(np.arange(cameras), instants),
        "seq": np.full(instants * cameras, seq),
        "subj": np.full(instants * cameras, subject),
        "3D": poses - poses[:, :1],
        "extrinsic_rot": extrinsic_rot,
        "extrinsic_rot_inv": extrinsic_rot.swapaxes(-1, -2),
        "bounding_box_cam": camera.bounding_box_cam,
        "intrinsic_crop": camera.intrinsic_crop,
        "motion": np.full(instants * cameras, ("walking", "reaching")[seq % 2]),
    }
    bg_crop = _backgrounds(rows["cam"], size)
    return _render_blobs(bg_crop, project_to_crop(poses, camera.intrinsic_crop), subject), bg_crop, rows


def random_joints(count: int, rng: np.random.Generator) -> np.ndarray:
    """Joints (count,17,3) of random people near the origin: bones of fixed length, random limbs, any heading."""
    heading = rotation_z(rng.uniform(-np.pi, np.pi, count))
    joints = np.zeros((count, 17, 3))
    joints[:, 0] = np.concatenate([rng.uniform(-1.5, 1.5, (count, 2)), np.full((count, 1), 0.92)], axis=1)
    for (parent, child), bone in zip(BONES, REST_BONES, strict=True):
        # Children 1 and 4 are the hips, which keep their places beside the root.
        vector = bone + np.linalg.norm(bone) * LIMB_ANGLE * rng.normal(size=(count, 3)) * (child not in (1, 4))
        vector *= np.linalg.norm(bone) / np.linalg.norm(vector, axis=1, keepdims=True)
        joints[:, child] = joints[:, parent] + np.einsum("nij,nj->ni", heading, vector)
    return joints


def ring_cameras(count: int, radius: float = 5.0, height: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Rotations world -> camera (count,3,3) and centers (count,3) of cameras on a ring, looking at its middle."""
    azimuth = 2 * np.pi * np.arange(count) / count + 0.3
    center = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), np.full(count, height)], axis=1)
    forward = np.array([0, 0, 0.9]) - center
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1), center


def _backgrounds(cam: np.ndarray, size: int) -> np.ndarray:
    """Images (N,size,size,3) uint8: gradients with a direction and color for each camera."""
    v, u = np.mgrid[:size, :size] / size
    phase = cam[:, None, None].astype(float)
    channels = [0.4 + 0.15 * np.cos(3 * u + phase), 0.4 + 0.15 * np.sin(3 * v + phase), 0.3 + 0.2 * v + 0 * phase]
    return (255 * np.stack(np.broadcast_arrays(*channels), axis=-1)).astype(np.uint8)


def _render_blobs(bg_crop: np.ndarray, joints: np.ndarray, subject: int) -> np.ndarray:
    """Images with a blob per joint at crop coordinates (N,17,2): a color per joint, with the subject's tint."""
    size = bg_crop.shape[1]
    image = bg_crop.astype(float)
    centers = (np.arange(size) + 0.5) / size
    hues = 0.5 + 0.5 * np.cos(2 * np.pi * (np.arange(17)[:, None] / 17 + np.array([0, 1 / 3, 2 / 3])))
    colors = 255 * (0.4 + 0.6 * hues) * np.array(TINTS.get(subject, (1.0, 0.8, 1.0)))
    for joint, color in zip(np.moveaxis(joints, 1, 0), colors, strict=True):
        across = np.exp(-(((centers - joint[:, :1]) / 0.03) ** 2))
        down = np.exp(-(((centers - joint[:, 1:]) / 0.03) ** 2))
        alpha = (down[:, :, None] * across[:, None, :])[..., None]
        image += alpha * (color - image)
    return image.round().astype(np.uint8)


def set_checksum(root: Path) -> str:
    """Checksum of all images and all labels of a layout."""
    digest = hashlib.sha256()
    for path in sorted(root.glob("seq_*/*/*.png")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    labels = Labels(root)
    for name in sorted(labels):
        digest.update(name.encode() + labels[name].tobytes())
    return digest.hexdigest()
