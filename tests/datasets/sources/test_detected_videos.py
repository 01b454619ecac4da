"""From the videos of the recording in the box to a set with poses: a few instants of the whole command."""

import functools

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")
pytest.importorskip("ai_edge_litert")

from datasets.layout.labels import Labels
from datasets.reader import MultiViewDataset
from datasets.sources.own_videos.prepare import prepare_videos
from datasets.sources.own_videos.recordings import one_recording, read_pose_clock, read_pose_file, read_to_z_up
from datasets.validation import validate
from datasets.video.image_area import image_area
from tests.tiny import ROOT
from training.trained.evaluation import label_note
from utils.errors import UserError
from utils.skeleton import BONES

RECORDING = ROOT / "examples/recording"
VIDEOS = sorted((RECORDING / "videos").glob("*.mp4"))
EVERY = 12


def recording(calibration="Calib.qca.txt", **more):
    return one_recording([str(video) for video in VIDEOS], RECORDING / calibration, **more)


def prepare(output, *recordings, **options):
    options = {"size": 32, "every": EVERY, "background": False, "workers": 1, "progress": False, **options}
    return prepare_videos(recordings, output, **options)


@pytest.fixture(scope="module", autouse=True)
def bars_looked_for_once():
    """All tests read the same videos, and black bars are found elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.sources.own_videos.video_sizes.image_area", functools.cache(image_area))
        yield


@pytest.fixture(scope="module")
def triangulated(tmp_path_factory):
    output = tmp_path_factory.mktemp("detected") / "set"
    return output, prepare(output, recording(), triangulate=True, upright=True)


def test_triangulated_poses(triangulated):
    output, report = triangulated
    poses = read_pose_file(output / "poses/recording_000.npz")
    assert read_pose_clock(output / "poses/recording_000.npz") == (60, dict.fromkeys((v.stem for v in VIDEOS), 0))
    shipped = read_pose_file(RECORDING / "poses.npz")
    known = np.isfinite(poses).all((1, 2))
    assert known[::EVERY].sum() >= 8 and known.sum() == known[::EVERY].sum()
    # Every 12th frame knows little of the motion between, so that the track is not the same.
    error = np.linalg.norm((poses - poses[:, :1]) - (shipped - shipped[:, :1])[: len(poses)], axis=-1)[known]
    assert np.median(error) < 0.05
    lengths = np.stack([np.linalg.norm(poses[known, a] - poses[known, b], axis=-1) for a, b in BONES])
    assert np.abs(lengths / np.median(lengths, axis=1, keepdims=True) - 1).max() < 0.1
    assert (read_to_z_up(output / "poses/recording_000.npz") == np.eye(3)).all()
    for line in (
        "scaled by 0.9927",
        "median reprojection error",
        "exchanged",
        "BlazePose alone",
        "images with a person",
    ):
        assert line in report
    assert "WARNING: cameras agree" not in report and "WARNING: rays" not in report
    assert (output / "overlays/recording_000.png").is_file() and (output / "boxes/recording_000.csv").is_file()


def test_the_set_says_that_its_poses_are_triangulated(triangulated):
    output, _ = triangulated
    assert "poses: triangulated from" in validate(output)
    dataset = MultiViewDataset(output, ["img_crop", "3D"], progress=False)
    assert "are triangulated from" in label_note(dataset) and dataset.labels.label_source.endswith("not measured")


def test_a_finished_set_stays_and_upright_crops_are_upright(triangulated):
    output, report = triangulated
    assert prepare(output, recording(), triangulate=True, upright=True) == report
    up = Labels(output)["extrinsic_rot"][:, :, 2]
    assert np.abs(up[:, 0]).max() < 1e-6 and (up[:, 1] < 0).all()


def test_shipped_poses_and_cameras_make_the_same_kind_of_set(triangulated, tmp_path):
    prepare(tmp_path / "poses", recording("cameras.json", poses=RECORDING / "poses.npz"))
    assert Labels(tmp_path / "poses").label_source == Labels(triangulated[0]).label_source
    assert len(Labels(tmp_path / "poses")["frame"]) == 36


def test_boxes_alone(triangulated, tmp_path):
    report = prepare(tmp_path / "boxes", recording(), detect=True)
    assert "3D" not in Labels(tmp_path / "boxes")
    assert "9 of 9 instants" in report


def test_a_detector_and_boxes_are_an_error(tmp_path):
    with pytest.raises(UserError, match="boxes or poses are given"):
        prepare(tmp_path / "both", recording(boxes=RECORDING / "boxes.csv"), detect=True)
