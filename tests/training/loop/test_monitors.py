"""Curves: a picture of every run, TensorBoard and trackers where asked for, visdom where its server is there."""

import importlib.machinery
import json
import socket
import subprocess
import sys
import urllib.request
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from models.parts.weights import read_file
from tests.moments import wait_until
from tests.runs import Died, die_at, interrupt_at, losses, read_log
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, TIMEOUT, tiny_config
from training.loop.curves import CurvesPicture, read_curves, save_curves
from training.loop.monitors import VisdomCurves
from training.stages.novel_views import train_novel_views
from utils.errors import UserError

SERVE = "import sys; from visdom.server.run_server import main; sys.argv[1:] = {!r}; main()"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_without_the_package_nothing_happens(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "visdom", None)
    curves = VisdomCurves("run", port=free_port())
    curves.add("training", 1, {"loss": 0.5})
    assert capfd.readouterr() == ("", "")


def test_without_a_server_nothing_happens(capfd):
    pytest.importorskip("visdom")
    curves = VisdomCurves("run", port=free_port())
    curves.add("training", 1, {"loss": 0.5})
    assert "Traceback" not in "".join(capfd.readouterr())


def test_curves_reach_a_real_server_and_its_death_stops_nobody(tmp_path, capfd):
    pytest.importorskip("visdom")
    port = free_port()
    arguments = ["-port", str(port), "--hostname", "127.0.0.1", "-env_path", str(tmp_path), "-bind_local"]
    server = subprocess.Popen([sys.executable, "-c", SERVE.format(arguments)], stderr=subprocess.DEVNULL)
    try:
        curves = wait_until(lambda: connected(port), server)
        for iteration, loss in enumerate([0.5, 0.25, 0.125], start=1):
            curves.add("training", iteration, {"loss": loss})
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/win_data", json.dumps({"win": "training_loss", "eid": "run"}).encode()
        )
        drawn = json.loads(urllib.request.urlopen(request, timeout=TIMEOUT).read())
        (curve,) = drawn["content"]["data"]
        assert curve["x"] == [1, 2, 3] and curve["y"] == [0.5, 0.25, 0.125]
    finally:
        server.kill()
        server.wait()
    curves.add("training", 4, {"loss": 0.1})
    assert curves.client is None


class FakeVisdom:
    """A client of visdom with the arguments that the package's own has, as far as they are used."""

    def __init__(self, *, server, port, env, raise_exceptions=None, log_to_filename=None):
        self.about, self.fails, self.lines = (server, port, env, raise_exceptions), False, []

    def check_connection(self, timeout_seconds=0):
        return self.about[1] != 1

    def line(self, Y, X=None, win=None, env=None, opts=None, update=None, name=None):
        if self.fails:
            raise ConnectionError
        self.lines.append((win, X, Y, update, opts["title"]))


def test_each_loss_has_a_curve_until_the_server_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "visdom", SimpleNamespace(Visdom=FakeVisdom))
    assert VisdomCurves("run", port=1).client is None
    curves = VisdomCurves("run", port=5)
    client = curves.client
    # Without exceptions, a server that is gone would print a traceback for each point.
    assert client.about == ("http://localhost", 5, "run", True)
    curves.add("training", 3, {"loss": 0.5, "rgb": 0.25})
    assert client.lines == [
        ("training_loss", [3], [0.5], "append", "training loss"),
        ("training_rgb", [3], [0.25], "append", "training rgb"),
    ]
    client.fails = True
    curves.add("training", 4, {"loss": 0.5})
    client.fails = False
    curves.add("training", 5, {"loss": 0.5})
    assert curves.client is None and len(client.lines) == 2


def connected(port: int) -> VisdomCurves | None:
    curves = VisdomCurves("run", port=port)
    return curves if curves.client else None


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data"), size=SIZE, sequences_per_subject=3)


@pytest.fixture
def tracker(monkeypatch):
    """A stand-in for wandb, which notes what it is told."""
    module = ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.told = []
    # With the names of wandb's arguments that are used, and no others.
    module.init = lambda *, project, name, config: module.told.append(("init", project, name, config["latent_3d"]))
    module.log = lambda data, step: module.told.append((step, data))
    module.finish = lambda: module.told.append("finish")
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_a_resumed_run_has_one_curve_everywhere(data, tmp_path, tracker, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_config(data, tmp_path, name="run", tensorboard=True, tracker="wandb")
    with monkeypatch.context() as patch:
        die_at(patch, 5)
        with pytest.raises(Died):
            train_novel_views(config)
    # drawn of what there was
    Image.open(tmp_path / "run" / "curves.png").verify()
    (tmp_path / "run" / "curves.png").unlink()
    run = train_novel_views(config, resume=True)
    Image.open(run.path / "curves.png").verify()
    assert not list(run.path.glob(".*part"))
    tested = read_log(run.path / "debug_log_testing.txt")
    drawn = read_curves(run.path / "debug_log_training.txt")
    assert drawn["loss"] == (list(losses(run)), list(losses(run).values())) and "learning_rate" not in drawn

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    scalars = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    assert scalars["training/loss"] == pytest.approx(losses(run), rel=1e-5)
    assert scalars["testing/psnr"] == pytest.approx({int(row["iteration"]): float(row["psnr"]) for row in tested})

    told = [entry for entry in tracker.told if isinstance(entry, tuple) and entry[0] != "init"]
    assert tracker.told[0] == ("init", "geometry-aware-pose", "run", config["latent_3d"])
    assert tracker.told[-1] == "finish"
    assert [step for step, values in told if "testing/psnr" in values] == [3, 6]


def fail(*_, **__):
    raise RuntimeError("no network")


def test_a_tracker_that_fails_is_one_line_and_the_run_goes_on(data, tmp_path, tracker, capfd):
    tracker.log = fail
    run = train_novel_views(tiny_config(data, tmp_path, tracker="wandb"))
    assert len(losses(run)) == 6 and run.best_network.exists()
    assert capfd.readouterr().out.count("tracker 'wandb' failed: no network") == 1
    assert tracker.told[1:] == []


def test_a_tracker_that_cannot_start_is_one_line(data, tmp_path, tracker):
    tracker.init = fail
    with pytest.raises(UserError, match=r"tracker 'wandb' cannot start: .*no network"):
        train_novel_views(tiny_config(data, tmp_path, tracker="wandb"))


@pytest.mark.parametrize("interrupted", [True, False])
def test_what_a_run_has_learned_is_stored_before_a_tracker_is_told(data, tmp_path, tracker, monkeypatch, interrupted):
    state, stored = tmp_path / "run" / "models" / "training_state.pth", []

    def note(*_, **__):
        stored.append(read_file(state)["iteration"] if state.exists() else 0)

    tracker.finish = note
    tracker.log = lambda data, step: note() if "testing/loss" in data else None
    config = tiny_config(data, tmp_path, name="run", tracker="wandb")
    if interrupted:
        interrupt_at(monkeypatch, 5)
        with pytest.raises(KeyboardInterrupt, match="interrupted at iteration 5"):
            train_novel_views(config)
    else:
        train_novel_views(config)
    assert stored == ([3, 5] if interrupted else [3, 6, 6])


def test_pictures_are_drawn_at_evaluations_half_a_minute_apart(tmp_path, monkeypatch):
    log = tmp_path / "debug_log_testing.txt"
    log.write_text("iteration,loss,psnr\n1,0.5,20\n2,nan,21\n")
    assert read_curves(log) == {"loss": ([1], [0.5]), "psnr": ([1, 2], [20.0, 21.0])}
    now = [0.0]
    monkeypatch.setattr("training.loop.curves.time.monotonic", lambda: now[0])
    picture = CurvesPicture(tmp_path)
    for now[0], window, drawn in ((10, "testing", False), (31, "training", False), (31, "testing", True)):
        picture.add(window, 2, {})
        assert (tmp_path / "curves.png").exists() == drawn
    log.write_text("")
    (tmp_path / "curves.png").unlink()
    save_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize(
    ("key", "package", "line"),
    [
        ({"tensorboard": True}, "tensorboard", r'pip install -e "\.\[tensorboard\]"'),
        ({"tracker": "trackio"}, None, "pip install trackio"),
    ],
)
def test_a_missing_package_is_one_line_before_anything_is_written(data, tmp_path, monkeypatch, key, package, line):
    if package:
        for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=line):
        train_novel_views(tiny_config(data, tmp_path, **key))
    assert list(tmp_path.iterdir()) == []
