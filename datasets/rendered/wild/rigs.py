"""Cameras as people set them up: number, place, height, lens, roll and picture differ; boxes as detectors give them."""

from typing import NamedTuple

import numpy as np

from datasets.cameras.crop_camera import BOX_METRES, CropCamera, crop_camera, pixel_rays
from datasets.rendered.scene import look_at
from datasets.rendered.wild.interiors import Interior

MAX_ROLL = 25.0  # degrees
NUM_CAMERAS = (3, 4, 4, 4, 5)  # drawn from, for each sequence
_BOX_RANGE = (1.3, 2.9)  # meters
_ATTEMPTS = 20
_VISIBLE_JOINTS = [0, 3, 6, 8, 9]  # hip, ankles, neck, head
_LEAST_MARGIN = 0.55  # meters at the person's depth between the root and the border of the image


class Rig(NamedTuple):
    """The C cameras of a sequence.

    centers: (C,3) world. rotations: (C,3,3) world -> camera. frustum: (C,2) half width and height of the image at a
    depth of 1. looks: how each camera renders colors and sharpness.
    """

    centers: np.ndarray
    rotations: np.ndarray
    frustum: np.ndarray
    looks: tuple["Look", ...]

    def place_behind(self, interior: Interior, rng: np.random.Generator) -> np.ndarray | None:
        """A place (2,) of the floor outside of the people's area, from which nobody hides the people; or None."""
        cameras = self.centers[:, :2]
        for _ in range(_ATTEMPTS):
            place = rng.uniform(-1, 1, 2) * (interior.half - 0.5)
            share = np.clip(1 - (cameras @ place) / (cameras**2).sum(1), 0, 1)  # of the way from a camera to the middle
            beside = np.linalg.norm(cameras * (1 - share)[:, None] - place, axis=1)
            if np.abs(place).max() > interior.area + 0.9 and beside.min() > interior.area:
                return place
        return None


class Look(NamedTuple):
    """A camera's picture: color (3,3), contrast around gray, gamma, dark corners 0..1, blur 0..1 of a 3 x 3 kernel."""

    color: np.ndarray
    contrast: float
    gamma: float
    vignette: float
    blur: float


def draw_rig(interior: Interior, count: int, joints: np.ndarray, rng: np.random.Generator) -> Rig:
    """`count` cameras around the middle of an interior, inside its walls, that see the joints (T,17,3), world."""
    start = rng.uniform(0, 2 * np.pi)
    centers = np.stack([_place(interior, start + 2 * np.pi * k / count, joints, rng) for k in range(count)])
    distance = np.linalg.norm(centers[:, :2], axis=1)
    targets = np.concatenate([rng.uniform(-0.5, 0.5, (count, 2)), rng.uniform(0.6, 1.3, (count, 1))], axis=1)
    # Half of all cameras are upright, but for carelessness.
    roll = np.where(rng.random(count) < 0.5, rng.normal(0, 2, count), rng.uniform(-MAX_ROLL, MAX_ROLL, count))
    rotations = look_at(centers, targets, np.radians(np.clip(roll, -MAX_ROLL, MAX_ROLL)))
    # Some lenses are so long, or aimed so badly, that boxes reach over the border of the image.
    reach = 1.15 * interior.area + 0.9
    tight = rng.random(count) < 0.25
    width = np.where(tight, rng.uniform(0.45, 0.9, count), rng.uniform(1.0, 1.6, count)) * reach / distance
    aspect = rng.choice([0.5625, 0.75, 1.0, 1.333, 1.778], count)
    frustum = np.stack([width, width * aspect], axis=1)
    return Rig(centers, rotations, frustum, draw_looks(count, rng))


def _place(interior: Interior, azimuth: float, joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A place (3,) for a camera near an azimuth, from which the people are seen past the furniture."""
    targets = joints[:, _VISIBLE_JOINTS]
    places, hidden = [], []
    for _ in range(_ATTEMPTS):
        turned = azimuth + rng.uniform(-0.6, 0.6)
        direction = np.array([np.cos(turned), np.sin(turned)])
        longest = ((interior.half - 0.25) / np.maximum(np.abs(direction), 1e-6)).min()
        shortest = min(interior.area + 1.2, longest)
        distance = min(rng.uniform(shortest, longest), 7.0)
        height = rng.uniform(0.8, 2.0) if rng.random() < 0.7 else rng.uniform(0.3, 3.2)
        places.append(np.array([*(direction * distance), min(height, interior.height - 0.15)]))
        shares = interior.hidden(places[-1], targets.reshape(-1, 3)).reshape(len(targets), -1).mean(1)
        # Something may stand in the way now and then, as a chair before a leg, but not before the whole person.
        hidden.append(max(shares.max() - 0.5, shares.mean() - 0.08))
        if hidden[-1] <= 0:
            break
    return places[int(np.argmin(hidden))]


def cover(rig: Rig, seen: np.ndarray) -> Rig:
    """The rig with images large enough that the root of nobody in `seen` (T,C,17,3) is near their border."""
    root = np.abs(seen[..., 0, :])
    least = ((root[..., :2] + _LEAST_MARGIN) / root[..., 2:]).max(0)
    return rig._replace(frustum=np.maximum(rig.frustum, least))


def draw_boxes(seen: np.ndarray, rng: np.random.Generator, up: np.ndarray | None = None) -> CropCamera:
    """Crop cameras of boxes around joints `seen` (T,C,17,3), meters, camera frame.

    Half of the cameras have boxes around the root, as labels give them, and half around the outline of the person, as
    detectors do. Both come with errors of place and size. up: (C,3) in the frames of the cameras, is up in their crops.
    """
    frames, count = seen.shape[:2]
    root = seen[..., 0, :]
    depth = root[..., 2:]
    flat = seen / seen[..., 2:] * depth[..., None, :]  # at the depth of the root
    low, high = flat.min(-2), flat.max(-2)
    outline = (low + high) / 2
    detected = (rng.random(count) < 0.5)[:, None]
    center = np.where(detected, outline, root)
    center = center + rng.normal(0, 0.05, center.shape) * [1, 1, 0] + rng.normal(0, 0.03, (count, 3)) * [1, 1, 0]
    # A detector's box has the size of the person and a margin; others have a fixed size.
    extent = (high - low)[..., :2].max(-1, keepdims=True) * rng.uniform(1.15, 1.5, (count, 1))
    side = np.where(detected, np.maximum(extent, 1.5), BOX_METRES * np.exp(rng.normal(0, 0.08, (count, 1))))
    side = np.clip(side * np.exp(rng.normal(0, 0.05, (frames, count, 1))), *_BOX_RANGE)[..., 0]
    return crop_camera(center, side, up)


def outside_image(rig: Rig, camera: int, crop: CropCamera, size: int) -> np.ndarray | None:
    """Mask (T,size,size) of the pixels of a camera's crops that lie beyond its image; None if there are none.

    crop: the crop cameras (T,...) of this camera.
    """

    def beyond(rays: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        seen = rays @ rotation
        return (np.abs(seen[..., :2]) > rig.frustum[camera] * seen[..., 2:]).any(-1)

    # Most crops lie within the image, as their corners tell: both are convex.
    reach = 0.5 / crop.intrinsic_crop[:, 0, 0]
    corners = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)]) * reach[:, None, None]
    corners = np.concatenate([corners, np.ones((len(reach), 4, 1))], axis=2)
    reaching = np.flatnonzero(beyond(corners, crop.rotation).any(1))
    if not len(reaching):
        return None
    outside = np.zeros((len(reach), size, size), bool)
    rays = pixel_rays(crop.intrinsic_crop[reaching], size)
    outside[reaching] = beyond(rays, crop.rotation[reaching, None])
    return outside


def develop(crops: np.ndarray, look: Look) -> np.ndarray:
    """The camera's picture (N,R,R,3) uint8 of rendered crops (N,R,R,3) uint8."""
    image = crops.astype(np.float32) / 255
    if look.blur > 0.02:
        for axis in (1, 2):
            image = _blurred(image, look.blur, axis)
    image = np.clip(image @ look.color.T.astype(np.float32), 0, 1)
    image = np.clip((image - 0.45) * look.contrast + 0.45, 0, 1) ** np.float32(look.gamma)
    if look.vignette > 0.02:
        offset = np.linspace(-1, 1, crops.shape[1], dtype=np.float32) ** 2
        image *= (1 - look.vignette * 0.5 * (offset[:, None] + offset))[..., None]
    return (255 * image + 0.5).astype(np.uint8)


def _blurred(image: np.ndarray, amount: float, axis: int) -> np.ndarray:
    """Neighbors along an axis mixed in; the border is repeated."""
    size = image.shape[axis]
    before = image.take(np.maximum(np.arange(size) - 1, 0), axis)
    after = image.take(np.minimum(np.arange(size) + 1, size - 1), axis)
    side = np.float32(amount / 3)
    return image * (1 - 2 * side) + (before + after) * side


def draw_looks(count: int, rng: np.random.Generator) -> tuple[Look, ...]:
    """How each of `count` cameras renders colors and sharpness."""
    return tuple(_draw_look(rng) for _ in range(count))


def _draw_look(rng: np.random.Generator) -> Look:
    saturation = rng.uniform(0.55, 1.35)
    gray = np.full((3, 3), 1 / 3)
    color = saturation * np.eye(3) + (1 - saturation) * gray
    color = np.diag(rng.uniform(0.85, 1.25) * (1 + rng.normal(0, 0.05, 3))) @ color
    blur = 0.0 if rng.random() < 0.5 else rng.uniform(0, 0.6)
    return Look(color, rng.uniform(0.8, 1.25), rng.uniform(0.75, 1.3), max(0.0, rng.normal(0, 0.15)), blur)
