"""Files of a run that are damaged, or of another run: one line that names the file, and nothing is overwritten."""

import math

import pytest
import torch
from torch.multiprocessing.reductions import rebuild_storage_fd

from tests.synthetic import write_synthetic_layout
from tests.tiny import tiny_config
from training.loop.engine import load_optimizer_state
from training.loop.provenance import read_record
from training.loop.run_folder import CsvLog, RunFolder
from utils.errors import UserError, run_script

STATE = {"network": {}, "optimizer": {}, "iteration": 3, "best": math.inf}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_synthetic_layout(root, size=16, subjects=(1,), sequences_per_subject=1, instants=2)
    return root


@pytest.fixture
def config(data, tmp_path):
    return tiny_config(data, tmp_path)


@pytest.fixture
def folder(config):
    folder = RunFolder(config, "encode")
    folder.models.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({key: None}, f"no valid '{key}'") for key in STATE),
        ({"iteration": -5}, "no valid 'iteration'"),
        ({"iteration": "x"}, "no valid 'iteration'"),
        ({"network": torch.ones(2)}, "no valid 'network'"),
        ({"best": 0.5}, "the best network is missing"),
    ],
    ids=str,
)
def test_a_state_of_another_shape_is_one_line(change, message, folder, config):
    folder.save_state({**STATE, **change})
    with pytest.raises(UserError, match=f"cannot resume.*{message}"):
        folder.open(config, resume=True, write=False)


@pytest.mark.parametrize("content", [b"", b"cos\nsystem\n(S'true'\ntR.", b"PK\x03\x04"])
def test_a_state_that_is_none_is_one_line(content, folder, config):
    folder.state_file.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot resume: .*remove it to start again"):
        folder.open(config, resume=True, write=False)


def test_a_state_of_another_optimizer_is_refused():
    states = [make_optimizer(inputs) for inputs in (3, 4)]
    load_optimizer_state(states[0], states[0].state_dict())
    for state in (states[1].state_dict(), {}, {"state": {}, "param_groups": []}):
        with pytest.raises(UserError, match="another"):
            load_optimizer_state(states[0], state)


def make_optimizer(inputs):
    layer = torch.nn.Linear(inputs, 2)
    layer(torch.ones(1, inputs)).sum().backward()
    optimizer = torch.optim.AdamW(layer.parameters())
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)), "cannot be read"),
        (b"a,b\n1,2\n", "no column 'iteration'"),
        (b"iteration,foo\r\n1,2\r\n", "has the columns iteration, foo; expected iteration, loss"),
        (b"iteration,loss\r\n1,2,3\r\n", "more cells than columns"),
    ],
)
def test_a_log_of_another_kind_is_kept(content, message, tmp_path):
    (tmp_path / "log.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        CsvLog(tmp_path / "log.txt", 3).append({"iteration": 4, "loss": 1.0})
    assert (tmp_path / "log.txt").read_bytes() == content


@pytest.mark.parametrize("content", ["[]", "{", '{"sessions": 5}', '{"sessions": [5]}', '{"identity": []}'])
def test_a_damaged_record_is_one_line(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json"):
        read_record(tmp_path / "run.json")


def reader_is_reported_dead():
    raise RuntimeError("DataLoader worker (pid 627) is killed by signal: Killed. ")


def reader_is_dead_when_asked_for_a_tensor():
    class Gone:
        def detach(self):
            raise ConnectionResetError(104, "Connection reset by peer")

    rebuild_storage_fd(torch.UntypedStorage, Gone(), 8)


@pytest.mark.parametrize("main", [reader_is_reported_dead, reader_is_dead_when_asked_for_a_tensor])
def test_a_reader_that_is_killed_is_one_line(main, capsys):
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    line = capsys.readouterr().err
    assert ended.value.code == 2 and line.startswith("error: a process that reads crops died") and line.count("\n") == 1
