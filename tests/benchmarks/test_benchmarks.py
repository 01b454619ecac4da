"""The benchmark runs and writes its files. No test checks a speed."""

import json
from itertools import pairwise

import pytest
import torch

from benchmarks import gpu, run, setups
from benchmarks.timing import Way, median_rates
from utils.errors import UserError

# all but rendering, which has tests of its own and builds a cache at its first use
ONLY = "load,train,cache,pose_train,evaluate,pose_only,index_seconds,train_peak_mib,view"
UNITS = {"index_seconds": "s", "train_peak_mib": "MiB", "view": "pictures/s"}


def test_everything_is_measured_both_ways(tmp_path, capsys):
    file = tmp_path / "deep" / "latest.json"
    run.main(["--quick", "--configuration", "published", "--only", ONLY, "--output", str(file)])
    (configuration, measured), *others = json.loads(file.read_text()).items()
    assert configuration == "published" and not others and list(measured) == ONLY.split(",")
    for name, values in measured.items():
        assert values["fast"] > 0 and values["plain"] > 0, name
        assert values["unit"] == UNITS.get(name, "crops/s"), name
    assert 100 < measured["train_peak_mib"]["fast"] < 20_000
    assert measured["train"]["gflop_per_crop"] > measured["pose_only"]["gflop_per_crop"] > 0
    table = capsys.readouterr().out
    assert all(f"| published | {name} |" in table for name in measured)


@pytest.mark.parametrize("way", ["fast", "plain"])
def test_one_way_alone(tmp_path, way):
    file = tmp_path / "latest.json"
    run.main(["--quick", "--configuration", "demo", "--only", "index_seconds", f"--{way}", "--output", str(file)])
    values = json.loads(file.read_text())["demo"]["index_seconds"]
    measured = {"fast", "busy"} if way == "fast" else {"plain"}
    assert set(values) == {*measured, "unit"} and all(values[name] > 0 for name in measured)


def test_an_unknown_measure_is_named(tmp_path):
    with pytest.raises(UserError, match="measure 'lode' is unknown; expected some of load, train"):
        run.main(["--quick", "--only", "lode", "--output", str(tmp_path / "latest.json")])
    assert not list(tmp_path.iterdir())


def test_configurations_are_those_of_the_config_files(tmp_path):
    published, pose = setups.read_configs("published", quick=False)
    assert published["inputDimension"] == 128 and published["batch_size_train"] == 32
    assert published["encoderType"] == "ResNet" and published["encoder_weights"] == "imagenet"
    assert pose["output_types"] == ["3D"] and setups.read_configs("demo", quick=False)[0]["inputDimension"] == 64
    # nothing is downloaded, and yet the stem is frozen, as published
    _, network = setups.make_network(setups.with_random_weights(published, tmp_path), "plain")
    assert not network.encoder.layer2[0].conv1.weight.requires_grad
    assert network.encoder.layer3[0].conv1.weight.requires_grad


def test_each_way_has_its_turn():
    turns = []
    ways = {name: Way(lambda name=name: turns.append(name)) for name in ("fast", "plain")}
    median_rates(ways, 0, 0, begin=lambda name: turns.append(f"now {name}"))
    assert len(turns) > 8
    for before, called in pairwise(turns):
        assert called.startswith("now") or called == before.removeprefix("now ")


def test_all_lines_of_a_gpu_are_measured(tmp_path, capsys):
    file = tmp_path / "gpu.json"
    gpu.main(["--quick", "--device", "cpu", "--output", str(file)])
    lines = json.loads(file.read_text())
    assert list(lines) == [name for name, line in gpu.LINES.items() if line.compiled == "auto"] and len(lines) == 6
    table = capsys.readouterr().out
    for name, values in lines.items():
        assert values["iterations_per_second"] > 0 and f"| {name} |" in table
        assert values["crops_per_second"] % values["iterations_per_second"] == pytest.approx(0, abs=1e-6)
        assert ("tflop_per_second" in values) == ("stage 2" not in name)
        assert values["peak_mib"] is None  # what only a GPU tells


def test_lines_that_do_not_fit_the_budget_are_named(tmp_path, capsys):
    gpu.main(["--device", "cpu", "--budget", "1", "--output", str(tmp_path / "gpu.json")])
    assert json.loads((tmp_path / "gpu.json").read_text()) == {}
    assert "not measured, to end within 1 s (--budget): rendering, 64 px; published" in capsys.readouterr().out
    with pytest.raises(UserError, match="--budget is 0"):
        gpu.main(["--device", "cpu", "--budget", "0"])


def test_the_table_names_targets_and_the_share_of_what_a_known_chip_reaches(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA H200")
    values = {"iterations_per_second": 222.2, "crops_per_second": 7111.0, "tflop_per_second": 395.0}
    values |= {"peak_mib": 9000.0, "waits_per_step": 0.0, "start_seconds": 62.0}
    results = {"published, batch 32, compiled": values, gpu.RENDERING: {"crops_per_second": 1200.0}}
    results[gpu.WHOLE_DEMO] = {"minutes": 1.94}
    table = gpu.table(results, torch.device("cuda"))
    assert "NVIDIA H200" in table and "| of 790 |" in table
    assert "| published, batch 32, compiled | 222.2 | 7,111 | 5,500 crops/s | 395 | 50.0% | 62 | 9,000 | 0 |" in table
    assert "| rendering, 64 px |  | 1,200 | 1,000 crops/s |" in table
    assert "whole demo: 1.9 minutes (target: 2 minutes)" in table


@pytest.mark.parametrize(("pieces", "workers"), [(8, 1), (8, 2), (3, 2), (8, 12), (8, 16), (8, 18), (8, 100)])
def test_every_process_renders_several_short_sequences_that_count(pieces, workers):
    from benchmarks.rendering import LEAST, PIECE, plan_pieces

    parts = plan_pieces(pieces, workers)
    assert len(parts) == workers and {len(part) for part in parts} == {1 + max(LEAST, -(-pieces // workers))}
    sequences = [sequence for part in parts for sequence in part]
    assert {sequence.num_crops for sequence in sequences} == {PIECE} and LEAST > 1
    assert len({sequence.key for sequence in sequences}) == len(sequences)


def test_ways_take_turns(monkeypatch):
    calls, clock = [], [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def way(name, seconds):
        def call():
            calls.append(name)
            clock[0] += seconds

        return Way(call, 10)

    rates = median_rates({"fast": way("fast", 0.5), "plain": way("plain", 2.0)}, seconds=10, shortest=0.4)
    assert rates == {"fast": pytest.approx(20), "plain": pytest.approx(5)}
    assert calls[:4] == ["fast", "fast", "plain", "plain"] and calls[4:8] == ["fast", "plain"] * 2
