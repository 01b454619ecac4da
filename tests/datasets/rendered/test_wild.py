"""The wild world: people, interiors, cameras and boxes differ; labels, pictures and masks agree; sets resume."""

from itertools import chain

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from datasets.cameras.crop_camera import project_to_crop
from datasets.layout.arguments import MOST
from datasets.layout.labels import ROW_SHAPES, Labels
from datasets.layout.png import read_png
from datasets.layout.writer import image_path
from datasets.motion.motions import MOTIONS
from datasets.motion.posing import Limbs
from datasets.people.body import Body, load_body
from datasets.rendered.dataset import RenderSet, render_dataset
from datasets.rendered.presets import KINDS, PRESETS, label_checksums
from datasets.rendered.scenes.planning import SceneSet, most_people
from datasets.rendered.wild.interiors import draw_interior
from datasets.rendered.wild.rigs import MAX_ROLL
from datasets.rendered.wild.sessions import FIRST_PERSON, Session, plan_sessions, pose_session, session_rng
from datasets.validation import validate
from tests.synthetic import set_checksum
from utils.errors import UserError

SIZE = 32


def pose(session: Session, seed: int = 0, split: str = "train"):
    body = load_body(session.subject)
    return pose_session(session, draw_interior(session.interior), body, Limbs(body), session_rng(seed, split, session))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A set of three people in three rooms."""
    folder = tmp_path_factory.mktemp("wild") / "set"
    return render_dataset(folder, 90, SIZE, world="wild", people=3, workers=1, progress=False)


def test_a_set_is_valid_and_has_masks(rendered):
    summary = validate(rendered)
    assert "img_crop, bg_crop and mask_crop" in summary
    labels = Labels(rendered)
    assert 90 <= labels.num_rows < 95 and len(set(labels["subj"])) == 3
    assert "composed" in labels["motion"] and len(set(labels["motion"])) > 3


def test_masks_cover_what_differs_from_the_background(rendered):
    labels, inside, differing = Labels(rendered), [], []
    for row in range(0, labels.num_rows, 3):
        place = [int(labels[name][row]) for name in ("seq", "cam", "frame")]
        image, background = (
            read_png(image_path(rendered, *place, kind)).astype(int) for kind in ("img_crop", "bg_crop")
        )
        mask = read_png(image_path(rendered, *place, "mask_crop"), channels=1)[..., 0]
        changed = np.abs(image - background).max(-1) > 40
        differing.append((mask[changed] > 0).mean() if changed.any() else 1.0)
        inside.append((mask > 127).mean())
    # Shadows differ from the background outside of the mask.
    assert np.mean(differing) > 0.75 and 0.03 < np.mean(inside) < 0.4


def test_masks_cover_the_joints_that_labels_place(rendered, monkeypatch):
    labels, original, posed = Labels(rendered), Body.pose, []
    monkeypatch.setattr(Body, "pose", lambda self, motion: posed.append(original(self, motion)) or posed[-1])
    covered, placed = [], 0
    for session in chain.from_iterable(plan_sessions(90, 0, "train", 3, MOTIONS, None)):
        # Labels do not say where the root is in a crop: the joints in the world do.
        seen, joints = pose(session), posed[-1][1]
        of_session = np.asarray(labels["seq"]) == session.seq
        rotation = np.asarray(labels["extrinsic_rot"])[of_session].reshape(*joints.shape[:1], session.cameras, 3, 3)
        in_view = np.einsum("tcij,tcpj->tcpi", rotation, joints[:, None] - seen.rig.centers[:, None])
        relative = (in_view - in_view[:, :, :1]).reshape(-1, 51)
        np.testing.assert_allclose(np.asarray(labels["3D"])[of_session], relative, atol=1e-4)
        crops = project_to_crop(in_view.reshape(-1, 17, 3), np.asarray(labels["intrinsic_crop"])[of_session])
        for row, crop in zip(np.flatnonzero(of_session), crops, strict=True):
            place = [int(labels[name][row]) for name in ("seq", "cam", "frame")]
            mask = read_png(image_path(rendered, *place, "mask_crop"), channels=1)[..., 0]
            x, y = (crop[((crop > 0) & (crop < 1)).all(-1)] * SIZE).astype(int).T
            covered.extend(mask[y, x] > 0)
            placed += 17
    # Boxes miss a joint now and then, and an edge is a pixel wide. Mirrored crops cover half of them.
    assert np.mean(covered) > 0.95 and len(covered) > 0.95 * placed


def test_the_same_set_comes_from_an_interrupted_call(rendered, tmp_path, monkeypatch):
    from datasets.rendered import dataset

    written = []

    class Stop(Exception):
        pass

    def until_stopped(self, *arguments):
        if len(written) == 2:
            raise Stop
        written.append(arguments[3])
        return add(self, *arguments)

    add = dataset.LayoutWriter.add
    monkeypatch.setattr(dataset.LayoutWriter, "add", until_stopped)
    with pytest.raises(Stop):
        render_dataset(tmp_path / "set", 90, SIZE, world="wild", people=3, workers=1, progress=False)
    monkeypatch.undo()
    render_dataset(tmp_path / "set", 90, SIZE, world="wild", people=3, workers=1, progress=False)
    assert set_checksum(tmp_path / "set") == set_checksum(rendered)


def test_labels_are_those_of_what_the_cameras_see():
    session = plan_sessions(2000, 0, "train", 4, MOTIONS, None)[0][0]
    posed = pose(session)
    rows, shape = posed.rows, (session.instants, session.cameras)
    rotation = rows["extrinsic_rot"].reshape(*shape, 3, 3)
    poses = rows["3D"].reshape(*shape, 17, 3)
    # Rotated into the world, all cameras of an instant have one pose.
    world = np.einsum("tcji,tckj->tcki", rotation, poses)
    np.testing.assert_allclose(world, np.broadcast_to(world[:, :1], world.shape), atol=1e-6)
    # The body stands on the floor or jumps, and all of it is in the crop but for the errors of the box.
    lowest = posed.vertices[..., 2].min(1)
    assert lowest.min() > -0.03 and np.median(lowest) < 0.03
    seen = posed.vertices[:, None, ::50] - posed.rig.centers[:, None]
    crops = project_to_crop(np.einsum("tcij,tcvj->tcvi", rotation, seen), posed.crop.intrinsic_crop)
    assert ((crops > 0) & (crops < 1)).all(-1).mean() > 0.9


def test_cameras_differ_in_number_height_distance_and_roll():
    groups = plan_sessions(24_000, 0, "train", 72, MOTIONS, None)
    sessions = [group[0] for group in groups][::9]
    rigs = [pose(session).rig for session in sessions]
    assert {len(rig.centers) for rig in rigs} >= {3, 4}
    centers = np.concatenate([rig.centers for rig in rigs])
    distance = np.linalg.norm(centers[:, :2], axis=1)
    assert distance.min() < 3.2 and distance.max() > 4.5 and np.ptp(centers[:, 2]) > 1
    rotations = np.concatenate([rig.rotations for rig in rigs])
    roll = np.degrees(np.arcsin(-rotations[:, 0, 2] / np.hypot(rotations[:, 0, 2], rotations[:, 1, 2])))
    assert 10 < np.abs(roll).max() <= MAX_ROLL + 0.1 and (np.abs(roll) < 5).mean() > 0.3


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_preset_is_planned_as_promised(split):
    preset = PRESETS["wild64"]
    job = preset.render_set(split)
    sessions = [s for group in plan_sessions(job.crops, job.seed, split, job.people, job.kinds, None) for s in group]
    assert 0 <= sum(session.num_crops for session in sessions) - preset.crops[split] < 5
    assert [session.seq for session in sessions] == list(range(len(sessions)))
    people, rooms = ({getattr(s, name) for s in sessions} for name in ("subject", "interior"))
    assert len(people) == job.people >= (60 if split == "train" else 16) and len(rooms) >= (
        30 if split == "train" else 10
    )
    assert {motion for session in sessions for motion in session.motions} == set(KINDS[split])
    other = "test" if split == "train" else "train"
    job = preset.render_set(other)
    others = [s for group in plan_sessions(job.crops, job.seed, other, job.people, job.kinds, None) for s in group]
    assert not people & {s.subject for s in others} and not rooms & {s.interior for s in others}


def test_no_split_has_people_of_another():
    last = FIRST_PERSON["train"] + MOST["people"] - 1
    assert last + 1 < FIRST_PERSON["test"], "a bystander is the next person"
    assert most_people(SceneSet(MOST["crops"], (24, 16), 0, "train", "2")) <= MOST["people"]


def test_labels_of_the_preset_have_not_changed():
    # The first sessions stand for all: rendering the preset checks the rest.
    job = PRESETS["wild64"].render_set("test")
    sessions = plan_sessions(job.crops, job.seed, "test", job.people, job.kinds, None)[0][:2]
    parts = [pose(session, job.seed, "test").rows for session in sessions]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, (shape, dtype) in ROW_SHAPES.items():
        rows[name] = np.asarray(rows[name], dtype=dtype).reshape(len(rows["seq"]), *shape)
    found = label_checksums(rows)
    assert found["ids_sha256"][:12] == FIRST_IDS
    np.testing.assert_allclose(found["pose_statistics"], FIRST_STATISTICS, atol=1e-4)


FIRST_IDS = "cf383cb98108"
FIRST_STATISTICS = [0.005568, -0.086872, -0.019433, 0.186751, 0.379095, 0.2204]


def test_people_have_bodies_and_clothes_of_their_own():
    from datasets.people.clothes import Wardrobe
    from datasets.people.crowd import CROWD, drawn_head, drawn_shape

    shapes = [drawn_shape(subject) for subject in range(CROWD, CROWD + 60)]
    assert np.ptp([shape["stature"] for shape in shapes]) > 0.25
    skins = np.array([drawn_head(subject)["skin"].mean() for subject in range(CROWD, CROWD + 60)])
    assert skins.min() < 0.3 and skins.max() > 0.75
    assert drawn_shape(CROWD) == drawn_shape(CROWD)
    wardrobe, rng = Wardrobe(load_body(CROWD), CROWD), np.random.default_rng(0)
    outfits = [wardrobe.dress(rng).colors for _ in range(12)]
    bare = [
        np.isclose(outfit.reshape(-1, 3), wardrobe.head["skin"] ** 2, atol=0.02).all(-1).mean() for outfit in outfits
    ]
    # Head and hands are 40 % of all texels; some show much more skin.
    assert max(bare) > 0.55 and min(bare) < 0.45


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(world="mars"), "world 'mars'"),
        (dict(world="wild", every=4), "every is 4"),
        (dict(people=5), "people is 5"),
        (dict(world="wild", people=0), "people is 0"),
        (dict(world="wild", people=900_001), "people is 900001; expected at least 1, at most 900000"),
    ],
)
def test_bad_arguments_are_named(arguments, words, tmp_path):
    with pytest.raises(UserError, match=words):
        render_dataset(tmp_path / "set", 40, SIZE, **arguments)
    assert not (tmp_path / "set").exists()


def test_a_set_of_the_room_is_described_as_before():
    assert RenderSet(40, 64, 0, "train").describe() == {
        "crops": 40,
        "size": 64,
        "seed": 0,
        "split": "train",
        "every": 1,
    }
