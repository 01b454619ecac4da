"""Suites of experiments on a tiny set: planned, run, interrupted, killed, out of time, failed, and reported."""

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from configs import config_64px
from configs import experiments as script
from configs.config_robust import AUGMENTATION
from configs.config_silhouettes import SILHOUETTES
from configs.config_train_better import RECIPE
from configs.config_train_encodeDecode import config_dict
from configs.suites.labels import METHOD
from datasets import Labels
from tests.processes import run_processes
from tests.runs import die_at, read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import CHANGES, ROOT, SIZE, write_tiny_sets
from training.experiments import run as experiments
from training.experiments.plan import Run, label_counts, plan
from training.experiments.report import score_table
from training.experiments.run import FAILURE, best_row, is_needed, read_result, read_results
from training.stages.labels import labeled_rows
from training.stages.step import TrainingStep
from utils.errors import UserError
from utils.readers import read_csv

SUITE = """
suite = {
    "title": "A tiny $a_$ suite",
    "labels": [16, 0.5, 10_000],
    "stage2": {"label_subjects": None},
    "rows": {
        "method": {},
        "supervised: rate 0": {"stage1": None, "stage2": {"learning_rate": 1e-30}, "group": "supervised"},
        "supervised: rate 0.01": {"stage1": None, "stage2": {"learning_rate": 1e-2}, "group": "supervised"},
        "breaks": {"stage2": {"learning_rate": 1e30}},
        "fine-tuned": {"finetune": {"learning_rate": 1e-4}},
    },
    "reference": "supervised",
    "method": "method",
}
"""
ONE_ROW = 'suite = {"title": "One $a_$", "labels": [1.0], "rows": {"method": {}}, "views": True}'


@pytest.fixture(scope="module", autouse=True)
def no_pictures_of_poses():
    """They take longer than these trainings, and nobody looks at them here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.stages.pose.save_examples", lambda *_, **poses: None)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_sets(tmp_path_factory.mktemp("data"))


def arguments_of(folder: Path, data: Path, suite: str, *more: str) -> list[str]:
    (folder / "tiny.py").write_text(suite)
    changes = [f"{key}={value!r}" for key, value in {**CHANGES, "loss_weight_gradient": 0.0}.items()]
    return [str(folder / "tiny.py"), "--data", str(data), "--output", str(folder / "out"), *changes, *more]


def planned(arguments: list[str]) -> list[Run]:
    """The runs that a command line of the script means."""
    parsed = script.parse_arguments(arguments)
    _, suite = script.read_suite(parsed.suite)
    return plan(suite, *script.base_configs(parsed, Path(parsed.output), suite), parsed.seeds)


def run(folder: Path, data: Path, suite: str, *more: str) -> list[Run]:
    """Call the script; return its runs."""
    arguments = arguments_of(folder, data, suite, *more)
    script.main(arguments)
    return planned(arguments)


def is_done(run: Run) -> bool:
    return "n_mpjpe_mm" in read_result(run)


def run_folders(folder: Path) -> set[Path]:
    return {path.parent.resolve() for path in (folder / "out").glob("*/config.json")}


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    with pytest.raises(SystemExit) as stopped:
        run(folder, data, SUITE, "--seeds", "2")
    return folder, planned(arguments_of(folder, data, SUITE, "--seeds", "2")), stopped.value.code


@pytest.fixture(scope="module")
def finished_row(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_row")
    run(folder, data, ONE_ROW, "--seeds", "1")
    return folder


@pytest.fixture
def one_row(finished_row, tmp_path):
    """A folder with the finished suite ONE_ROW, to be changed."""
    return Path(shutil.copytree(finished_row, tmp_path / "suite", symlinks=True))


def test_every_row_is_trained_and_tested_or_says_why_not(finished):
    _, runs, message = finished
    done = [run for run in runs if is_done(run)]
    # two amounts of labels and two seeds; supervision tries two schedules at the first seed, and one at the second
    assert {run.labels for run in runs} == {16, 72}
    counts = {group: sum(run.group == group for run in done) for group in ("method", "supervised", "fine-tuned")}
    assert counts == {"method": 4, "supervised": 6, "fine-tuned": 4}
    assert all(np.isfinite(result["n_mpjpe_mm"]) and result["minutes"] >= 0 for result in map(read_result, done))
    failed = [run for run in runs if "failure" in read_result(run)]
    assert {run.row for run in failed} == {"breaks"} and len(failed) == 4
    assert all(not is_done(run) and "the loss became" in read_result(run)["failure"] for run in failed)
    # a message makes sys.exit end with code 1
    assert all(f"{run}: the loss became" in message for run in failed) and "fine-tuned" not in message


def test_held_out_labels_choose_the_schedule_at_the_first_seed(finished):
    _, runs, _ = finished
    for labels in (16, 72):
        supervised = [run for run in runs if run.group == "supervised" and run.labels == labels]
        first, second = ([run for run in supervised if run.seed == seed] for seed in (0, 1))
        best = min(first, key=lambda run: read_result(run)["held_out_mm"])
        results = read_results(runs)
        assert [run.row for run in second if is_done(run)] == [best.row] == [best_row("supervised", labels, results)]
        assert [is_needed(run, results) for run in second] == [run.row == best.row for run in second]


def test_the_score_of_the_choice_is_the_lowest_error_on_held_out_labels(finished):
    folder, runs, _ = finished
    for run in runs:
        if is_done(run):
            logs = folder.glob("out/pose_*/debug_log_testing.txt")
            scores = [[float(row["n_mpjpe"]) for row in read_log(log)] for log in logs]
            assert read_result(run)["held_out_mm"] in [min(of_run) for of_run in scores if of_run]


def test_a_group_is_undecided_until_all_its_rows_were_tried(data, tmp_path):
    runs = run(tmp_path, data, SUITE, "--seeds", "2", "--rows", "rate 0.01", "--labels", "16")
    assert best_row("supervised", 16, read_results(runs)) is None
    page = (tmp_path / "out" / "tiny.md").read_text()
    assert "| supervised" not in page and "of the planned runs are not done yet" in page


def test_stage_1_is_trained_once_for_all_rows_of_a_seed(finished):
    names = [path.name for path in run_folders(finished[0])]
    assert sum(name.startswith("encode_") for name in names) == 2


def test_the_report_has_a_table_a_chart_and_failures_but_no_numbers_for_them(finished, data, monkeypatch):
    folder, runs, _ = finished
    monkeypatch.setattr(experiments, "train_and_test", lambda run: pytest.fail("--report trains nothing"))
    run(folder, data, SUITE, "--seeds", "2", "--report", "--page", str(folder / "page"))
    page = (folder / "page" / "tiny.md").read_text()
    assert (folder / "page" / "tiny.png").stat().st_size > 5000
    tables, _, failed = page.partition("## Failed")
    assert "| breaks " not in tables and "nan" not in tables and failed.count("the loss became") == 4
    title, _, table = page.split("\n")[:3]
    assert title == "# A tiny $a_$ suite"
    assert re.split(r" *\| *", table)[1:4] == [
        "change (errors in mm)",
        "labels",
        "N-MPJPE",
    ]
    values = [read_result(r)["n_mpjpe_mm"] for r in runs if r.row == "method" and r.labels == 16]
    assert f"| **{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}** |" in table_line(page, "**method**")
    assert table_line(page, "supervised") and "mean pose" in tables and "not done yet" not in page


def table_line(page: str, row: str) -> str:
    """The first line of that row, with single spaces."""
    return next(" ".join(line.split()) for line in page.splitlines() if line.startswith(f"| {row} "))


def test_several_seeds_of_several_rows_are_compared():
    rest = {"mpjpe_mm": 7.0, "mean_pose_n_mpjpe_mm": 20.0, "minutes": 1.0, "commit": "abc1234"}
    errors = {("first", 9): (9.0, 11.0), ("second", 9): (4.0, 6.0), ("second", 3): (8.0,)}
    entries = {key: [{**rest, "n_mpjpe_mm": error} for error in of_key] for key, of_key in errors.items()}
    entries["second", 9][0]["commit"] = "1234567"
    lines = [re.split(r" *\| *", line)[1:-1] for line in score_table(entries, "first", "first").splitlines()]
    assert lines[0][0] == "change (errors in mm)"
    assert lines[0][1:] == ["labels", "N-MPJPE", "MPJPE", "minutes", "vs. reference", "seeds", "commit"]
    first = ["first", "9", "10.0 ± 1.4", "7.0 ± 0.0", "1.0 ± 0.0", "-", "2", "abc1234"]
    assert lines[2] == [f"**{cell}**" for cell in first]
    assert lines[3] == ["second", "3", "8.0", "7.0", "1.0", "-", "1", "abc1234"]
    assert lines[4] == ["second", "9", "5.0 ± 1.4", "7.0 ± 0.0", "1.0 ± 0.0", "-50 %", "2", "1234567, abc1234"]
    assert lines[5] == ["mean pose of the training set", "-", "20.0", *"-----"] and len(lines) == 6


def test_finished_runs_are_not_repeated_and_failed_ones_are_tried_again(finished, data, monkeypatch):
    folder, _, _ = finished
    tried, original = [], experiments.train_and_test
    monkeypatch.setattr(experiments, "train_and_test", lambda run: tried.append(run.row) or original(run))
    with pytest.raises(SystemExit):
        run(folder, data, SUITE, "--seeds", "2")
    assert tried == ["breaks"] * 4


def test_a_failure_is_forgotten_when_the_run_succeeds(data, tmp_path, monkeypatch):
    def full_disk(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(experiments, "evaluate", full_disk)
        with pytest.raises(SystemExit, match="OSError: disk full"):
            run(tmp_path, data, ONE_ROW, "--seeds", "1")
    assert "OSError: disk full" in (tmp_path / "out" / "tiny.md").read_text()
    (only,) = run(tmp_path, data, ONE_ROW, "--seeds", "1")
    assert is_done(only) and not list((tmp_path / "out").rglob(FAILURE))
    assert "Failed" not in (tmp_path / "out" / "tiny.md").read_text()


def test_a_row_that_contradicts_the_network_of_its_stage_1_fails(data, tmp_path):
    suite = ONE_ROW.replace('"method": {}', '"method": {"stage2": {"latent_3d": 60}}')
    with pytest.raises(SystemExit, match="latent_3d is 60"):
        run(tmp_path, data, suite, "--seeds", "1")


def test_stage_2_keeps_how_its_stage_1_shows_views(data, tmp_path):
    suite = 'suite = {"title": "One", "labels": [1.0], "rows": {"method": {"stage1": {"center_targets": True}}}}'
    ((_, views), (_, poses)) = planned(arguments_of(tmp_path, data, suite))[0].stages
    assert views["center_targets"] and poses["center_targets"]


def test_keys_of_stage_2_without_a_stage_are_for_stage_2(data, tmp_path):
    ((_, views), (_, poses)) = planned(arguments_of(tmp_path, data, ONE_ROW, "flip_test=True", "latent_fg=8"))[0].stages
    assert "flip_test" not in views and poses["flip_test"]
    assert views["latent_fg"] == poses["latent_fg"] == 8


def test_another_way_of_testing_trains_nothing_and_is_another_result(data, one_row):
    (only,) = run(one_row, data, ONE_ROW, "--seeds", "1")
    first, folders = read_result(only), run_folders(one_row)
    (flipped,) = run(one_row, data, ONE_ROW, "stage2.flip_test=True", "--seeds", "1")
    assert run_folders(one_row) == folders and read_result(only) == first
    assert read_result(flipped)["psnr"] == first["psnr"] and read_result(flipped)["n_mpjpe_mm"] != first["n_mpjpe_mm"]
    (poses,) = run(one_row, data, ONE_ROW.replace("True", "False"), "--seeds", "1")
    assert run_folders(one_row) == folders
    assert "psnr" not in read_result(poses) and read_result(poses)["n_mpjpe_mm"] == first["n_mpjpe_mm"]


def test_minutes_and_commits_are_those_of_all_sessions_of_all_stages(data, one_row):
    (only,) = run(one_row, data, ONE_ROW, "--seeds", "1")
    assert read_result(only)["commit"] != ""
    for stage, minute, commits in (("encode", 30, ["a" * 40, "b" * 40 + " modified"]), ("pose", 10, ["a" * 40, None])):
        (file,) = (one_row / "out").glob(f"{stage}_*/run.json")
        record = json.loads(file.read_text())
        begin_end = {"begin": "2026-11-26T10:00:00+00:00", "end": f"2026-11-26T10:{minute}:00+00:00"}
        record["sessions"] = [{**begin_end, "commit": commit} for commit in commits]
        file.write_text(json.dumps(record))
    result = read_result(only)
    assert result["minutes"] == 80 and result["commit"] == "-, aaaaaaa, bbbbbbb modified"


def test_another_test_set_is_another_result(data, one_row):
    (only,) = run(one_row, data, ONE_ROW, "--seeds", "1")
    write_synthetic_layout(one_row / "other", size=SIZE, subjects=(9,), sequences_per_subject=2, instants=2)
    stage, config = only.stages[-1]
    other = {**config, "dataset_folder_test": str(one_row / "other")}
    assert is_done(only) and read_result(replace(only, stages=(*only.stages[:-1], (stage, other)))) == {}


def test_another_test_set_is_what_is_tested(data, one_row):
    (only,) = run(one_row, data, ONE_ROW, "--seeds", "1")
    other = write_synthetic_layout(one_row / "other", size=SIZE, subjects=(9,), sequences_per_subject=2, instants=2)
    folders, first = run_folders(one_row), read_result(only)
    (second,) = run(one_row, data, ONE_ROW, "--seeds", "1", f"dataset_folder_test={other}")
    assert run_folders(one_row) == folders and is_done(second) and read_result(only) == first
    tables = (one_row / "out").glob("pose_*/test_*/evaluation.csv")
    # Of 4 cameras each: one sequence of two instants, and two of them.
    assert sorted(int(read_csv(table, ("crops",))[-1]["crops"]) for table in tables) == [8, 16]


def test_a_test_by_hand_does_not_change_the_results(data, one_row):
    (only,) = run(one_row, data, ONE_ROW, "--seeds", "1")
    before = read_result(only)
    for folder in run_folders(one_row):
        (folder / "evaluation.csv").write_text("subject,motion,crops,n_mpjpe_mm\nall,all,3,1.0\n")
    assert read_result(only) == before


def test_a_killed_suite_goes_on(data, tmp_path):
    arguments = arguments_of(tmp_path, data, ONE_ROW, "--seeds", "1")
    assert run_processes(1, _die_in_stage_1, arguments) == [-9]
    (log,) = (tmp_path / "out").glob("encode_*/debug_log_training.txt")
    before = log.read_text().splitlines()
    assert len(before) == 5 and read_result(planned(arguments)[0]) == {}
    (only,) = run(tmp_path, data, ONE_ROW, "--seeds", "1")
    result = read_result(only)
    assert result["psnr"] > 0
    # what had been tested before the kill was not trained again
    assert log.read_text().splitlines()[:4] == before[:4]
    page = (tmp_path / "out" / "tiny.md").read_text()
    assert "PSNR" in page and f"{result['n_mpjpe_mm']:.1f}" in page
    # As if nothing had happened: stage 2 is named after the bytes of stage 1's network.
    names = {path.name for path in run_folders(tmp_path)}
    shutil.rmtree(tmp_path / "out")
    (unbroken,) = run(tmp_path, data, ONE_ROW, "--seeds", "1")
    assert {path.name for path in run_folders(tmp_path)} == names and len(names) == 2
    assert scores_of(read_result(unbroken)) == scores_of(result)


def scores_of(result: dict) -> dict:
    return {name: value for name, value in result.items() if name not in ("minutes", "commit")}


def _die_in_stage_1(arguments: list[str]) -> None:
    die_at(pytest.MonkeyPatch(), 5, kill=True)
    script.main(arguments)


@pytest.fixture
def hasty_clock(monkeypatch):
    """Timers that fire at the fourth iteration after they were started, however slow the machine is."""
    timers, seen, step, now = [], [], TrainingStep.__call__, [0.0]

    def start(timer):
        timers.append(timer)
        seen.clear()

    def call(self, batch, iteration):
        seen.append(iteration)
        if len(seen) == 4:
            now[0] += timers[-1].interval
            timers[-1].function()
        return step(self, batch, iteration)

    monkeypatch.setattr("threading.Timer.start", start)
    monkeypatch.setattr("training.experiments.run.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(TrainingStep, "__call__", call)


def test_a_budget_stops_a_run_cleanly_and_the_next_one_goes_on(data, tmp_path, capsys, hasty_clock):
    reached = []
    for _ in range(2):
        long = ["stage1.num_training_iterations=100000", "stage1.test_every=50000"]
        (only,) = run(tmp_path, data, ONE_ROW, "--seeds", "1", "--budget", "0.05", *long)
        assert read_result(only) == {}
        (log,) = (tmp_path / "out").glob("encode_*/debug_log_training.txt")
        reached.append(len(log.read_text().splitlines()))
        assert "start again to go on" in capsys.readouterr().out
    assert reached[1] > reached[0] > 1
    assert "1 of the planned runs are not done yet" in (tmp_path / "out" / "tiny.md").read_text()


def test_a_part_of_a_suite_is_run_and_the_report_shows_what_is_missing(data, tmp_path):
    runs = run(tmp_path, data, SUITE, "--seeds", "1", "--rows", "method", "fine", "--labels", "16", "--report")
    assert not any(map(read_result, runs))
    with pytest.raises(UserError, match=r"no run of 'tiny' in .* is done; expected the key=value"):
        run(tmp_path, data, SUITE, "--seeds", "1", "--report", "--page", str(tmp_path / "page"))
    assert not (tmp_path / "page").exists()
    # key=value after a list of names is no name
    runs = run(tmp_path, data, SUITE, "--seeds", "1", "--labels", "16", "stage2.seed=0", "--rows", "meth", "seed=0")
    assert [(run.row, run.labels) for run in runs if is_done(run)] == [("method", 16)]
    assert "of the planned runs are not done yet" in (tmp_path / "out" / "tiny.md").read_text()


@pytest.mark.parametrize("part", [("--rows", "nobody"), ("--labels", "17")])
def test_a_part_that_is_not_in_the_suite_is_refused(part, data, tmp_path):
    with pytest.raises(UserError, match=f"{part[0]} '?{part[1]}'?: no"):
        run(tmp_path, data, SUITE, *part)


def test_ctrl_c_is_not_taken_for_the_budget(data, tmp_path, monkeypatch):
    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "train_and_test", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, data, ONE_ROW, "--budget", "10")


def test_each_row_has_as_many_labels_as_its_table_says(data, tmp_path):
    rows = {
        "all": {},
        "every 2nd": {"stage2": {"every_nth_frame": 2}},
        "one subject": {"stage2": {"label_subjects": [5]}},
    }
    suite = f'suite = {{"title": "Rows", "labels": [12, 0.5], "rows": {rows!r}}}'
    runs = planned(arguments_of(tmp_path, data, suite, "--seeds", "1"))
    assert [(run.row, run.labels) for run in runs] == [
        *(("all", count) for count in (12, 72)),
        *((row, count) for row in ("every 2nd", "one subject") for count in (12, 36)),
    ]
    labels = Labels(data / "train")
    for run in runs:
        # Both parts are rounded.
        assert abs(sum(map(len, labeled_rows(labels, run.stages[-1][1]))) - run.labels) <= 1


def test_amounts_of_labels():
    assert label_counts([49, 0.01, 496, 5_000, 0.25, 1.0], 4_000) == [40, 49, 496, 1_000, 4_000]
    with pytest.raises(UserError, match="none is possible with 10"):
        label_counts([49], 10)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs/suites").glob("[!_]*.py")))
@pytest.mark.parametrize("scale", [64, 128])
def test_our_suites_make_valid_configs(name, scale, data, tmp_path):
    runs = planned([name, "--scale", str(scale), "--data", str(data), "--output", str(tmp_path), "actor_subset=None"])
    configs = [config for run in runs for _, config in run.stages]
    assert {run.seed for run in runs} == {0, 1, 2}
    assert {config["inputDimension"] for config in configs} == {scale}
    # every row is another experiment
    assert len({repr(run.stages) for run in runs}) == len(runs)


def test_supervision_chooses_among_schedules_and_losses_of_the_optimizer_of_stage_1(data, tmp_path):
    runs = planned(["labels", "--data", str(data), "--output", str(tmp_path), "--seeds", "1", "actor_subset=None"])
    (labels, *_) = {run.labels for run in runs}
    of_group = [run.stages[-1][1] for run in runs if "labels alone" in run.group and run.labels == labels]
    chosen = ("num_training_iterations", "learning_rate", "pose_loss")
    schedules = {tuple(config[key] for key in chosen) for config in of_group}
    every = set(itertools.product((2_000, 8_000), (2e-3, 6e-3), ("squared", "distance")))
    assert schedules == every and len(of_group) == len(every)
    assert all(config["optimizer"] == "muon" and config["weight_decay"] == 0.05 for config in of_group)
    assert all(config["network_path"] is None and not config["freeze_encoder"] for config in of_group)


def test_the_suite_of_the_wild_world_plans_both_stages_and_four_schedules_of_supervision(data, tmp_path):
    runs = planned(["wild", "--data", str(data), "--output", str(tmp_path), "--seeds", "1"])
    (method,) = (run for run in runs if run.group == METHOD)
    assert [stage for stage, _ in method.stages] == ["encode", "pose"]
    views, poses = (config for _, config in method.stages)
    assert all(views[key] == value for key, value in SILHOUETTES.items()) and views["num_training_iterations"] == 66_000
    assert poses["freeze_encoder"] and poses["label_subjects"] is None and not poses["augment_background"]
    supervised = [config for run in runs if run is not method for _, config in run.stages]
    schedules = {(config["num_training_iterations"], config["learning_rate"]) for config in supervised}
    assert schedules == {(n, rate) for n in (8_000, 32_000) for rate in (5e-4, 2e-3)} and len(supervised) == 4
    for config in supervised:
        assert config["network_path"] is None and not config["freeze_encoder"] and config["actor_subset"] is None
        assert config.items() >= AUGMENTATION.items() and config["label_fraction"] == poses["label_fraction"]


def test_the_published_recipe_takes_back_whatever_the_base_at_64_px_changed():
    # what is left to the size: folders, the network, the length of the schedule
    sized = {"dataset_folder_train", "dataset_folder_test", "training_set", "output_folder", "preload_images"}
    sized |= {"encoderType", "encoder_width", "encoder_weights", "inputDimension", "feature_scale", "latent_fg"}
    sized |= {"latent_3d", "width_to3Dpose", "num_training_iterations", "test_every", "plot_every"}
    sized |= {"perceptual_weights", "upsampling_bilinear"}
    changed = {key for key, value in config_64px.config_dict.items() if value != config_dict[key]}
    assert changed - sized <= set(RECIPE)


BAD = {
    "suite": (["nonsense"], ["nonsense", "labels"]),
    "data": (["labels", "--data", "nowhere"], ["nowhere", "--preset benchmark64"]),
    "data of wild": (["wild", "--data", "nowhere"], ["nowhere", "--preset wild64"]),
    "data of wild at 128 px": (["wild", "--data", "nowhere", "--scale", "128"], ["nowhere", "--preset wild --output"]),
    "stage": (["labels", "stage7.seed=1"], ["stage7", "stage1.key=value"]),
    "seeds": (["labels", "--seeds", "0"], ["0", "at least 1"]),
    "budget": (["labels", "--budget", "0", "actor_subset=None"], ["budget is 0", "more than 0"]),
    "type": (["labels", "dataset_folder_train=5"], ["dataset_folder_train", "5", "text"]),
    "seed of all": (["labels", "seed=5"], ["'seed=5'", "--seeds sets it; leave it out"]),
    "seed": (["labels", "stage1.seed=5"], ["'stage1.seed=5'", "--seeds sets it; leave it out"]),
    "fraction": (["labels", "label_fraction=0.1"], ["'label_fraction=0.1'", "labels of the suite set it"]),
    "other stage": (["labels", "stage1.flip_test=True", "actor_subset=None"], ["'flip_test'", "a key of stage 2"]),
    "key of the suite": (
        ["labels", "stage2.label_subjects=[1]"],
        ["sets label_subjects of stage2 to None", "a copy of the suite"],
    ),
    "name": (["labels", "name=x"], ["'name=x'", "each run has a folder of its own; leave it out"]),
    "network": (["labels", "stage2.network_path=x"], ["'stage2.network_path=x'", "network of the stage before"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told(case, data, tmp_path):
    arguments, words = BAD[case]
    defaults = ["--output", str(tmp_path), *([] if "--data" in arguments else ["--data", str(data)])]
    with pytest.raises(UserError) as error:
        script.main([*arguments, *defaults])
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('"rows": {"method": {"stage1": {"latentfg": 3}}}', ["latentfg", "latent_fg"]),
        ('"rows": {"method": {"stage3": {}}}', ["stage3", "finetune"]),
        ('"rows": {"method": 3}', ["row 'method' is 3", "dictionary"]),
        ('"rows": ["method"]', ["rows of suite", "['method']", "dict"]),
        ('"rows": {"method": {"stage2": 3}}', ["stage2 of row 'method' is 3", "dict"]),
        ('"labels": "16"', ["labels of suite", "'16'", "list"]),
        ('"labels": ["16"]', ["labels", "'16'", "number"]),
        ('"reference": "methods"', ["reference", "methods", "row"]),
        ('"kind": 3', ["suite", "kind", "title"]),
        ('"stage1": {"seed": 3}', ["stage1 of suite has 'seed'", "--seeds sets it"]),
        ('"rows": {"method": {"stage2": {"label_fraction": 0.1}}}', ["stage2 of row 'method' has 'label_fraction'"]),
        ('"rows": {"method": {"stage1": {"name": "x"}}}', ["stage1 of row 'method' has 'name'"]),
        ('"rows": {"method": {"stage2": {"network_path": "x"}}}', ["has 'network_path'", "of the stage before"]),
        ('"rows": {"method": {"finetune": {"label_subjects": [5]}}}', ["finetune of row", "those of stage2"]),
        ('"rows": {"method": {"stage1": None, "finetune": {}}}', ["row 'method' has 'finetune', but no stage1"]),
    ],
)
def test_bad_suites_are_told_before_anything_runs(change, words, data, tmp_path):
    with pytest.raises(UserError) as error:
        run(tmp_path, data, ONE_ROW.replace('"views": True', change))
    assert all(word in str(error.value) for word in words) and not (tmp_path / "out").exists()
