"""A small Human3.6M in the form of the download, of synthetic people: videos, CDF poses, metadata.xml, archives."""

import functools
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from datasets.cameras.camera import Camera
from datasets.rendered.scene import subject_cameras
from datasets.sources.human36m.archives import H36M_JOINTS
from datasets.sources.human36m.metadata import CAMERA_IDS
from tests.markers import JOINTS as MARKED
from tests.markers import render_markers
from tests.synthetic import random_joints
from tests.video_files import write_video

# action, subaction, file name for S1, file name for the others
ROWS = (
    (1, 1, "_ALL 1", "_ALL 1"),
    (9, 1, "Sitting", "Sitting"),
    (10, 2, "SittingDown 1", "SittingDown 1"),
    (12, 1, "TakingPhoto", "Photo"),
    (15, 2, "WalkingDog 1", "WalkDog 1"),
)
# at 1000 pixels: focal lengths, principal point, k1, k2, k3, p1, p2; like those of Human3.6M
INTRINSICS = (
    (1145, 1144, 512, 515, -0.21, 0.25, -0.002, -0.0009, -0.0016),
    (1149, 1148, 509, 508, -0.19, 0.23, 0.006, -0.0018, -0.0008),
    (1150, 1150, 520, 502, -0.21, 0.26, -0.009, 0.0009, -0.0012),
    (1146, 1145, 499, 501, -0.20, 0.22, -0.003, -0.0005, 0.0006),
)
HEIGHTS = (1002, 1000, 1000, 1002)
# The 15 joints that we do not use are placed on one that we use.
DOUBLED = {
    4: 3,
    5: 3,
    9: 8,
    10: 8,
    11: 0,
    16: 13,
    20: 19,
    21: 19,
    22: 19,
    23: 19,
    24: 13,
    28: 27,
    29: 27,
    30: 27,
    31: 27,
}
EXTRA_FRAMES = 2  # of a video, after its last pose

Images = Callable[[int, Camera], np.ndarray]  # frame, camera -> (H,W,3) uint8


class Take(NamedTuple):
    """One sequence as it was acted: `joints` (N,17,3) world, meters; `image(frame, camera)` for N + EXTRA_FRAMES."""

    joints: np.ndarray
    image: Images


def write_miniature(
    root: Path,
    act: Callable[[int, int, int], Take],
    subjects: tuple[int, ...] = (1, 9),
    width: int = 250,
    num_poses: int = 8,
) -> dict[tuple[int, str], np.ndarray]:
    """Write subjects with four sequences each; returns the world joints (N,17,3), meters, by subject and file name.

    act: subject, number of the sequence, frames -> Take. width: of the videos, pixels; 1000 is the real one. Sequences
    have `num_poses` poses and a few more each.
    """
    write_metadata(root / "metadata.xml", subjects, width)
    truth = {}
    for subject in subjects:
        native = root / f"S{subject}"
        poses, videos = native / "MyPoseFeatures" / "D3_Positions", native / "Videos"
        poses.mkdir(parents=True), videos.mkdir()
        for number, row in enumerate(ROWS[1:]):
            name, count = row[2 if subject == 1 else 3], num_poses + number
            take = act(subject, number, count + EXTRA_FRAMES)
            truth[subject, name] = take.joints[:count]
            write_poses(poses / f"{name}.cdf", truth[subject, name])
            for cam, camera_id in enumerate(CAMERA_IDS):
                camera, frames = camera_of(subject, cam, width), range(count + EXTRA_FRAMES)
                write_video(videos / f"{name}.{camera_id}.mp4", (take.image(i, camera) for i in frames))
    return truth


def camera_of(subject: int, cam: int, width: int = 1000) -> Camera:
    """The true camera, meters and pixels, of videos of this width."""
    place, scale = subject_cameras(subject), width / 1000
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = INTRINSICS[cam]
    # whole numbers are pixel centers
    cx, cy = (cx + 0.5) * scale - 0.5, (cy + 0.5) * scale - 0.5
    intrinsics = np.array([[scale * fx, 0, cx], [0, scale * fy, cy], [0, 0, 1]])
    height = 2 * round(scale * HEIGHTS[cam] / 2) if scale == 1 else width + HEIGHTS[cam] - 1000
    return Camera(place.rotations[cam], place.centers[cam], intrinsics, np.array([k1, k2, p1, p2, k3]), width, height)


def write_metadata(path: Path, subjects: tuple[int, ...], width: int = 1000) -> None:
    """metadata.xml: the mapping table and w0, of the subjects written and zeros for the others."""
    root = ElementTree.Element("H36M")
    table = ElementTree.SubElement(root, "mapping")
    lines = [["", "", *(f"S{subject}" for subject in range(1, 12))]]
    lines += [[str(action), str(sub), first, *[other] * 10] for action, sub, first, other in ROWS]
    lines += [["54138969", "1", *["calibration"] * 11]]
    for line in lines:
        row = ElementTree.SubElement(table, "tr")
        for cell in line:
            ElementTree.SubElement(row, "td").text = cell or None
    values = np.zeros(300)
    for cam in range(4):
        for subject in subjects:
            camera, start = camera_of(subject, cam, width), 6 * (11 * cam + subject - 1)
            values[start : start + 6] = [*angles_of(camera.rotation), *(1000 * camera.center)]
        camera = camera_of(1, cam, width)
        (fx, _, cx), (_, fy, cy) = camera.intrinsics[:2]
        k1, k2, p1, p2, k3 = camera.distortion
        values[264 + 9 * cam : 273 + 9 * cam] = [fx, fy, cx, cy, k1, k2, k3, p1, p2]
    ElementTree.SubElement(root, "w0").text = f"[{' '.join(repr(float(value)) for value in values)}]"
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(path)


def angles_of(rotation: np.ndarray) -> tuple[float, float, float]:
    """Angles a, b, c with Rx(a) @ Ry(b) @ Rz(c) = rotation."""
    return (
        float(np.arctan2(-rotation[1, 2], rotation[2, 2])),
        float(np.arcsin(rotation[0, 2])),
        float(np.arctan2(-rotation[0, 1], rotation[0, 0])),
    )


def write_poses(path: Path, joints: np.ndarray) -> None:
    """A CDF file of world joints (N,17,3), meters, as Human3.6M has them: 32 joints, millimeters."""
    from cdflib.cdfwrite import CDF

    everything = np.zeros((len(joints), 32, 3), dtype=np.float32)
    everything[:, H36M_JOINTS] = 1000 * joints
    for joint, same in DOUBLED.items():
        everything[:, joint] = everything[:, same]
    values = everything.reshape(1, len(joints), 96)
    spec = {
        "Variable": "Pose",
        "Data_Type": 21,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Var_Type": "zVariable",
        "Dim_Sizes": list(values.shape[1:]),
        "Compress": 0,
    }
    file = CDF(str(path.with_suffix("")), cdf_spec={"Compressed": 0})
    file.write_var(spec, var_data=values)
    file.close()


def marked_people(subject: int, number: int, frames: int) -> Take:
    """People of three markers that are elsewhere in every frame."""
    joints = random_joints(frames, np.random.default_rng([subject, number]))

    def image(frame: int, camera: Camera) -> np.ndarray:
        pixels = camera.project(camera.world_to_cam(joints[frame, list(MARKED)]))
        return render_markers(pixels, camera.width, camera.height, radius=0.008 * camera.width)

    return Take(joints, image)


class RenderedPeople:
    """Rendered people who move fast, in the rendered room, seen by distorting cameras."""

    def __init__(self, fps: float = 4):
        from datasets.rendered.raycast import Room
        from datasets.rendered.room import build_room, lamp_points

        self.fps, self.room = fps, Room(build_room(), lamp_points())

    def __call__(self, subject: int, number: int, frames: int) -> Take:
        vertices, joints = self.perform(subject, number, frames)
        render = self.renderer(subject)
        return Take(joints.astype(np.float64), lambda frame, camera: full_image(render, vertices[frame], camera)[0])

    def perform(self, subject: int, number: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (T,V,3) and joints (T,17,3) of a sequence, world, meters."""
        from datasets.motion.motions import procedural_motion
        from datasets.people.body import load_body

        body = load_body(subject)
        name = ("walking", "sitting_down", "greeting", "walking")[number]
        rng = np.random.default_rng([subject, number])
        return body.pose(procedural_motion(name, body, frames, self.fps, rng, area=1.5))

    def renderer(self, subject: int):
        """The subject in one set of clothes and one light: a camera's images differ by the person alone."""
        from datasets.people.body import load_body
        from datasets.people.clothes import Wardrobe
        from datasets.rendered.raycast import Renderer, Triangles
        from datasets.rendered.scene import sequence_light

        body, rng = load_body(subject), np.random.default_rng(subject)
        outfit = Wardrobe(body, subject).dress(rng)
        triangles = Triangles(self.room, body.faces, len(body.rest_vertices))
        return Renderer(self.room, sequence_light(rng), triangles, outfit.colors, outfit.thickness)


def full_image(render, vertices: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The distorted image (H,W,3) of a camera, and the same without the person: a wide pinhole image, sampled."""
    import cv2

    from datasets.rendered.raycast import RenderView

    key = (*camera.intrinsics.ravel().tolist(), *camera.distortion.tolist())
    pixels, focal, size = _wide_pinhole(camera.width, camera.height, key)
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    pinhole = render(vertices, RenderView(camera.center[None], camera.rotation[None], intrinsics[None]), size)
    return tuple(cv2.remap(image[0], pixels, None, cv2.INTER_LINEAR) for image in pinhole)


@functools.cache
def _wide_pinhole(width: int, height: int, numbers: tuple[float, ...]) -> tuple[np.ndarray, float, int]:
    """A pinhole image that holds all of a distorted one: where that one's pixels lie in it (H,W,2), its focal length
    in sides, and its side in pixels. numbers: the intrinsics, row by row, and the distortion."""
    import cv2

    intrinsics, distortion = np.array(numbers[:9]).reshape(3, 3), np.array(numbers[9:])
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 1, 2).astype(np.float64)
    precise = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-9)
    places = cv2.undistortPoints(grid, intrinsics, distortion, criteria=precise).reshape(height, width, 2)
    half = 1.02 * np.abs(places).max()
    size = round(2 * half * intrinsics[0, 0])
    return ((places * 0.5 / half + 0.5) * size - 0.5).astype(np.float32), 0.5 / half, size


def reshape(root: Path, subject: int, form: str) -> None:
    """From the native tree to another form, "flattened" or "archives"."""
    native = root / f"S{subject}"
    poses, videos = native / "MyPoseFeatures" / "D3_Positions", native / "Videos"
    if form == "flattened":
        flat = root / "extracted" / f"S{subject}"
        flat.mkdir(parents=True)
        poses.rename(flat / "Poses_D3_Positions"), videos.rename(flat / "Videos")
    elif form == "archives":
        for folder, name in ((poses, "Poses_D3_Positions"), (videos, "Videos")):
            with tarfile.open(root / f"{name}_S{subject}.tgz", "w:gz") as archive:
                archive.add(folder, folder.relative_to(root))
    shutil.rmtree(native)
