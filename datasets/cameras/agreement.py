"""Do the cameras of one instant see the same person? What validation and the sources check before they write."""

import numpy as np

MIN_CAMERAS = 2  # that see an instant: with fewer there is no other view to learn from


def disagreement(points: np.ndarray, instants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far apart the cameras of each instant see a joint.

    Args:
        points: (N,J,3) joints of N views, metres, moved into the world frame.
        instants: (N,) or (N,K) integers; views with equal values show the same instant.
    Returns:
        (I,) for each instant the extent, in metres, of the joint whose positions lie furthest apart (0 where one
        camera alone sees it), and (I,) the row of its first view.
    """
    keys = np.asarray(instants).reshape(len(points), -1)
    _, first, inverse, count = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    start = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(int)
    extent = np.maximum.reduceat(points[order], start) - np.minimum.reduceat(points[order], start)
    return np.linalg.norm(extent, axis=-1).max(axis=-1), first
