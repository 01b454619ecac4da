"""The wild world: its sequences, and rendering them.

A sequence is a session: one person in one set of clothes, in one interior, before one rig of cameras. Its instants are
some of three motions, and more composed poses. Consecutive sessions share the person and the interior.
"""

from typing import NamedTuple

import numpy as np

from datasets.cameras.crop_camera import CropCamera, crop_rows
from datasets.motion.captured.clips import ClipSegment, retarget_segment
from datasets.motion.composed import Moments, compose_poses
from datasets.motion.motions import procedural_motion
from datasets.motion.posing import Limbs
from datasets.people.body import Body, Motion, load_body
from datasets.people.clothes import Wardrobe
from datasets.people.crowd import CROWD
from datasets.rendered.raycast import DEVICE, RenderedBody, Renderer, RenderView, Room, Triangles
from datasets.rendered.wild.interiors import Interior, draw_interior, draw_light
from datasets.rendered.wild.recorded import RecordedCameras
from datasets.rendered.wild.rigs import NUM_CAMERAS, Rig, cover, develop, draw_boxes, draw_rig, outside_image

PEOPLE = {"train": 72, "test": 16}
CROPS_PER_PERSON = 400  # in sets too large for so few people
FIRST_PERSON = {"train": CROWD, "test": 1000 * CROWD}  # numbers of people and interiors: no split has another's
CROPS = 96  # about so many in a sequence
FEWEST_SESSIONS = 2  # of a person: one of them can be held out for validation
SESSIONS_PER_ROOM = 4
FPS, FRAMES = 5, 24  # of the motions
CLIP_AREA = 0.9  # meters: captured motion must fit into the smallest interior
COMPOSED_SHARE = 0.75  # of the instants
_MOTIONS = 3  # per sequence
_BYSTANDERS = 0.35  # share of the sequences in which somebody stands behind


class Session(NamedTuple):
    """One sequence: its number, person, interior, number of cameras and instants, and the motions it is made of.

    motions: kinds of procedural motion, or segments of captured motion.
    """

    seq: int
    subject: int
    interior: int
    cameras: int
    instants: int
    motions: tuple[str | ClipSegment, ...]

    @property
    def key(self) -> str:
        return f"seq_{self.seq:06d}"

    @property
    def num_crops(self) -> int:
        return self.cameras * self.instants


def plan_sessions(
    crops: int,
    seed: int,
    split: str,
    people: int,
    kinds: tuple[str, ...],
    segments: list[ClipSegment] | None,
    numbers: tuple[int, ...] = NUM_CAMERAS,
) -> list[list[Session]]:
    """Sessions of at least `crops` crops, in groups that share a person and an interior.

    All people have equally many sessions (within one). segments: captured motion, of which two of three motions are.
    numbers: of cameras, drawn from for each session.
    """
    rng = np.random.default_rng([seed, 2, ("train", "test").index(split)])
    count = max(FEWEST_SESSIONS * people, round(crops / CROPS))
    count = max(1, min(count, crops // (2 * max(numbers))))
    groups, left = [], crops
    for person, sessions in enumerate(np.array_split(np.arange(count), min(people, count))):
        for start in range(0, len(sessions), SESSIONS_PER_ROOM):
            # Everybody has an interior of their own first, and then those of others.
            interior = (person + 7 * (start // SESSIONS_PER_ROOM)) % people
            group = []
            for seq in sessions[start : start + SESSIONS_PER_ROOM]:
                cameras = int(rng.choice(numbers))
                # What is left is shared evenly by the sessions to come, so that the sum is what was asked for.
                instants = max(2, round(left / (count - int(seq)) / cameras))
                if seq == count - 1:
                    instants = max(2, -(-left // cameras))
                motions = _choose_motions(kinds, segments, rng)
                who, where = (FIRST_PERSON[split] + number for number in (person, interior))
                group.append(Session(int(seq), who, where, cameras, instants, motions))
                left -= cameras * instants
            groups.append(group)
    return groups


def _choose_motions(kinds: tuple[str, ...], segments: list[ClipSegment] | None, rng) -> tuple:
    chosen = [str(kind) for kind in rng.choice(kinds, _MOTIONS, replace=len(kinds) < _MOTIONS)]
    if segments:
        chosen[1:] = [segments[i] for i in rng.integers(len(segments), size=_MOTIONS - 1)]
    return tuple(chosen)


class PosedSession(NamedTuple):
    """What a session shows: vertices (T,V,3) of the person, world, meters; the cameras and their crops; its labels.

    crop: of (T,C) crops. rows: of labels.h5, frame by frame, all cameras.
    """

    vertices: np.ndarray
    rig: Rig
    crop: CropCamera
    rows: dict[str, np.ndarray]


def session_rng(seed: int, split: str, session: Session) -> np.random.Generator:
    """The random numbers of a session: a stream of its own, so that resuming and workers change no byte."""
    return np.random.default_rng([seed, 3, ("train", "test").index(split), session.seq])


def pose_session(
    session: Session,
    interior: Interior,
    body: Body,
    limbs: Limbs,
    rng: np.random.Generator,
    recorded: RecordedCameras | None = None,
) -> PosedSession:
    """Poses, cameras and labels of a session. recorded: its cameras; None: they are drawn."""
    motion, names = _perform(session, body, limbs, rng, interior.area)
    vertices, joints = body.pose(motion)
    rig = recorded.rig(rng) if recorded else draw_rig(interior, session.cameras, joints, rng)
    seen = np.einsum("cij,tckj->tcki", rig.rotations, joints.astype(np.float64)[:, None] - rig.centers[:, None])
    crop = draw_boxes(seen, rng, recorded.up if recorded else None)
    count = session.num_crops
    rows = crop_rows(rig.rotations, seen, crop)
    rows = {name: value.reshape(count, *value.shape[2:]) for name, value in rows.items()}
    rows["frame"] = np.repeat(np.arange(session.instants), session.cameras)
    rows["cam"] = np.tile(np.arange(session.cameras), session.instants)
    rows["seq"], rows["subj"] = np.full(count, session.seq), np.full(count, session.subject)
    rows["motion"] = np.repeat(names, session.cameras)
    return PosedSession(vertices, rig if recorded else cover(rig, seen), crop, rows)


class SessionRenderer:
    """Renders sessions. The last interior and the last person are kept. recorded: the cameras of all; None: drawn."""

    def __init__(self, seed: int, split: str, size: int, device: str = DEVICE, recorded: RecordedCameras | None = None):
        self.seed, self.split, self.size, self.device, self.recorded = seed, split, size, device, recorded
        self._interior = self._person = (None,)

    def __call__(self, session: Session) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """`img_crop`, `bg_crop` (N,size,size,3), `mask_crop` (N,size,size) uint8, and the rows of labels.h5."""
        rng = session_rng(self.seed, self.split, session)
        interior, room = self._open_interior(session.interior)
        body, limbs, wardrobe, triangles = self._open_person(session.subject, room)
        posed = pose_session(session, interior, body, limbs, rng, self.recorded)
        light, outfit = draw_light(interior, rng), wardrobe.dress(rng)
        place = posed.rig.place_behind(interior, rng) if rng.random() < _BYSTANDERS else None
        others = None if place is None else self._bystander(session, room, place, light, rng)
        render = Renderer(room, light, triangles, outfit.colors, outfit.thickness, others)
        rotations = posed.rows["extrinsic_rot"].reshape(*posed.crop.rotation.shape)
        views = (
            RenderView(posed.rig.centers, *view) for view in zip(rotations, posed.crop.intrinsic_crop, strict=True)
        )
        crops = [render.with_mask(*frame, self.size) for frame in zip(posed.vertices, views, strict=True)]
        images = [np.stack(image) for image in zip(*crops, strict=True)]
        self._photograph(images, posed.rig, posed.crop)
        return *(image.reshape(session.num_crops, *image.shape[2:]) for image in images), posed.rows

    def _photograph(self, images: list[np.ndarray], rig: Rig, crop: CropCamera) -> None:
        """Give crops and masks (T,C,size,size,...) the looks of their cameras, and black borders, in place."""
        for camera, look in enumerate(rig.looks):
            outside = outside_image(rig, camera, CropCamera(*(value[:, camera] for value in crop)), self.size)
            for image in images[:2]:
                image[:, camera] = develop(image[:, camera], look)
            if outside is not None:
                for image in images:
                    image[:, camera][outside] = 0

    def _open_interior(self, number: int):
        if self._interior[0] != number:
            interior = draw_interior(number, self.recorded and self.recorded.space)
            room = Room(interior.surface, interior.lamps, self.device, interior.spread)
            self._interior = number, interior, room
        return self._interior[1:]

    def _open_person(self, subject: int, room: Room):
        if self._person[0] != subject:
            body = load_body(subject)
            triangles = Triangles(room, body.faces, len(body.rest_vertices))
            self._person = subject, body, Limbs(body), Wardrobe(body, subject), triangles
        return self._person[1:]

    def _bystander(self, session: Session, room: Room, place: np.ndarray, light, rng) -> RenderedBody:
        """Somebody who stands at a place (2,) of the floor."""
        # The neighbor in number, whoever is rendered in this session.
        body = load_body(session.subject + 1)
        kind = str(rng.choice(["waiting", "phoning", "discussion", "greeting"]))
        motion = procedural_motion(kind, body, 1, FPS, rng, 0.1)
        motion.translation[:, :2] = place
        outfit = Wardrobe(body, body.subject).dress(rng)
        triangles = Triangles(room, body.faces, len(body.rest_vertices))
        other = RenderedBody(room, light, triangles, outfit.colors, outfit.thickness)
        other.place(body.pose(motion)[0][0], 2 * self.size)
        return other


def _perform(session: Session, body: Body, limbs: Limbs, rng, area: float) -> tuple[Motion, np.ndarray]:
    """The poses of a session's instants, and the names of their motions (T,)."""
    motions = [_motion(kind, body, rng, area) for kind in session.motions]
    names = [kind.name if isinstance(kind, ClipSegment) else kind for kind in session.motions]
    composed = round(COMPOSED_SHARE * session.instants)
    parts, labels = [], []
    for part, name, count in zip(motions, names, _shares(session.instants - composed, len(motions)), strict=True):
        frames = np.sort(rng.choice(len(part.translation), count, replace=count > len(part.translation)))
        parts.append(Motion(part.rotations[frames], part.translation[frames]))
        labels += [name] * count
    if composed:
        parts.append(compose_poses(body, Moments.of(motions), composed, rng, area, limbs))
        labels += ["composed"] * composed
    return Motion(*(np.concatenate(values) for values in zip(*parts, strict=True))), np.array(labels)


def _shares(total: int, parts: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(total), parts)]


def _motion(kind: str | ClipSegment, body: Body, rng, area: float) -> Motion:
    if isinstance(kind, ClipSegment):
        return retarget_segment(kind, body, FPS, rng, area)
    return procedural_motion(kind, body, FRAMES, FPS, rng, area)
