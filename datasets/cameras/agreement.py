"""Do the cameras of one instant see the same person? Validation and the sources ask it before anything is trained."""

import numpy as np

MIN_CAMERAS = 2  # that see an instant: with fewer there is no other view to learn from
MAX_VIEW_DIFFERENCE = 0.05  # meters: cameras that disagree more have a wrong convention, not noise


def view_disagreement(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """How far apart the cameras of each instant see a joint.

    Args:
        points: (N,J,3) joints of N views, meters, world frame; the views of an instant follow one another.
        start: (I,) first view of each instant, increasing from 0.
    Returns:
        (I,) meters: over the joints of an instant, the largest diagonal of the box that holds all its positions.
        0 where one camera alone sees the instant.
    """
    # Pairs of cameras are not compared: the box that holds all positions bounds every pair, in one pass over the rows.
    extent = np.maximum.reduceat(points, start) - np.minimum.reduceat(points, start)
    return np.linalg.norm(extent, axis=-1).max(axis=-1)
