"""Standard benchmarks: what is held out for their test sets, and how rendered labels are checked."""

import sys
from itertools import chain

import h5py
import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from configs import render_dataset as render_script
from datasets.layout.labels import ROW_SHAPES, Labels
from datasets.motion.motions import MOTIONS
from datasets.rendered import presets
from datasets.rendered.dataset import SPLIT_SUBJECTS, RenderSet, plan_sequences, pose_sequence, sequence_rng
from datasets.rendered.presets import KINDS, PRESETS, check_labels, label_checksums, render_preset
from datasets.rendered.wild.sessions import COMPOSED_SHARE, plan_sessions
from utils.errors import UserError


def planned_labels(job: RenderSet) -> dict[str, np.ndarray]:
    """The labels that rendering `job` would write, in the types of labels.h5, without rendering it."""
    parts = [pose_sequence(sequence, sequence_rng(job, sequence))[2] for sequence in plan_sequences(job)]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, (shape, dtype) in ROW_SHAPES.items():
        rows[name] = np.asarray(rows[name], dtype=dtype).reshape(len(rows["seq"]), *shape)
    return rows


@pytest.fixture
def small(monkeypatch):
    """A benchmark of a few crops, with the checksums of its planned labels."""
    preset = PRESETS["benchmark64"]._replace(size=16, crops={"train": 20, "test": 8})
    planned = {split: label_checksums(planned_labels(preset.render_set(split))) for split in preset.crops}
    preset = preset._replace(checksums=planned)
    monkeypatch.setitem(presets.PRESETS, "small", preset)
    return preset


@pytest.mark.parametrize("name", ["benchmark", "benchmark64"])
def test_subjects_and_kinds_of_motion_of_the_test_set_are_never_seen_in_training(name):
    preset = PRESETS[name]
    sets = {split: plan_sequences(preset.render_set(split)) for split in ("train", "test")}
    for split, sequences in sets.items():
        assert 4 * sum(len(sequence.frames) for sequence in sequences) == preset.crops[split]
        assert {sequence.subject for sequence in sequences} == set(SPLIT_SUBJECTS[split])
        assert {sequence.motion for sequence in sequences} == set(KINDS[split])
    assert not set(KINDS["train"]) & set(KINDS["test"]) and set(KINDS["train"]) | set(KINDS["test"]) == set(MOTIONS)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["benchmark", "wild"])
def test_plans_of_whole_benchmarks_have_not_changed(name, split):
    job = PRESETS[name].render_set(split)
    rows = session_ids(job) if job.world == "wild" else sequence_ids(job)
    planned = {key: np.concatenate(values) for key, values in rows.items()}
    # Poses follow from rendering, and are not compared.
    poses = {key: np.zeros((len(planned["subj"]), *shape)) for key, (shape, _) in ROW_SHAPES.items()}
    found = label_checksums({**poses, **planned})
    assert found["ids_sha256"] == PRESETS[name].checksums[split]["ids_sha256"]


def sequence_ids(job: RenderSet) -> dict[str, list]:
    """The columns of labels.h5 that say what rows are of, by sequence: frame by frame, all cameras."""
    rows = {key: [] for key in ("subj", "seq", "frame", "cam", "motion")}
    for sequence in plan_sequences(job):
        frames, count = np.array(sequence.frames), 4 * len(sequence.frames)
        rows["frame"].append(frames.repeat(4))
        rows["cam"].append(np.arange(count) % 4)
        for key, value in (("subj", sequence.subject), ("seq", sequence.seq), ("motion", sequence.motion)):
            rows[key].append(np.full(count, value))
    return rows


def session_ids(job: RenderSet) -> dict[str, list]:
    """The same of the wild world, where a session is instants of three motions, and composed poses."""
    rows = {key: [] for key in ("subj", "seq", "frame", "cam", "motion")}
    for session in chain.from_iterable(plan_sessions(job.crops, job.seed, job.split, job.people, job.kinds, None)):
        composed = round(COMPOSED_SHARE * session.instants)
        shares = map(len, np.array_split(np.arange(session.instants - composed), len(session.motions)))
        motions = np.repeat([*session.motions, "composed"], [*shares, composed])
        rows["frame"].append(np.arange(session.instants).repeat(session.cameras))
        rows["cam"].append(np.tile(np.arange(session.cameras), session.instants))
        rows["motion"].append(motions.repeat(session.cameras))
        for key, value in (("subj", session.subject), ("seq", session.seq)):
            rows[key].append(np.full(session.num_crops, value))
    return rows


@pytest.mark.parametrize("name", ["benchmark", "wild"])
def test_both_sizes_have_the_same_labels(name):
    large, small = PRESETS[name], PRESETS[f"{name}64"]
    assert small == large._replace(size=64) and set(large.checksums) == {"train", "test"}


def test_rendered_labels_are_the_planned_ones(small, tmp_path):
    report = render_preset("small", tmp_path, workers=1)
    assert report.count("checksum") == 2
    for split in ("train", "test"):
        assert label_checksums(Labels(tmp_path / split)) == small.checksums[split]
    # A finished benchmark is not rendered again, only checked.
    assert render_preset("small", tmp_path, workers=1) == report


def test_other_labels_are_distinguished_from_rounding_on_another_machine(small, tmp_path):
    render_preset("small", tmp_path, workers=1)

    def change(key, values):
        with h5py.File(tmp_path / "test" / "labels.h5", "r+") as file:
            file[key][...] = values(file[key][()])

    rng = np.random.default_rng(0)
    change("3D", lambda poses: poses + rng.normal(0, 2e-5, poses.shape))
    assert "rounding" in check_labels(tmp_path / "test", small, "test")
    change("3D", lambda poses: 1.01 * poses)
    with pytest.raises(UserError, match="mean poses differ by"):
        check_labels(tmp_path / "test", small, "test")
    change("frame", lambda frames: frames + 1)
    with pytest.raises(UserError, match="motions or frames differ"):
        check_labels(tmp_path / "test", small, "test")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "hard"], ["'hard'", "benchmark64"]),
        (["--preset", "benchmark", "--crops", "4"], ["--crops", "--preset"]),
        (["--preset", "benchmark64", "--size", "128"], ["--size", "--preset"]),
        ([], ["--crops", "--preset"]),
    ],
)
def test_bad_arguments_are_reported_before_anything_is_written(tmp_path, monkeypatch, arguments, words):
    monkeypatch.setattr(sys, "argv", ["render_dataset.py", "--output", str(tmp_path / "set"), *arguments])
    with pytest.raises(UserError) as error:
        render_script.main()
    assert all(word in str(error.value) for word in words) and not (tmp_path / "set").exists()


def test_help_keeps_its_lines_and_shows_defaults(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["render_dataset.py", "--help"])
    with pytest.raises(SystemExit):
        render_script.main()
    text = capsys.readouterr().out
    assert "python configs/render_dataset.py --output data/benchmark64 --preset benchmark64\n" in text
    assert "(default: 128)" in text and "test: 9, 11" in text
