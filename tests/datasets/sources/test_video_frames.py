"""`prepare_videos.py --frames`: full frames of calibrated videos, without distortion, with people and their poses."""

import json
import re
import sys

import numpy as np
import pytest

from configs import prepare_videos
from datasets import FrameDataset, FrameWriter, Labels
from datasets.cameras.camera import Camera
from datasets.detection.blazepose import NUM_LANDMARKS
from datasets.sources.own_videos import scene_people
from datasets.sources.own_videos.detected import absence_notes
from datasets.sources.own_videos.landmarks import LandmarkSearch, People
from datasets.sources.own_videos.plan import make_plan
from datasets.sources.own_videos.prepare_frames import prepare_frames
from datasets.sources.own_videos.recordings import one_recording
from datasets.sources.own_videos.scene_people import find_people
from datasets.triangulation.people import follow_people
from datasets.triangulation.points import LANDMARKS, skeleton
from datasets.validation import validate
from datasets.video.cropping import frame_intrinsics, frame_map
from tests.miniature_videos import HEIGHT, OFFSETS, WIDTH, write_recording
from tests.processes import fork_script
from tests.video_files import write_video
from tests.walking_points import four_cameras, landmarks, walk
from utils.errors import UserError


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("filmed"), instants=8, body=True)


def recording(filmed, **fields):
    videos = [f"{name}={path}" for name, path in filmed.videos.items()]
    offsets = [f"{name}={offset}" for name, offset in OFFSETS.items()]
    return one_recording(videos, filmed.calibration, offsets=offsets, **fields)


@pytest.fixture
def two_people(filmed, monkeypatch):
    """Points (T,P,3) of two people, whom the detector finds in another order in each camera."""
    points = [walk(8), walk(8) + np.array([1.1, 0.4, 0])]
    cameras = list(filmed.cameras.values())
    pixels = np.stack([landmarks(cameras, one, noise=0.2) for one in points], axis=2)

    def found(file):
        name = file.stem.removeprefix("recording_000_")
        number, count = list(OFFSETS).index(name), 8 + OFFSETS[name]
        of_camera = np.full((count, 3, NUM_LANDMARKS, 2), np.nan, np.float32)
        of_camera[OFFSETS[name] :, :2] = pixels[number][:, :: -1 if number else 1]
        visibility = np.where(np.isfinite(of_camera[..., 0]), np.float32(0), np.nan)
        visibility[..., list(LANDMARKS)] += 1
        world = np.zeros((*visibility.shape, 3), np.float32)
        return People(np.arange(count), of_camera, visibility, world, visibility[..., 0])

    def searches(plans, output, **_):
        return [[LandmarkSearch(output / f"recording_000_{name}.npz", None, None) for name in OFFSETS] for _ in plans]

    monkeypatch.setattr("datasets.sources.own_videos.scene_people.read_people", found)
    monkeypatch.setattr("datasets.sources.own_videos.prepare_frames.find_landmarks", searches)
    return points


def test_frames_are_those_of_a_camera_without_distortion():
    eye, distortion = np.eye(3), np.array([-0.25, 0.08, 0.002, -0.001, 0.0])
    camera = Camera(eye, np.zeros(3), np.array([[260.0, 0, 165], [0, 260, 118], [0, 0, 1]]), distortion, WIDTH, HEIGHT)
    size = (60, 80)
    places, matrix = frame_map(camera, size), frame_intrinsics(camera, size)
    points = np.random.default_rng(0).uniform([-0.5, -0.35, 1], [0.5, 0.35, 1], (50, 3))
    # A picture whose colors are its coordinates: sampling it tells from where each pixel comes.
    x, y = np.meshgrid(np.arange(WIDTH) / 2, np.arange(HEIGHT))
    sampled = places.sample(np.stack([x, y], -1).round().astype(np.uint8)).astype(float) * [2, 1]
    column, row, _ = np.rint(points @ matrix.T).astype(int).T
    distorted = camera.project(np.stack([column, row, np.ones_like(row)], -1) @ np.linalg.inv(matrix).T)
    np.testing.assert_allclose(sampled[row, column], distorted, atol=2)
    # The corners of the image stay its corners.
    corner = np.linalg.inv(camera.intrinsics) @ [WIDTH - 0.5, HEIGHT - 0.5, 1]
    np.testing.assert_allclose((matrix @ corner)[:2], [79.5, 59.5])


def test_script_writes_frames_of_videos(filmed, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    options = ["--frames", "--width", "80", "--output", str(output), "--cut", "3"]
    command = ["prepare_videos.py", *filmed.arguments, *options]
    done = fork_script(*command)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 instants, sequences 1 to 4; 3 cameras, frames of 80x60 px" in done.stdout
    assert "24" in validate(output).splitlines()[-4].split()
    dataset = FrameDataset(output)
    assert dataset.size == (60, 80) and len(dataset) == 24 and dataset.labels["camera_position"].shape == (24, 3)
    assert (dataset.labels["subj"] == -1).all() and "3D" not in dataset.labels
    for row in (0, 13, 23):
        item, labels = dataset[row], dataset.labels
        camera = list(filmed.cameras.values())[labels["cam"][row]]
        joints = camera.world_to_cam(filmed.joints[labels["frame"][row]])
        pixels = joints @ item["intrinsics"].double().numpy().T
        x, y = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        # Along the limbs the frame differs from the background.
        changed = (item["img"].int() - item["bg"].int()).abs().sum(0).numpy()
        inside = (x >= 0) & (x < 80) & (y >= 0) & (y < 60)
        assert np.median(changed[y[inside], x[inside]]) > 30
    monkeypatch.setattr(sys, "argv", command)
    prepare_videos.main()
    assert capsys.readouterr().out == done.stdout


def test_frames_of_pieces_that_were_lost_are_written_again(filmed, tmp_path, monkeypatch):
    output, options = tmp_path / "out", {"width": 32, "workers": 1, "progress": False}
    monkeypatch.setattr("datasets.video.crops_of_views.CHUNK", 3)
    with monkeypatch.context() as patch:
        patch.setattr(FrameWriter, "finish", lambda *_, **__: None)
        prepare_frames([recording(filmed)], output, **options)
    (output / ".parts/recording_000_01_000003.npz").unlink()
    (output / ".parts/recording_000_02_000000.npz").write_bytes(b"")
    prepare_frames([recording(filmed)], output, **options)
    labels = Labels(output)
    assert [labels["frame"][labels["cam"] == cam].tolist() for cam in range(3)] == 3 * [list(range(8))]
    validate(output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "--upright"], "--upright is for crops; expected it without --frames"),
        (["--width", "80"], "--width is 80 without --frames"),
        (["--frames", "--width", "4"], "size is 4; expected at least 16 pixels"),
        (["--frames", "--workers", "0"], "workers is 0; expected at least 1"),
        (["--workers", "0"], "workers is 0; expected at least 1"),
        (["--frames", "--poses", "POSES"], "poses of one person are given; expected none for full frames"),
    ],
)
def test_wrong_arguments_are_one_line(filmed, tmp_path, monkeypatch, arguments, message):
    arguments = [str(filmed.poses) if argument == "POSES" else argument for argument in arguments]
    command = ["prepare_videos.py", *filmed.arguments, *arguments, "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(UserError, match=message):
        prepare_videos.main()
    assert not (tmp_path / "out").exists()


def test_cameras_of_another_shape_are_one_line(filmed, tmp_path):
    fields = json.loads(filmed.calibration.read_text())
    fields["cameras"]["right"]["height"] = HEIGHT // 2
    cut = tmp_path / "right.mp4"
    write_video(cut, [np.full((HEIGHT // 2, WIDTH, 3), 90, np.uint8)] * 10)
    (tmp_path / "calibration.json").write_text(json.dumps(fields))
    videos = [f"left={filmed.videos['left']}", f"right={cut}"]
    with pytest.raises(UserError, match=r"60 px high of camera 'left' .*320x240 px\) and 30 px of camera 'right'"):
        prepare_frames([one_recording(videos, tmp_path / "calibration.json")], tmp_path / "out", 80, progress=False)


def test_a_cropped_video_that_nothing_checks_is_a_warning(filmed, tmp_path):
    fields = json.loads(filmed.calibration.read_text())
    fields["cameras"]["right"]["width"] += 40
    (tmp_path / "calibration.json").write_text(json.dumps(fields))
    given = recording(filmed)._replace(calibration=tmp_path / "calibration.json")
    report = prepare_frames([given], tmp_path / "out", 32, every=4, workers=1, progress=False)
    warning = r"WARNING: camera 'right': video 320x240 px, .* 360x240 px: cropped, 20 px left, 20 px right: the middle,"
    assert len(re.findall(warning, report)) == 1
    (note,) = make_plan(given._replace(poses=filmed.poses), 4).notes
    assert re.match(warning, note)


def test_boxes_and_poses_of_several_people(filmed, two_people, tmp_path):
    report = prepare_frames([recording(filmed, subject=4)], tmp_path / "out", 80, triangulate=True, progress=False)
    assert "2 people are seen by two cameras or more: 8 instants (8 with a pose), 8 instants" in report
    assert "without lens distortion; files: recording_000\n" in report
    summary = validate(tmp_path / "out")
    assert "2 subjects in 2 columns: 4, 5" in summary and "poses: triangulated" in summary
    labels = Labels(tmp_path / "out")
    world = np.einsum("nij,npj->npi", labels["extrinsic_rot_inv"], labels["position"])
    world = world + labels["camera_position"][:, None]
    true = np.stack([skeleton(points)[:, 0] for points in two_people], axis=1)[labels["frame"]]
    # Which of them is the first is not said.
    if np.linalg.norm(world[0] - true[0], axis=-1).max() > 0.5:
        true = true[:, ::-1]
    assert np.linalg.norm(world - true, axis=-1).max() < 0.03
    assert np.isfinite(labels["3D"]).all() and (labels["subj"] == [4, 5]).all()
    with pytest.raises(UserError, match=r"expected \{'statistics': "):
        prepare_frames(
            [recording(filmed, subject=4)],
            tmp_path / "out",
            80,
            triangulate=True,
            statistics=tmp_path / "out",
            progress=False,
        )


def test_people_who_are_not_upright_are_warnings(filmed, two_people, tmp_path):
    """The cameras are in a world with z up, of which the file says that y is."""
    content = {**json.loads(filmed.calibration.read_text()), "up": "y"}
    (tmp_path / "y_up.json").write_text(json.dumps(content))
    tasks = [LandmarkSearch(tmp_path / f"recording_000_{name}.npz", None, None) for name in OFFSETS]
    for calibration, count in ((filmed.calibration, 0), (tmp_path / "y_up.json", 2)):
        plan = make_plan(recording(filmed)._replace(calibration=calibration), 1)
        notes = find_people(plan, tasks, (60, 80), 1, True, False)[0].notes
        assert sum(": WARNING: the trunk points" in note for note in notes) == count


@pytest.mark.parametrize("alone", [True, False])
def test_cropped_images_are_placed_before_people_are_told_apart(filmed, two_people, tmp_path, monkeypatch, alone):
    """The first camera shows the right end of the calibrated image; at first, one person may be there alone."""
    content = json.loads(filmed.calibration.read_text())
    content["cameras"]["left"]["width"] += 160
    content["cameras"]["left"]["K"][0][2] += 160
    (tmp_path / "wide.json").write_text(json.dumps(content))
    find = scene_people.read_people

    def read_people(file):
        people, name = find(file), file.stem.removeprefix("recording_000_")
        offset = OFFSETS[name]
        # The one who comes later is the second in the first camera, and the first in the others.
        for values in people[1:] if alone else ():
            values[offset : offset + 3, 1 if name == "left" else 0] = np.nan
        return people

    monkeypatch.setattr(scene_people, "read_people", read_people)
    tasks = [LandmarkSearch(tmp_path / f"recording_000_{name}.npz", None, None) for name in OFFSETS]
    plan = make_plan(recording(filmed)._replace(calibration=tmp_path / "wide.json"), 1)
    plan, people = find_people(plan, tasks, (60, 80), 1, False, False)
    notes = "\n".join(plan.notes)
    if alone:
        assert "seen by two cameras or more: 8 instants, 5 instants" in notes and "WARNING" not in notes
        assert "cropped, 160 px left, 0 px right (rays miss by" in notes
        assert people.present.sum() == np.isfinite(people.boxes[0]).all(-1).sum() == 13
    else:
        assert "WARNING: left: cropped at a place that nothing tells" in notes


def test_boxes_without_poses(filmed, two_people, tmp_path):
    prepare_frames([recording(filmed)], tmp_path / "out", 80, detect=True, progress=False)
    labels = Labels(tmp_path / "out")
    assert "3D" not in labels and np.isfinite(labels["box"]).any(axis=-1).mean() > 0.8
    validate(tmp_path / "out")


def test_everybody_is_followed():
    cameras, points = four_cameras(), walk(12)
    both = [landmarks(cameras, points + shift) for shift in ([0, 0, 0], [1.5, 0.5, 0])]
    pixels = [np.stack([one[c] for one in both], axis=1) for c in range(4)]
    pixels[2] = pixels[2][:, ::-1]
    people, most = follow_people(cameras, pixels, 0.05)
    assert most == 2 and len(people) == 2
    first = people[0][0, 0]
    for detections, number in zip(people, (first, 1 - first), strict=True):
        assert (detections[[0, 1, 3]] == number).all() and (detections[2] == 1 - number).all()


def test_a_person_who_is_out_of_sight_does_not_become_a_neighbor():
    cameras, points = four_cameras(), walk(12)
    # The first stands where the second was, within reach, and is not seen at the end.
    both = [landmarks(cameras, points + shift) for shift in ([0, 0, 0], [0.45, 0, 0])]
    both[0][:, 8:] = np.nan
    both[1][2:, :6] = np.nan
    pixels = [np.stack([one[c] for one in both], axis=1) for c in range(4)]
    people, _ = follow_people(cameras, pixels, 0.05)
    assert len(people) == 2
    seen = {int(detections[0, 0]): (detections >= 0).any(0).sum() for detections in people}
    assert seen == {0: 8, 1: 12}
    assert all(len(set(detections[detections >= 0].tolist())) == 1 for detections in people)


def test_whoever_comes_after_a_long_absence_is_told():
    pixels = landmarks(four_cameras(), walk(40))
    pixels[:, 5:36] = np.nan
    (detections,), _ = follow_people(four_cameras(), list(pixels[:, :, None]), 0.05)
    seen = (detections >= 0).any(0)
    (note,) = absence_notes(seen, range(0, 80, 2), 0.05)
    assert note == "out of sight for 1.6 s from instant 10: whoever came then is taken for the same person"
    assert absence_notes(seen, range(40), 0.03) == []
    # Instants that are far apart do not miss the person between them.
    assert absence_notes(np.ones(3, bool), range(3), 2.0) == []
    often = np.tile([True, False, False], 6)
    assert absence_notes(often, range(18), 0.5)[3:] == ["2 more times out of sight for so long"]


def test_absences_of_several_people_are_in_the_report(filmed, two_people, tmp_path, monkeypatch):
    find, hidden = scene_people.read_people, slice(3, 5)

    def read_people(file):
        people = find(file)
        offset = OFFSETS[file.stem.removeprefix("recording_000_")]
        people.landmarks[offset:][hidden] = np.nan
        return people

    monkeypatch.setattr(scene_people, "read_people", read_people)
    tasks = [LandmarkSearch(tmp_path / f"recording_000_{name}.npz", None, None) for name in OFFSETS]
    notes = find_people(make_plan(recording(filmed), 1), tasks, (60, 80), 20, False, False)[0].notes
    # By the numbers that the labels have, as everywhere.
    for number in (1, 2):
        assert sum(note.startswith(f"subject {number}: out of sight for 1.2 s from instant 3:") for note in notes) == 1
