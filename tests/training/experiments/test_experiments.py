"""Suites of experiments on a tiny set: planned, run, interrupted, killed, out of time, failed, and reported."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import config_demo
from configs import experiments as script
from configs.config_train_better import RECIPE
from configs.config_train_encodeDecode import config_dict
from tests.processes import run_processes
from tests.runs import die_at
from tests.synthetic import write_synthetic_layout
from tests.tiny import CHANGES, SIZE
from training.experiments import run as experiments
from training.experiments.plan import label_counts
from training.experiments.report import POSE_SCORES, Entry, _all_scores, spread
from utils.errors import UserError

SUITE = """
suite = {
    "title": "A tiny suite",
    "labels": [16, 0.5, 10_000],
    "stage2": {"label_subjects": None},
    "rows": {
        "method": {},
        "supervised": {
            "stage1": None,
            "choices": [{"learning_rate": 0.0}, {"learning_rate": 1e-2}],
        },
        "breaks": {"stage2": {"learning_rate": 1e30}},
        "fine-tuned": {"finetune": {"learning_rate": 1e-4}},
    },
    "reference": "supervised",
}
"""
ONE_ROW = 'suite = {"title": "One", "labels": [1.0], "rows": {"method": {}}, "views": True}'


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_synthetic_layout(root / "train", size=SIZE, subjects=(1, 5), sequences_per_subject=3)
    write_synthetic_layout(root / "test", size=SIZE, subjects=(9,), sequences_per_subject=1, instants=2)
    return root


def arguments_of(folder: Path, data: Path, suite: str, *more: str) -> list[str]:
    (folder / "tiny.py").write_text(suite)
    changes = [f"{key}={value!r}" for key, value in {**CHANGES, "loss_weight_gradient": 0.0}.items()]
    return [str(folder / "tiny.py"), "--data", str(data), "--output", str(folder / "out"), *changes, *more]


def run(folder: Path, data: Path, suite: str, *more: str) -> dict:
    """Call the script; return the records in its results file."""
    before, sys.argv = sys.argv, ["experiments.py", *arguments_of(folder, data, suite, *more)]
    try:
        script.main()
    finally:
        sys.argv = before
    file = folder / "out" / "tiny.json"
    return json.loads(file.read_text()) if file.exists() else {}


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    return folder, run(folder, data, SUITE, "--seeds", "2")


def test_every_row_is_trained_and_tested_or_says_why_not(finished):
    records = finished[1].values()
    done = [record for record in records if record["status"] == "done"]
    # two amounts of labels and two seeds; supervision tries two schedules at the first seed, and one at the second
    assert {record["labels"] for record in records} == {16, 72}
    counts = {row: sum(record["row"] == row for record in done) for row in ("method", "supervised", "fine-tuned")}
    assert counts == {"method": 4, "supervised": 6, "fine-tuned": 4}
    assert all(np.isfinite(record["scores"]["n_mpjpe_mm"]) and record["minutes"] > 0 for record in done)
    failed = [record for record in records if record["status"] == "failed"]
    assert {record["row"] for record in failed} == {"breaks"} and len(failed) == 4
    assert all("scores" not in record and "the loss became" in record["reason"] for record in failed)


def test_validation_chooses_the_schedule_at_the_first_seed(finished):
    supervised = [record for record in finished[1].values() if record["row"] == "supervised"]
    for labels in (16, 72):
        first = [r for r in supervised if r["labels"] == labels and r["seed"] == 0]
        (second,) = [r for r in supervised if r["labels"] == labels and r["seed"] == 1]
        assert second["choice"] == min(first, key=lambda r: r["validation_n_mpjpe_mm"])["choice"]


def test_stage_1_is_trained_once_for_all_rows_of_a_seed(finished):
    runs = [path.name for path in (finished[0] / "out").iterdir() if path.is_dir()]
    assert sum(name.startswith("encode_") for name in runs) == 2


def test_the_report_has_tables_pictures_and_failures_but_no_numbers_for_them(finished, data, monkeypatch):
    folder, records = finished
    monkeypatch.setattr(experiments, "train", lambda trial: pytest.fail("--report trains nothing"))
    run(folder, data, SUITE, "--seeds", "2", "--report", "--page", str(folder / "page"))
    page = (folder / "page" / "tiny.md").read_text()
    assert (folder / "page" / "tiny.png").stat().st_size > 5000
    tables, _, failed = page.partition("## Failed")
    assert "| breaks " not in tables and "nan" not in tables and failed.count("the loss became") == 4
    values = [r["scores"]["n_mpjpe_mm"] for r in records.values() if r["row"] == "method" and r["labels"] == 16]
    assert "| method " in tables and spread(np.array(values)) in tables and "mean pose" in tables
    assert "not done yet" not in page


def test_several_seeds_of_several_rows_are_compared():
    rest = {name: np.array([1.0, 2.0]) for score in POSE_SCORES for name in (score, f"mean_pose_{score}")}
    errors = {"first": np.array([9.0, 11.0]), "second": np.array([4.0, 6.0])}
    entries = {(row, 9): Entry({**rest, "n_mpjpe_mm": values}, np.ones(2)) for row, values in errors.items()}
    first, second = _all_scores({"reference": "first"}, entries, 9).splitlines()[2:4]
    assert "10.0 ± 1.4" in first and "%" not in first
    assert "5.0 ± 1.4" in second and "-50 %" in second


def test_finished_runs_are_not_repeated_and_failed_ones_are_tried_again(finished, data, monkeypatch):
    tried, original = [], experiments.train
    monkeypatch.setattr(experiments, "train", lambda trial: tried.append(trial.row) or original(trial))
    assert run(finished[0], data, SUITE, "--seeds", "2").keys() == finished[1].keys()
    assert tried == ["breaks"] * 4


def test_another_way_of_testing_trains_nothing_and_is_another_result(data, tmp_path):
    ((key, first),) = run(tmp_path, data, ONE_ROW, "--seeds", "1").items()
    runs = set((tmp_path / "out").glob("*_*"))
    records = run(tmp_path, data, ONE_ROW, "stage2.flip_test=True", "--seeds", "1")
    assert set((tmp_path / "out").glob("*_*")) == runs and records.pop(key) == first
    ((_, flipped),) = records.items()
    assert flipped["run"] == first["run"] and flipped["scores"]["psnr"] == first["scores"]["psnr"]
    assert flipped["scores"]["n_mpjpe_mm"] != first["scores"]["n_mpjpe_mm"]


def test_a_killed_suite_goes_on(data, tmp_path):
    assert run_processes(1, _die_in_stage_1, arguments_of(tmp_path, data, ONE_ROW, "--seeds", "1")) == [-9]
    (log,) = (tmp_path / "out").glob("encode_*/debug_log_training.txt")
    before = log.read_text().splitlines()
    assert len(before) == 5 and not (tmp_path / "out" / "tiny.json").exists()
    (record,) = run(tmp_path, data, ONE_ROW, "--seeds", "1").values()
    assert record["status"] == "done" and record["scores"]["psnr"] > 0
    # what had been tested before the kill was not trained again
    assert log.read_text().splitlines()[:4] == before[:4]
    page = (tmp_path / "out" / "tiny.md").read_text()
    assert "PSNR" in page and f"{record['scores']['n_mpjpe_mm']:.1f}" in page


def _die_in_stage_1(arguments: list[str]) -> None:
    die_at(pytest.MonkeyPatch(), 5, kill=True)
    sys.argv = ["experiments.py", *arguments]
    script.main()


def test_a_budget_stops_a_run_cleanly_and_the_next_one_goes_on(data, tmp_path, capsys):
    reached = []
    for _ in range(2):
        long = ["stage1.num_training_iterations=100000", "stage1.test_every=50000"]
        assert run(tmp_path, data, ONE_ROW, "--seeds", "1", "--budget", "0.05", *long) == {}
        (log,) = (tmp_path / "out").glob("encode_*/debug_log_training.txt")
        reached.append(len(log.read_text().splitlines()))
        assert "start again to go on" in capsys.readouterr().out
    assert reached[1] > reached[0] > 1
    assert "1 of the planned trainings are not done yet" in (tmp_path / "out" / "tiny.md").read_text()


def test_a_part_of_a_suite_is_run_and_the_report_shows_what_is_missing(data, tmp_path):
    records = run(tmp_path, data, SUITE, "--seeds", "1", "--rows", "method", "fine", "--labels", "16", "--report")
    assert records == {}
    records = run(tmp_path, data, SUITE, "--seeds", "1", "--rows", "meth", "--labels", "16")
    assert [(record["row"], record["labels"]) for record in records.values()] == [("method", 16)]
    assert "of the planned trainings are not done yet" in (tmp_path / "out" / "tiny.md").read_text()


@pytest.mark.parametrize("part", [("--rows", "nobody"), ("--labels", "17")])
def test_a_part_that_is_not_in_the_suite_is_refused(part, data, tmp_path):
    with pytest.raises(UserError, match=f"{part[0]} '?{part[1]}'?: no"):
        run(tmp_path, data, SUITE, *part)


def test_ctrl_c_is_not_taken_for_the_budget(data, tmp_path, monkeypatch):
    def interrupted(trial):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, data, ONE_ROW, "--budget", "10")


def test_amounts_of_labels():
    assert label_counts([49, 0.01, 496, 5_000, 0.25, 1.0], 4_000) == [40, 49, 496, 1_000, 4_000]
    with pytest.raises(UserError, match="none is possible with 10"):
        label_counts([49], 10)


@pytest.mark.parametrize("name", ["labels", "ablation", "recipe", "better"])
@pytest.mark.parametrize("scale", ["64", "128"])
def test_our_suites_make_valid_configs(name, scale, data, tmp_path, monkeypatch):
    planned = []
    monkeypatch.setattr(experiments, "run_suite", lambda cells, *_: planned.extend(cells))
    arguments = ["experiments.py", name, "--scale", scale, "--data", str(data), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "actor_subset=None"])
    script.main()
    stages = [stage for cell in planned for trial in cell.trials for stage in trial.stages]
    assert {cell.seed for cell in planned} == {0, 1, 2}
    assert {config["inputDimension"] for _, config in stages} == {int(scale)}
    # every row is another experiment
    keys = [trial.key for cell in planned for trial in cell.trials]
    assert len(set(keys)) == len(keys)


def test_the_published_recipe_takes_back_whatever_the_demo_changed():
    # what is left to the size: folders, the network, the length of the schedule
    sized = {"dataset_folder_train", "dataset_folder_test", "training_set", "output_folder", "preload_images"}
    sized |= {"encoderType", "encoder_width", "encoder_weights", "inputDimension", "feature_scale", "latent_fg"}
    sized |= {"latent_3d", "width_to3Dpose", "num_training_iterations", "test_every", "plot_every"}
    sized |= {"perceptual_weights", "upsampling_bilinear"}
    changed = {key for key, value in config_demo.config_dict.items() if value != config_dict[key]}
    assert changed - sized <= set(RECIPE)


BAD = {
    "suite": (["nonsense"], ["nonsense", "labels"]),
    "data": (["labels", "--data", "nowhere"], ["nowhere", "--preset benchmark64"]),
    "stage": (["labels", "stage7.seed=1"], ["stage7", "stage1.key=value"]),
    "seeds": (["labels", "--seeds", "0"], ["0", "at least 1"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told(case, data, tmp_path, monkeypatch):
    arguments, words = BAD[case]
    defaults = ["--output", str(tmp_path), *([] if "--data" in arguments else ["--data", str(data)])]
    monkeypatch.setattr(sys, "argv", ["experiments.py", *arguments, *defaults])
    with pytest.raises(UserError) as error:
        script.main()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"stage1": {"latentfg": 3}}', ["latentfg", "latent_fg"]),
        ('{"stage3": {}}', ["stage3", "finetune"]),
        ("3", ["row 'method' is 3", "dictionary"]),
    ],
)
def test_bad_rows_are_told_before_anything_runs(row, words, data, tmp_path):
    with pytest.raises(UserError) as error:
        run(tmp_path, data, ONE_ROW.replace('"method": {}', f'"method": {row}'))
    assert all(word in str(error.value) for word in words) and not (tmp_path / "out").exists()
