"""The 3D space around what a viewer shows: skeletons on the floor, latent points, and the cameras of the instant.

Predicted poses have a root at 0: where a label says no place, it is found from how large a person is in the frame, and
feet are put on the floor. The world's z axis points up.
"""

import numpy as np
from numpy.linalg import solve

from datasets import BOX_METRES, FrameDataset, MultiViewDataset
from datasets.layout.labels import instant_keys
from training.scene_metrics import CROP_MARGIN
from utils.plotting import crop_to_image
from utils.space import Body, Color, Space, SpaceCamera, at_persons_scale, standing_height

SOLES_AND_CROWN = 0.15  # meters of a standing person's height that joints do not cover
ROOT_HEIGHT = 0.95  # meters, where no pose tells it


def crop_space(
    dataset: MultiViewDataset,
    row: int,
    predicted: np.ndarray | None,
    true: np.ndarray | None,
    points: np.ndarray,
    trust: float | None = None,
) -> Space:
    """The space around the person of crop `row`: poses (17,3), meters, and latent points (N,3), camera frame.

    The person stands at the origin. The crop's cameras look at it from where a box of 2 m fills the crop.
    """
    to_world = dataset.labels["extrinsic_rot_inv"][row]
    bodies = []
    for pose, is_true in ((predicted, False), (true, True)):
        if pose is not None:
            joints = pose @ to_world.T
            bodies.append(Body(np.array([0, 0, standing_height(joints)]), joints, true=is_true))
    if not bodies:
        bodies = [Body(np.array([0, 0, ROOT_HEIGHT]), None)]
    cameras = _crop_cameras(dataset, row, bodies[-1].position)
    bodies[0] = bodies[0]._replace(points=at_persons_scale(points) @ to_world.T)
    return Space(bodies, cameras, trust)


def rows_of_instant(dataset: MultiViewDataset | FrameDataset, row: int) -> list[int]:
    """`row` and then the rows of the other cameras that see its instant."""
    columns = [dataset.labels[key] for key in instant_keys(dataset.labels)]
    same = np.all([(column == column[row]).reshape(len(column), -1).all(1) for column in columns], axis=0)
    return [row, *(other for other in np.flatnonzero(same).tolist() if other != row)]


def _crop_cameras(dataset: MultiViewDataset, row: int, root: np.ndarray) -> list[SpaceCamera]:
    labels, rows = dataset.labels, rows_of_instant(dataset, row)
    if "intrinsic_crop" not in labels:
        return []
    cameras = []
    for other, image in zip(rows, dataset.__getitems__(rows)["img_crop"], strict=True):
        rotation, focal = labels["extrinsic_rot_inv"][other], labels["intrinsic_crop"][other, 1, 1]
        position = root - BOX_METRES * focal * rotation[:, 2]
        field = 2 * np.arctan(0.5 / focal)
        cameras.append(SpaceCamera(f"camera {labels['cam'][other]}", position, rotation, field, crop_to_image(image)))
    return cameras


class FrameCamera:
    """The camera of row `row` of full frames, which puts what it sees into the world; at 0 where no label places it."""

    def __init__(self, dataset: FrameDataset, row: int):
        labels = dataset.labels
        self.to_world, self.intrinsics = labels["extrinsic_rot_inv"][row], labels["intrinsics"][row]
        self.placed = "camera_position" in labels
        self.position = labels["camera_position"][row] if self.placed else np.zeros(3)

    def labeled(self, pose: np.ndarray, position: np.ndarray, color: Color) -> Body:
        """The true body of a pose (17,3) at a label's `position` (3,), meters, camera frame."""
        return Body(self.position + self.to_world @ position, pose @ self.to_world.T, color, true=True)

    def found(
        self, pose: np.ndarray, box: np.ndarray, points: np.ndarray | None, color: Color, of_crop: bool = False
    ) -> Body:
        """The predicted body of a pose (17,3), camera frame, in a box (left, top, width, height), pixels.

        It is as far away as its height in the box says, in the direction of the box's center; `of_crop`: the box is
        that of a crop around it, and not of its silhouette. `points` (N,3): latent points, camera frame.
        """
        joints = pose @ self.to_world.T
        low, high = pose.min(0), pose.max(0)
        # A crop is as high as the longer side of the person demands, and fades around it.
        extent, margin = ((high - low)[:2].max(), CROP_MARGIN) if of_crop else (high[1] - low[1], 1.0)
        distance = margin * (extent + SOLES_AND_CROWN) * self.intrinsics[1, 1] / max(float(box[3]), 1.0)
        # Pixels have their centers at integers: the middle of one pixel's box is its center.
        center = np.array([box[0] + (box[2] - 1) / 2, box[1] + (box[3] - 1) / 2, 1])
        middle = solve(self.intrinsics.astype(np.float64), center) * distance
        place = self.position + self.to_world @ (middle - (low + high) / 2)
        cloud = None if points is None else at_persons_scale(points) @ self.to_world.T
        return Body(place, joints, color, points=cloud)


def frame_cameras(dataset: FrameDataset, row: int, own: FrameCamera) -> list[SpaceCamera]:
    """All cameras of the instant of `row`, that one first; alone where no label tells where they stand."""
    rows = rows_of_instant(dataset, row) if own.placed else [row]
    cameras = []
    for other, frame in zip(rows, dataset.__getitems__(rows)["img"], strict=True):
        camera = FrameCamera(dataset, other)
        image, name = crop_to_image(frame), f"camera {dataset.labels['cam'][other]}"
        field = 2 * np.arctan(len(image) / 2 / camera.intrinsics[1, 1])
        cameras.append(SpaceCamera(name, camera.position, camera.to_world, field, image))
    return cameras


def scene_space(bodies: list[Body], cameras: list[SpaceCamera], placed: bool) -> Space:
    """People and cameras, with the middle of the people above the origin, and predicted people on the floor.

    Where no label has `placed` the cameras, they are as high as most people demand who stand on the floor.
    """
    shift = -np.mean([body.position for body in bodies], axis=0) if bodies else np.zeros(3)
    shift[2] = 0
    if bodies and not placed:
        shift[2] = np.median([standing_height(body.joints) - body.position[2] for body in bodies])
    moved = [body._replace(position=body.position + shift) for body in bodies]
    moved = [body if body.true else _on_floor(body) for body in moved]
    return Space(moved, [camera._replace(position=camera.position + shift) for camera in cameras])


def _on_floor(body: Body) -> Body:
    return body._replace(position=np.array([*body.position[:2], standing_height(body.joints)]))
