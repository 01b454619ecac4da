"""Draws a `Space` into a scene of viser: skeletons of solid bones, latent points, cameras and the floor."""

from typing import NamedTuple

import numpy as np
import trimesh
from matplotlib.colors import to_rgb
from viser import SceneApi, SceneNodeHandle
from viser.transforms import SO3

from utils.plotting import bone_color
from utils.skeleton import BONES
from utils.space import Body, Space, SpaceCamera

TRUE_COLOR = (150, 150, 155)
POINT_COLOR = (120, 90, 200)
CAMERA_COLOR, INPUT_COLOR = (110, 115, 125), (240, 140, 20)
BONE_RADIUS, TRUE_RADIUS = 0.028, 0.018  # meters
FRUSTUM_SIDE = 0.6  # meters of a camera's picture, of a square one; wider ones have the same area
_ROD = trimesh.creation.cylinder(radius=1, height=1, sections=14)
_BALL = trimesh.creation.icosphere(subdivisions=2)


class Drawn(NamedTuple):
    """What was drawn of one `Space`: handles, by what a viewer shows or hides; `turning`: people in place."""

    turning: list[SceneNodeHandle]
    parts: dict[str, list[SceneNodeHandle]]

    def turn(self, yaw: float) -> None:
        """Rotate all people in place by `yaw` radians about the vertical."""
        quaternion = SO3.from_z_radians(yaw).wxyz
        for handle in self.turning:
            handle.wxyz = quaternion

    def remove(self) -> None:
        """Take it all out of the scene."""
        for handle in (*self.turning, *self.parts["cameras"]):
            handle.remove()


def draw_floor(scene: SceneApi) -> None:
    """The floor, at z = 0, and light."""
    scene.set_up_direction("+z")
    scene.world_axes.visible = False
    scene.add_grid(
        "/floor",
        width=14,
        height=14,
        cell_size=0.5,
        section_size=1.0,
        cell_color=(226, 228, 232),
        section_color=(196, 200, 206),
        plane_color=(248, 248, 250),
        plane_opacity=1.0,
        fade_distance=22,
        shadow_opacity=0.25,
    )


def draw_space(scene: SceneApi, space: Space, name: str = "/space") -> Drawn:
    """Draw `space` below the node `name`, before the yaw."""
    parts: dict[str, list[SceneNodeHandle]] = {"predicted": [], "true": [], "points": [], "cameras": []}
    turning = []
    for number, body in enumerate(space.bodies):
        place = f"{name}/person {number}"
        turning.append(scene.add_frame(place, show_axes=False, position=body.position))
        if body.joints is not None:
            parts["true" if body.true else "predicted"] += _draw_skeleton(scene, f"{place}/skeleton", body)
        if body.points is not None:
            parts["points"].append(_draw_points(scene, f"{place}/points", body))
    for number, camera in enumerate(space.cameras):
        color = CAMERA_COLOR if number else INPUT_COLOR
        parts["cameras"].append(_draw_camera(scene, f"{name}/{camera.name}", camera, color))
    return Drawn(turning, parts)


def _draw_skeleton(scene: SceneApi, name: str, body: Body) -> list[SceneNodeHandle]:
    start, end = (body.joints[[bone[side] for bone in BONES]] for side in (0, 1))
    length = np.linalg.norm(end - start, axis=1)
    colors = np.array(
        [TRUE_COLOR if body.true else _bytes_of(bone_color(bone, body.color)) for bone in BONES], np.uint8
    )
    radius, opacity = (TRUE_RADIUS, 0.75) if body.true else (BONE_RADIUS, None)
    rods = scene.add_batched_meshes_simple(
        f"{name}/bones",
        _ROD.vertices,
        _ROD.faces,
        batched_wxyzs=np.array([_from_vertical(line) for line in end - start]),
        batched_positions=(start + end) / 2,
        batched_scales=np.column_stack([0 * length + radius, 0 * length + radius, length]),
        batched_colors=colors,
        opacity=opacity,
        lod="off",
    )
    # A joint has the color of the bone that ends there, the root that of the trunk.
    ends = [0, *(bone[1] for bone in BONES)]
    balls = scene.add_batched_meshes_simple(
        f"{name}/joints",
        _BALL.vertices,
        _BALL.faces,
        batched_wxyzs=np.tile([1.0, 0, 0, 0], (len(ends), 1)),
        batched_positions=body.joints[ends],
        batched_scales=np.full(len(ends), 1.35 * radius),
        batched_colors=np.concatenate([colors[[BONES.index((0, 7))]], colors]),
        opacity=opacity,
        lod="off",
    )
    return [rods, balls]


def _draw_points(scene: SceneApi, name: str, body: Body) -> SceneNodeHandle:
    color = POINT_COLOR if body.color is None else tuple(int(200 * value) for value in body.color)
    return scene.add_point_cloud(
        name, body.points.astype(np.float32), color, point_size=0.016, point_shape="circle", point_shading="flat"
    )


def _draw_camera(scene: SceneApi, name: str, camera: SpaceCamera, color: tuple[int, int, int]) -> SceneNodeHandle:
    height, width = camera.image.shape[:2]
    half, wanted = np.tan(camera.field / 2), FRUSTUM_SIDE * np.sqrt(height / width)
    # viser gives all frusta of one scale the same volume, and narrow ones a great length.
    scale = wanted / 2 * np.cbrt(half * half * width / height / 3) / half
    return scene.add_camera_frustum(
        name,
        fov=float(camera.field),
        aspect=width / height,
        scale=float(scale),
        color=color,
        image=to_bytes(camera.image),
        format="jpeg",
        jpeg_quality=90,
        wxyz=SO3.from_matrix(camera.rotation.astype(np.float64)).wxyz,
        position=camera.position,
        thickness=0.015,
        cast_shadow=False,
    )


def _bytes_of(color) -> tuple[int, ...]:
    return tuple(round(255 * value) for value in to_rgb(color))


def to_bytes(image: np.ndarray) -> np.ndarray:
    """An image (H,W,3) in 0..1 -> uint8."""
    return (255 * np.clip(image, 0, 1)).round().astype(np.uint8)


def _from_vertical(line: np.ndarray) -> np.ndarray:
    """A unit quaternion (w,x,y,z) of a rotation that brings the z axis into the direction of `line` (3,)."""
    x, y, z = line / max(np.linalg.norm(line), 1e-9)
    if z < -0.999999:
        return np.array([0.0, 1, 0, 0])
    quaternion = np.array([1 + z, -y, x, 0])
    return quaternion / np.linalg.norm(quaternion)
