"""Curves in visdom: drawn where its package and a server are there, silent everywhere else."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from training.loop.monitors import VisdomCurves

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
        curves = wait_for(lambda: connected(port))
        for iteration, loss in enumerate([0.5, 0.25, 0.125], start=1):
            curves.add("training", iteration, {"loss": loss})
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/win_data", json.dumps({"win": "training_loss", "eid": "run"}).encode()
        )
        drawn = json.loads(urllib.request.urlopen(request, timeout=10).read())
        (curve,) = drawn["content"]["data"]
        assert curve["x"] == [1, 2, 3] and curve["y"] == [0.5, 0.25, 0.125]
    finally:
        server.kill()
        server.wait()
    curves.add("training", 4, {"loss": 0.1})
    assert curves.client is None


def connected(port: int) -> VisdomCurves | None:
    curves = VisdomCurves("run", port=port)
    return curves if curves.client else None


def wait_for(what, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := what():
            return result
        time.sleep(0.3)
    raise TimeoutError("the visdom server did not start")
