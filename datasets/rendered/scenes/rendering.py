"""Rendering a scene: its people perform together in a room, before cameras that know where everybody is."""

from typing import NamedTuple

import numpy as np

from datasets.people.body import Body, Motion, load_body
from datasets.people.clothes import Outfit, Wardrobe
from datasets.rendered import room
from datasets.rendered.frames import FrameCameras, FrameRenderer
from datasets.rendered.raycast import DEVICE, Room
from datasets.rendered.scenes.cameras import NUM_CAMERAS, draw_cameras
from datasets.rendered.scenes.placing import Performance, body_points, perform_together
from datasets.rendered.scenes.planning import FPS, STEP, Scene, SceneSet, scene_kinds, scene_rng
from datasets.rendered.wild.interiors import Interior, draw_interior, draw_light
from datasets.rendered.wild.sessions import FIRST_PERSON

_ROOM_AREA = 1.7  # meters; roots stay within |x|, |y| of the room's middle
_INTERIORS = 500  # of the wild world that scenes choose from
_LEAST_AREA = 1.3  # meters, of a wild interior that several people fit in
_AMBIENT = 0.45
_OUTFITS = 8  # tried until the next person looks unlike the others
_LEAST_CONTRAST = 0.12  # of mean sRGB colors, 0..1


class PosedScene(NamedTuple):
    """What a scene shows: its bodies, the vertices (T,V,3) of each, world, meters; cameras; rows without outlines."""

    bodies: list[Body]
    vertices: list[np.ndarray]
    cameras: FrameCameras
    rows: dict[str, np.ndarray]


class RenderedScene(NamedTuple):
    """A scene's T*C frames, all cameras of an instant, then the next: as `FrameWriter.add` takes them."""

    img: np.ndarray
    bg: dict[tuple[int, int], np.ndarray]
    rows: dict[str, np.ndarray]
    mask: np.ndarray


def pose_scene(job: SceneSet, scene: Scene, interior: Interior, rng: np.random.Generator) -> PosedScene:
    """Motions, cameras and labels of a scene."""
    bodies = [load_body(subject) for subject in scene.subjects]
    performances = perform_together(bodies, scene_kinds(job), STEP * scene.instants, FPS, interior.area, rng)
    motions = [Motion(*(values[::STEP] for values in performance.motion)) for performance in performances]
    points = [body_points(body, motion).reshape(-1, 3) for body, motion in zip(bodies, motions, strict=True)]
    cameras = draw_cameras(interior, np.concatenate([np.zeros((0, 3)), *points]), job.size, rng)
    posed = [body.pose(motion) for body, motion in zip(bodies, motions, strict=True)]
    rows = scene_rows(scene, cameras, [joints for _, joints in posed], performances)
    return PosedScene(bodies, [vertices for vertices, _ in posed], cameras, rows)


class SceneRenderer:
    """Renders the scenes of one set. The fixed room is built once."""

    def __init__(self, job: SceneSet, device: str = DEVICE):
        self.job, self.device = job, device
        self._room = self._build(fixed_room()) if job.world == "room" else None

    def __call__(self, scene: Scene) -> RenderedScene:
        rng = scene_rng(self.job, scene)
        interior, built = self._room or self._build(spacious_interior(self.job.split, rng))
        posed = pose_scene(self.job, scene, interior, rng)
        outfits = dress_differently(posed.bodies, rng)
        people = [(body.faces, outfit) for body, outfit in zip(posed.bodies, outfits, strict=True)]
        render = FrameRenderer(built, draw_light(interior, rng), people, posed.cameras)
        frames = [render([vertices[t] for vertices in posed.vertices]) for t in range(scene.instants)]
        img, mask, silhouettes = (np.concatenate(images) for images in zip(*frames, strict=True))
        bg = {(scene.seq, cam): image for cam, image in enumerate(render.background())}
        return RenderedScene(img, bg, posed.rows | outline_rows(mask, silhouettes, posed.rows["subj"]), mask)

    def _build(self, interior: Interior) -> tuple[Interior, Room]:
        return interior, Room(interior.surface, interior.lamps, self.device, interior.spread)


def fixed_room() -> Interior:
    """The room of `datasets.rendered.room`."""
    half = np.array([room.HALF_X, room.HALF_Y])
    return Interior(room.build_room(), half, room.HEIGHT, _ROOM_AREA, room.lamp_points(), 0.0, _AMBIENT)


def spacious_interior(split: str, rng: np.random.Generator) -> Interior:
    """An interior of a split that several people fit in."""
    while True:
        interior = draw_interior(FIRST_PERSON[split] + int(rng.integers(_INTERIORS)))
        if interior.area >= _LEAST_AREA:
            return interior


def dress_differently(bodies: list[Body], rng: np.random.Generator) -> list[Outfit]:
    """Clothes for each of the people of a scene, whose colors differ on average."""
    outfits, tones = [], []
    for body in bodies:
        wardrobe = Wardrobe(body, body.subject)
        for _ in range(_OUTFITS):
            outfit = wardrobe.dress(rng)
            tone = np.sqrt(outfit.colors).mean((0, 1))
            if all(np.linalg.norm(tone - other) > _LEAST_CONTRAST for other in tones):
                break
        outfits.append(outfit)
        tones.append(tone)
    return outfits


def scene_rows(
    scene: Scene, cameras: FrameCameras, joints: list[np.ndarray], performances: list[Performance]
) -> dict[str, np.ndarray]:
    """The rows of labels.h5 that need no picture. joints: (T,17,3) of each person, world, meters."""
    count, people = scene.num_frames, max(1, len(joints))
    poses = np.full((count, people, 17, 3), np.nan, np.float32)
    position = np.full((count, people, 3), np.nan, np.float32)
    subj = np.full((count, people), -1)
    for person, world in enumerate(joints):
        seen = cameras.from_world(world).swapaxes(0, 1).reshape(count, 17, 3)
        poses[:, person], position[:, person] = seen - seen[:, :1], seen[:, 0]
        subj[:, person] = scene.subjects[person]
    rotations = np.tile(cameras.rotations, (scene.instants, 1, 1))
    return {
        "frame": np.repeat(STEP * np.arange(scene.instants), NUM_CAMERAS),
        "cam": np.tile(np.arange(NUM_CAMERAS), scene.instants),
        "seq": np.full(count, scene.seq),
        "subj": subj,
        "3D": poses,
        "position": position,
        "extrinsic_rot": rotations,
        "extrinsic_rot_inv": rotations.swapaxes(1, 2),
        "intrinsics": np.tile(cameras.intrinsics, (scene.instants, 1, 1)),
        "camera_position": np.tile(cameras.centers, (scene.instants, 1)),
        "motion": np.full(count, " + ".join(performance.kind for performance in performances) or "nobody"),
    }


def outline_rows(mask: np.ndarray, silhouettes: np.ndarray, subj: np.ndarray) -> dict[str, np.ndarray]:
    """`box` (N,P,4) and `occlusion` (N,P) of labels.h5, from the images (N,H,W) of `RenderedFrames`.

    A box is NaN where the frame shows nothing of a person's silhouette, and so is the occlusion.
    """
    count, people = subj.shape
    box, occlusion = np.full((count, people, 4), np.nan, np.float32), np.full((count, people), np.nan, np.float32)
    for person in range(people):
        whole = (silhouettes >> person & 1).astype(bool)
        area, visible = whole.sum((1, 2)), (mask == person + 1).sum((1, 2))
        left, width = _extent(whole.any(1))
        top, height = _extent(whole.any(2))
        box[:, person] = np.where(area[:, None] > 0, np.stack([left, top, width, height], axis=1), np.nan)
        occlusion[:, person] = np.where(area > 0, 1 - visible / np.maximum(area, 1), np.nan)
    return {"box": box, "occlusion": occlusion}


def _extent(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First true place of each row (N,S), and the distance from there to behind the last."""
    first = filled.argmax(1)
    return first, filled.shape[1] - filled[:, ::-1].argmax(1) - first
