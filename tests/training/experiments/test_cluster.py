"""Suites by jobs that run side by side: in which order, after kills, and with the results of one process."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from configs import experiments as script
from tests.moments import wait_until
from tests.tiny import CHANGES, write_tiny_sets
from training.experiments import cluster
from training.experiments.cluster import MOST_STARTS, run_of, run_on_cluster, text_of
from training.experiments.plan import Run, plan
from utils.errors import UserError

SUITE = """
suite = {
    "title": "Two",
    "labels": [16],
    "stage2": {"label_subjects": None},
    "rows": {"low": {"stage1": None}, "high": {"stage1": None, "stage2": {"learning_rate": 1e-2}}},
}
"""


class Cluster:
    """Jobs that end when they are told to. `scores`: of each row, what it scores; None: it is killed."""

    def __init__(self, scores, patch):
        self.scores, self.jobs, self.results, self.most = scores, [], {}, 0
        patch.setattr(cluster, "read_results", lambda runs: {run: self.results.get(str(run), {}) for run in runs})
        patch.setattr(cluster, "read_result", lambda run: self.results.get(str(run), {}))
        patch.setattr(cluster, "first_folder", lambda run: Path("/nowhere") / str(dict(run.stages).get("encode", run)))
        patch.setattr(cluster, "POLL", 0)

    @property
    def started(self):
        return [str(job.run) for job in self.jobs]

    def submit(self, function, text):
        assert function is cluster.run_job
        self.jobs.append(Job(self, run_of(text)))
        self.most = max(self.most, sum(not job.ended for job in self.jobs))
        return self.jobs[-1]


class Job:
    def __init__(self, owner, run):
        self.owner, self.run, self.looks, self.ended, self.canceled = owner, run, 0, False, False
        self.job_id, self.paths = "7", type("Paths", (), {"stderr": "7.err"})

    def done(self):
        self.looks += 1
        score = self.owner.scores.get(self.run.row)
        if self.looks == 2 and score != "never":
            self.ended = True
            if isinstance(score, float):
                self.owner.results[str(self.run)] = {"n_mpjpe_mm": score, "held_out_mm": score}
        return self.ended

    def exception(self):
        return None if self.owner.scores.get(self.run.row) is not None else RuntimeError("killed")

    def result(self):
        score = self.owner.scores[self.run.row]
        return score if isinstance(score, str) else ""

    def cancel(self, check):
        self.ended = self.canceled = True


def some(row, group=None, seed=0, stages=()):
    return Run(row, group or row, 16, seed, stages, False)


def test_as_many_as_allowed_run_at_the_same_time_and_none_twice(monkeypatch):
    jobs = Cluster({"a": 1.0, "b": 2.0, "c": 3.0, "d": "no labels"}, monkeypatch)
    runs = [some(row) for row in "abcd"]
    jobs.results[str(runs[1])] = {"n_mpjpe_mm": 2.0}
    assert run_on_cluster(runs, runs, jobs, 2) == {runs[3]: "no labels"}
    assert jobs.most == 2 and jobs.started == [str(run) for run in runs if run is not runs[1]]


def test_later_seeds_wait_for_the_best_row_of_their_group(monkeypatch):
    jobs = Cluster({"slow": 3.0, "fast": 1.0, "alone": 2.0}, monkeypatch)
    runs = [some(row, "group", seed) for seed in (0, 1) for row in ("slow", "fast")]
    runs += [some("alone", seed=seed) for seed in (0, 1)]
    assert run_on_cluster(runs, runs, jobs, 9) == {}
    assert jobs.started == [str(runs[i]) for i in (0, 1, 4, 5, 3)]


def test_rows_wait_while_a_job_trains_the_stage_that_they_share(monkeypatch):
    jobs = Cluster({"a": 1.0, "b": 2.0, "c": 3.0}, monkeypatch)
    status = {"status": "running"}
    monkeypatch.setattr(cluster, "read_record", lambda path: status)
    runs = [some("a", stages=(("encode", "x"),)), some("b", stages=(("encode", "x"),)), some("c")]
    run_on_cluster(runs, runs, jobs, 9)
    assert jobs.started == [str(runs[i]) for i in (0, 2, 1)]
    jobs.jobs.clear(), jobs.results.clear(), status.update(status="finished")
    run_on_cluster(runs, runs, jobs, 9)
    assert jobs.started == [str(run) for run in runs]


def test_killed_jobs_start_again_a_few_times(monkeypatch, capsys):
    jobs = Cluster({"a": None, "b": 1.0}, monkeypatch)
    runs = [some("a"), some("b")]
    failures = run_on_cluster(runs, runs, jobs, 1)
    assert failures == {runs[0]: "ended 5 times before it was done; see 7.err"} and MOST_STARTS == 5
    assert jobs.started == [str(runs[0])] * 5 + [str(runs[1])]
    assert "is started again" in capsys.readouterr().out


def test_the_budget_and_ctrl_c_stop_all_jobs(monkeypatch, capsys):
    jobs = Cluster({"a": "never"}, monkeypatch)
    runs = [some("a")]
    run_on_cluster(runs, runs, jobs, 1, 1e-6)
    assert jobs.jobs[0].canceled and "start again to go on" in capsys.readouterr().out

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "time", type("Clock", (), {"sleep": interrupted, "monotonic": time.monotonic}))
    with pytest.raises(KeyboardInterrupt):
        run_on_cluster(runs, runs, jobs, 1)
    assert jobs.jobs[1].canceled


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_sets(tmp_path_factory.mktemp("data"))


def arguments_of(folder, data, *more):
    folder.mkdir(exist_ok=True)
    (folder / "two.py").write_text(SUITE)
    changes = [f"{key}={value!r}" for key, value in {**CHANGES, "loss_weight_gradient": 0.0}.items()]
    common = ["--data", str(data), "--output", str(folder / "out"), "--seeds", "1", *changes]
    return [str(folder / "two.py"), *common, *more]


def test_killed_jobs_of_this_machine_give_the_results_of_one_process(data, tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit.core.core.Job, "_results_timeout_s", 0)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(cluster, "POLL", 0.05)
    submitted, submit = [], submitit.AutoExecutor.submit

    def submit_and_kill_the_first(executor, *arguments):
        job = submit(executor, *arguments)
        submitted.append(job)
        if len(submitted) == 1:
            children = Path(f"/proc/{job.job_id}/task/{job.job_id}/children")
            os.kill(int(wait_until(children.read_text).split()[0]), signal.SIGKILL)
        return job

    monkeypatch.setattr(submitit.AutoExecutor, "submit", submit_and_kill_the_first)
    script.main(arguments_of(tmp_path / "alone", data))
    script.main(arguments_of(tmp_path / "jobs", data, "--cluster", "local"))
    assert len(submitted) == 3
    files = [results_of(tmp_path / name / "out") for name in ("alone", "jobs")]
    assert len(files[0]) == 2 * 3 and files[0] == files[1]
    # what is done is not submitted again
    script.main(arguments_of(tmp_path / "jobs", data, "--cluster", "local"))
    assert len(submitted) == 3


def results_of(output):
    """The bytes of all scores: those of tests, and those of held-out labels."""
    names = ("evaluation.csv", "evaluation.md", "debug_log_testing.txt")
    files = sorted(path for name in names for path in output.rglob(name) if "latest" not in path.parts)
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def test_runs_are_texts(data, tmp_path):
    for suite in ("labels", "better"):
        arguments = [suite, "--data", str(data), "--output", str(tmp_path), "--seeds", "1", "actor_subset=None"]
        parsed = script.parse_arguments(arguments)
        _, read = script.read_suite(parsed.suite)
        for run in plan(read, *script.base_configs(parsed, tmp_path, read), 1):
            again = run_of(text_of(run))
            assert vars(again) == vars(run)


def test_bad_options_are_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    for options, words in (
        (["--jobs", "2"], "--jobs and job.key=value need --cluster"),
        (["job.timeout_min=3"], "--jobs and job.key=value need --cluster"),
        (["--cluster", "local", "--jobs", "0"], "--jobs is 0"),
    ):
        with pytest.raises(UserError, match=words):
            script.main(arguments_of(tmp_path, data, *options))
    with pytest.raises(UserError, match="budget is 0"):
        script.main(arguments_of(tmp_path, data, "--cluster", "local", "--budget", "0"))
    with pytest.raises(UserError, match=r"--cluster local: .*partitoin"):
        script.main(arguments_of(tmp_path, data, "--cluster", "local", "job.slurm_partitoin='gpu'"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"--cluster slurm: .*srun"):
        script.main(arguments_of(tmp_path, data, "--cluster", "slurm"))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"submitit; install it with: pip install .*\[cluster\]"):
        script.main(arguments_of(tmp_path, data, "--cluster", "local"))
