"""A folder that a killed call has left goes on, and what it left beside the set is removed."""

import importlib
import json

import pytest

from datasets.layout.job import DETAILS, claim_folder, holds_set
from datasets.layout.labels import LABELS_FILE, PARTS_FOLDER
from tests.synthetic import write_synthetic_layout
from utils.errors import UserError

JOB = {"size": 32}


@pytest.fixture
def dead() -> int:
    """The number of a process that is gone: beyond what the system gives."""
    return 2**31 - 1


@pytest.mark.parametrize("left", [".set.json.{}.part", ".lock"])
def test_a_folder_that_was_killed_while_it_was_marked_goes_on(tmp_path, dead, left):
    (tmp_path / left.format(dead)).write_text("{")
    assert not claim_folder(tmp_path, "set.json", JOB)
    assert json.loads((tmp_path / "set.json").read_text()) == JOB
    assert {path.name for path in tmp_path.iterdir()} <= {"set.json", ".lock"}
    assert not claim_folder(tmp_path, "set.json", JOB)


@pytest.mark.parametrize("other", ["holiday.png", "download.part", ".hidden"])
def test_a_folder_with_files_of_others_is_refused(tmp_path, other):
    (tmp_path / other).touch()
    with pytest.raises(UserError, match="holds other files"):
        claim_folder(tmp_path, "set.json", JOB)
    assert [path.name for path in tmp_path.iterdir()] == [other]


def test_a_folder_that_is_asked_stays_as_it_is(tmp_path):
    output = tmp_path / "out"
    assert not holds_set(output, "set.json", JOB) and not output.exists()
    claim_folder(output, "set.json", JOB)
    assert not holds_set(output, "set.json", JOB)
    with pytest.raises(UserError, match=r"holds a set of {'size': 32}; expected {'size': 64}"):
        holds_set(output, "set.json", {"size": 64})


def test_a_message_names_the_files_that_differ(tmp_path):
    """Marks of before, and of the same files, are this job's, whatever details they have."""
    details = {"calibration": "a1", "offsets": {"left": 0}}
    claim_folder(tmp_path, "set.json", {**JOB, "files": "0a"})
    assert not claim_folder(tmp_path, "set.json", {**JOB, "files": "0a", DETAILS: details})
    with pytest.raises(UserError, match=r"holds a set of {'files': '0a'}; expected {'files': '0b'}"):
        claim_folder(tmp_path, "set.json", {**JOB, "files": "0b", DETAILS: details})
    output = tmp_path / "out"
    claim_folder(output, "set.json", {**JOB, "files": "0a", DETAILS: details})
    assert not claim_folder(output, "set.json", {**JOB, "files": "0a", DETAILS: {}})
    with pytest.raises(UserError, match=r"set of {'offsets': {'left': 0}}; expected {'offsets': {'left': 3}}, or an"):
        claim_folder(output, "set.json", {**JOB, "files": "0b", DETAILS: {**details, "offsets": {"left": 3}}})
    with pytest.raises(UserError, match=r"set of {'size': 32, 'calibration': 'a1'}; expected {'size': 64, 'cal"):
        claim_folder(output, "set.json", {"size": 64, "files": "0b", DETAILS: {**details, "calibration": "b2"}})


def test_a_finished_set_keeps_nothing_of_its_making(tmp_path, dead):
    claim_folder(tmp_path, "set.json", JOB)
    (tmp_path / PARTS_FOLDER).mkdir()
    for name in (LABELS_FILE, f".{LABELS_FILE}.{dead}.part", f"{PARTS_FOLDER}/seq_000.npz"):
        (tmp_path / name).touch()
    assert claim_folder(tmp_path, "set.json", JOB) and holds_set(tmp_path, "set.json", JOB)
    assert {path.name for path in tmp_path.iterdir()} == {"set.json", LABELS_FILE}


def test_a_set_of_other_statistics_is_refused(tmp_path):
    first, second = (write_synthetic_layout(tmp_path / str(seed), 16, (1,), 1, 3, seed=seed) for seed in (1, 2))
    output = tmp_path / "out"
    claim_folder(output, "set.json", JOB, first)
    for finished in (False, True):
        assert claim_folder(output, "set.json", JOB, first) == finished
        with pytest.raises(UserError, match=r"holds a set of {'statistics': '\w+'}; expected {'statistics': '\w+'}"):
            claim_folder(output, "set.json", JOB, second)
        with pytest.raises(UserError, match=r"holds a set of {'statistics': '\w+'}; expected {'statistics': None}"):
            claim_folder(output, "set.json", JOB)
        (output / LABELS_FILE).touch()


def test_a_set_of_its_own_statistics_takes_no_other(tmp_path):
    other = write_synthetic_layout(tmp_path / "other", 16, (1,), 1, 3)
    output = tmp_path / "out"
    claim_folder(output, "set.json", JOB)
    assert json.loads((output / "set.json").read_text()) == JOB, "as before there were statistics in it"
    with pytest.raises(UserError, match=r"holds a set of {'statistics': None}; expected {'statistics': '\w+'}"):
        claim_folder(output, "set.json", JOB, other)


def test_what_was_unpacked_goes_also_when_the_set_was_finished_before(tmp_path, monkeypatch):
    prepare = importlib.import_module("datasets.sources.human36m.prepare")
    for name in ("read_metadata", "find_metadata", "pyav", "opencv", "cdf_library"):
        monkeypatch.setattr(prepare, name, lambda *_: None)
    for name in ("holds_set", "claim_folder"):
        monkeypatch.setattr(prepare, name, lambda *_: True)
    unpacked = tmp_path / ".out.unpacked/S1.mp4"
    unpacked.mkdir(parents=True)
    prepare.prepare_h36m(tmp_path, tmp_path / "out", progress=False)
    assert not unpacked.parent.exists()
