"""A whole photograph in, the poses of all people in it and a picture of them out."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from datasets.cameras.crop_camera import crop_camera
from datasets.detection.blazepose import BlazePose
from datasets.triangulation.single_view import root_positions
from datasets.video.cropping import crop_map
from datasets.video.drawing import draw_bones
from training.estimation.shot import DEFAULT_FIELD, assumed_camera
from training.trained.inference import PoseFromCrop, Poses
from utils.errors import UserError
from utils.pictures import as_rgb, read_picture

MAX_PEOPLE = 10
LINE = 200  # a skeleton's lines are this part of the longer side wide


class PhotoPoses(NamedTuple):
    """People of a photograph, the most certain first.

    poses: `Poses` (N,17,3) meters, root-centered, in the frame of the photograph's camera: x right, y down, z forward;
    with trust. roots: (N,3) meters, where the hips are in this frame, as the sizes of the people tell. picture: the
    photograph with the skeletons; left limbs are blue, right ones red.
    """

    poses: Poses
    roots: np.ndarray
    picture: Image.Image


class PoseFromPhoto:
    """Callable: a photograph -> `PhotoPoses`. field: of view across the longer side, degrees.

    Raises UserError where a package or a model of the detector is missing.
    """

    def __init__(self, pose_from_crop: PoseFromCrop, field: float = DEFAULT_FIELD):
        assumed_camera(2, 2, field)
        self.pose_from_crop, self.field = pose_from_crop, field
        self.detector = BlazePose(max_people=MAX_PEOPLE)

    def __call__(self, photo: np.ndarray | Image.Image | str | Path) -> PhotoPoses:
        """The people in `photo`: a file, a PIL image, or an array (H,W,3) uint8 RGB."""
        image = read_photo(photo)
        camera = assumed_camera(image.shape[1], image.shape[0], self.field)
        people = self.detector.people(image)
        drawn = image.copy()
        if people:
            found = (np.stack([getattr(one, name) for one in people]) for name in ("landmarks", "visibility", "world"))
            roots = root_positions(camera, *found)
            roots = roots[np.isfinite(roots).all(1)]
        if not people or not len(roots):
            return PhotoPoses(self.pose_from_crop.nobody(), np.empty((0, 3)), Image.fromarray(drawn))
        crop = crop_camera(roots)
        size = self.pose_from_crop.network.size
        crops = [
            crop_map(camera, *place, size).sample(image)
            for place in zip(crop.rotation, crop.intrinsic_crop, strict=True)
        ]
        with warnings.catch_warnings():
            # `flagged` says so of each person.
            warnings.simplefilter("ignore", UserWarning)
            judged = self.pose_from_crop(np.stack(crops))
        poses = (np.asarray(judged) @ crop.rotation).astype(np.float32)
        for pose, root in zip(poses, roots, strict=True):
            draw_bones(drawn, camera.project(pose + root), thickness=max(2, max(image.shape) // LINE))
        poses = Poses.of(poses, judged.trust, judged.expected_error, judged.flagged)
        return PhotoPoses(poses, roots, Image.fromarray(drawn))


def read_photo(photo: np.ndarray | Image.Image | str | Path) -> np.ndarray:
    """`photo` as RGB (H,W,3) uint8. Raises UserError for what is none, or has no pixels."""
    if isinstance(photo, (str, Path)):
        photo = read_picture(photo)
    if isinstance(photo, Image.Image):
        photo = as_rgb(photo)
    found = type(photo).__name__
    if isinstance(photo, np.ndarray):
        if photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3 and photo.size:
            return np.ascontiguousarray(photo)
        found = f"an array {photo.shape} {photo.dtype}"
    raise UserError(f"a photograph is {found}; expected a file, a PIL image, or uint8 RGB (H,W,3)")
