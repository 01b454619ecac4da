"""Something to look at for viewers in the browser, without a network."""

import numpy as np

from utils.space import Body, Space, SpaceCamera
from utils.viewer import Panels

IMAGES = np.random.default_rng(1).random((3, 16, 16, 3))
JOINTS = np.random.default_rng(0).normal(size=(3, 17, 3)) * 0.3


class Spinning:
    """Three images that darken with the yaw, of people who turn, the last one not to be trusted."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 3

    def __call__(self, index, yaw):
        self.asked.append((index, yaw))
        output = IMAGES[index] * np.cos(yaw / 4) ** 2
        return Panels(IMAGES[index], output, JOINTS[index], None, f"<b>number {index}", warned=index == 2)

    def space(self, index):
        place = np.array([0.1 * index, 0, 1.0])
        points = np.random.default_rng(2).normal(size=(20, 3))
        bodies = [Body(place, JOINTS[index], points=points), Body(place, JOINTS[index], (1.0, 0.5, 0.0), true=True)]
        looking = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
        cameras = [SpaceCamera(f"camera {c}", np.array([c, -4.0, 1]), looking, 0.5, IMAGES[index]) for c in range(2)]
        return Space(bodies[: 3 - index], cameras, trust=0.25 * (index + 1))
