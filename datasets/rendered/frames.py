"""Renders full frames of several people by static cameras: pictures, instance masks, silhouettes.

World frame: z up, meters. Camera frames: x right, y down, z forward, meters. Pixel centers are at integers.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.people.clothes import Outfit
from datasets.rendered.raycast import (
    Light,
    RenderedBody,
    RenderView,
    Room,
    Triangles,
    empty_depth_buffer,
    lamp_view,
    light_struct,
    plane_array,
    rasterize_mesh,
    warp_kernels,
)

MOST_PEOPLE = 4  # in one scene
_LAMPS = 4  # of a `Light`


class FrameCameras(NamedTuple):
    """C static cameras with frames of one size.

    centers: (C,3) world. rotations: (C,3,3) world -> camera. focals: (C,) pixels; the axis meets the frame's center.
    size: (height, width) of the frames, pixels.
    """

    centers: np.ndarray
    rotations: np.ndarray
    focals: np.ndarray
    size: tuple[int, int]

    @property
    def intrinsics(self) -> np.ndarray:
        """(C,3,3) camera frame -> pixels of the frame."""
        found = np.zeros((len(self.focals), 3, 3))
        found[:, 0, 0] = found[:, 1, 1] = self.focals
        found[:, 0, 2], found[:, 1, 2] = (self.size[1] - 1) / 2, (self.size[0] - 1) / 2
        found[:, 2, 2] = 1
        return found

    def from_world(self, points: np.ndarray) -> np.ndarray:
        """World points (...,3) in the frames of all cameras (C,...,3), meters."""
        offsets = np.asarray(points, dtype=np.float64) - self.centers.reshape(-1, *[1] * (np.ndim(points) - 1), 3)
        return np.einsum("cij,c...j->c...i", self.rotations, offsets)

    def square_view(self) -> RenderView:
        """The cameras with square images around the frames, as depth buffers need them."""
        side = max(self.size)
        intrinsics = np.zeros((len(self.focals), 3, 3))
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = self.focals / side
        intrinsics[:, :2, 2] = 0.5
        intrinsics[:, 2, 2] = 1
        return RenderView(self.centers, self.rotations, intrinsics)


class RenderedFrames(NamedTuple):
    """What C cameras see at one instant.

    img: (C,H,W,3) uint8. mask: (C,H,W) uint8, p + 1 where person p is visible, 0 for nobody.
    silhouettes: (C,H,W) uint8; bit p is set where person p is, also where others stand in front.
    """

    img: np.ndarray
    mask: np.ndarray
    silhouettes: np.ndarray


class FrameRenderer:
    """Renders the people of one scene in one room. Built once per scene, then called once per instant.

    people: the triangles (F,3) and the clothes of each person. cameras: they stay where they are.
    """

    def __init__(self, room: Room, light: Light, people: Sequence[tuple[np.ndarray, Outfit]], cameras: FrameCameras):
        self.room, self.cameras, self.device = room, cameras, room.mesh.device
        self.view, self.samples = cameras.square_view(), 2 * max(cameras.size)
        self.light = light_struct(light, self.device)
        self.furniture = rasterize_mesh(room.mesh.points, room.faces, self.view, self.samples, facing=0)
        self.planes = plane_array(room, cameras.centers)
        self.people = _RenderedPeople(room, light, people) if people else None

    def background(self) -> np.ndarray:
        """The empty room (C,H,W,3) uint8."""
        return self._render(None).img

    def __call__(self, vertices: Sequence[np.ndarray]) -> RenderedFrames:
        """Render the people at vertices (V,3), meters, world, of each."""
        if self.people:
            self.people.place(vertices, self.samples)
        return self._render(self.people)

    def _render(self, people: "_RenderedPeople | None") -> RenderedFrames:
        warp, kernels, _, frame_kernels = warp_kernels()
        height, width = self.cameras.size
        shape = (len(self.cameras.centers), height, width)
        if people:
            struct, seen, count = people.struct, people.seen(self.view, self.samples), people.count
        else:
            nobody = empty_depth_buffer(self.view, self.samples, (0, 0), 0, self.device)
            struct, seen, count = kernels.PersonStruct(), nobody, 0
        img = warp.empty((*shape, 3), dtype=warp.uint8, device=self.device)
        mask, silhouettes = (warp.empty(shape, dtype=warp.uint8, device=self.device) for _ in range(2))
        corner = [max(height - width, 0), max(width - height, 0)]
        inputs = [self.room.struct, self.light, struct, seen, count, self.furniture, self.planes, *corner]
        images = [img, mask, silhouettes]
        warp.launch(frame_kernels.render_frames, shape, inputs + images, device=self.device)
        return RenderedFrames(*(image.numpy() for image in images))


class _RenderedPeople(RenderedBody):
    """Several dressed bodies in one mesh, with depth buffers of their own."""

    def __init__(self, room: Room, light: Light, people: Sequence[tuple[np.ndarray, Outfit]]):
        warp, *_ = warp_kernels()
        sizes = [len(outfit.thickness) for _, outfit in people]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        faces = np.concatenate([faces + start for (faces, _), start in zip(people, starts, strict=False)])
        colors, thickness = (np.concatenate(part) for part in zip(*(outfit for _, outfit in people), strict=True))
        super().__init__(room, light, Triangles(room, faces, starts[-1]), colors, thickness)
        self.count = len(people)
        owners = np.repeat(np.arange(self.count), sizes).astype(np.int32)
        self.owners = warp.array(owners, dtype=int, device=self.device)
        self._buffers = {}

    def place(self, vertices: Sequence[np.ndarray], samples: int) -> None:
        """Move the people to vertices (V,3) of each; their shadows have `samples` along a side."""
        self._dress(np.concatenate(vertices))
        views = [lamp_view(self.lamps, body) for body in vertices]
        lamps = RenderView(*(np.concatenate(parts) for parts in zip(*views, strict=True)))
        self.struct.shadow = self._rasterize(lamps, samples, _LAMPS, own_cameras=True, facing=-1)

    def seen(self, view: RenderView, samples: int, facing: int = 1):
        """Depth buffers with one layer per person and camera."""
        return self._rasterize(view, samples, len(view.centers), own_cameras=False, facing=facing)

    def _rasterize(self, view: RenderView, samples: int, columns: int, own_cameras: bool, facing: int):
        warp, _, _, frame_kernels = warp_kernels()
        projected = len(self.points), columns
        buffer = empty_depth_buffer(view, samples, projected, self.count * columns, self.device)
        launch = functools.partial(warp.launch, device=self.device)
        launch(frame_kernels.project_people, projected[0], [self.points, self.owners, own_cameras, buffer])
        faces = self.triangles.faces
        launch(frame_kernels.rasterize_people, len(faces), [faces, self.owners, buffer, float(facing)])
        return buffer
