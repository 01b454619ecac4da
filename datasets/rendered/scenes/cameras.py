"""Four static cameras around a scene, which see its people whole."""

import numpy as np

from datasets.rendered.frames import FrameCameras
from datasets.rendered.scene import look_at
from datasets.rendered.wild.interiors import Interior

NUM_CAMERAS = 4
_STATURE = 1.75  # meters, of a usual person
_SHARES = (0.42, 0.58)  # of the frame's height that a person in the middle fills
_DISTANCES = (3.9, 5.6)  # meters from the middle, where the room is large enough
_HEIGHTS = (1.2, 2.6)  # meters
_ATTEMPTS = 30
_AIM = 0.6  # share of the way from the middle to where the people are on average
_SEEN = 0.98  # share of the people's points inside the frames


def draw_cameras(
    interior: Interior, points: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> FrameCameras:
    """Cameras around an interior's middle that see points (N,3) of the people, world, meters. size: height, width."""
    start = rng.uniform(0, 2 * np.pi)
    centers = np.stack([_place(interior, start + k * np.pi / 2, points, rng) for k in range(NUM_CAMERAS)])
    beside, height = rng.uniform(-0.25, 0.25, (NUM_CAMERAS, 2)), rng.uniform(0.75, 1.0, (NUM_CAMERAS, 1))
    targets = np.concatenate([beside, height], axis=1)
    if len(points):
        targets[:, :2] += _AIM * points[:, :2].mean(0)
    rotations = look_at(centers, targets, np.radians(rng.normal(0, 1.0, NUM_CAMERAS)))
    distance = np.linalg.norm(centers - targets, axis=1)
    # Half the height of the frame at a depth of one.
    reach = 0.5 * _STATURE / (rng.uniform(*_SHARES, NUM_CAMERAS) * distance)
    seen = FrameCameras(centers, rotations, np.ones(NUM_CAMERAS), size).from_world(points)
    if seen.shape[1]:
        offsets = np.abs(seen[..., :2]) / np.maximum(seen[..., 2:], 0.1) * [size[0] / size[1], 1]
        reach = np.maximum(reach, 1.04 * np.quantile(offsets.max(-1), _SEEN, axis=1))
    return FrameCameras(centers, rotations, size[0] / 2 / reach, size)


def _place(interior: Interior, azimuth: float, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A place (3,) for a camera near an azimuth, from which the points are seen past the furniture."""
    targets = points[:: max(1, len(points) // 60)] if len(points) else np.array([[0.0, 0.0, 0.9]])
    places, hidden = [], []
    for _ in range(_ATTEMPTS):
        turned = azimuth + rng.uniform(-0.5, 0.5)
        direction = np.array([np.cos(turned), np.sin(turned)])
        longest = ((interior.half - 0.3) / np.maximum(np.abs(direction), 1e-6)).min()
        distance = rng.uniform(min(_DISTANCES[0], longest), min(_DISTANCES[1], longest))
        height = min(rng.uniform(*_HEIGHTS), interior.height - 0.2)
        places.append(np.array([*(direction * distance), height]))
        hidden.append(interior.hidden(places[-1], targets).mean())
        if hidden[-1] < 0.02:
            break
    return places[int(np.argmin(hidden))]
