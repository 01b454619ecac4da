"""Where the curves of a training go: a picture in its folder, TensorBoard, a tracker of experiments, visdom.

Each monitor has `add(window, iteration, values)`, which appends a point to the curves of "training" or "testing", and
`close()`.
"""

import contextlib
import importlib
import importlib.util
import logging
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from training.loop.curves import CurvesPicture
from utils.commands import install_extra
from utils.errors import UserError
from utils.readers import reason


class Monitor(Protocol):
    def add(self, window: str, iteration: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


def require_monitors(config: dict) -> None:
    """UserError where a package of the monitors that `config` asks for is missing."""
    if config["tensorboard"]:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"tensorboard=True needs the package tensorboard: {install_extra('tensorboard')}"
            ) from error
    if config["tracker"] and importlib.util.find_spec(config["tracker"]) is None:
        raise UserError(f"tracker is {config['tracker']!r}, which is not installed: pip install {config['tracker']}")


def open_monitors(config: dict, folder: Path, iteration: int) -> list[Monitor]:
    """The monitors of a run in `folder` that goes on from `iteration`."""
    monitors: list[Monitor] = [CurvesPicture(folder)]
    if config["tensorboard"]:
        monitors.append(TensorboardCurves(folder / "tensorboard", iteration))
    if config["tracker"]:
        monitors.append(TrackerCurves(config["tracker"], folder.name, config))
    if config["visdom"]:
        monitors.append(VisdomCurves(folder.name))
    return monitors


class TensorboardCurves:
    """Curves for TensorBoard in `folder`; what a killed run logged after `iteration` is hidden."""

    def __init__(self, folder: Path, iteration: int):
        from ignite.handlers.tensorboard_logger import TensorboardLogger

        self.logger = TensorboardLogger(log_dir=str(folder), purge_step=iteration + 1)

    def add(self, window: str, iteration: int, values: dict[str, float]) -> None:
        """Append one point to each curve of a window."""
        for name, value in values.items():
            self.logger.writer.add_scalar(f"{window}/{name}", value, iteration)

    def close(self) -> None:
        self.logger.close()


class TrackerCurves:
    """Curves of wandb or trackio, which have the same functions. UserError where the package cannot start."""

    def __init__(self, package: str, name: str, config: dict):
        self.package = package
        try:
            self.tracker = importlib.import_module(package)
            self.tracker.init(project="geometry-aware-pose", name=name, config=config)
        except Exception as error:
            raise UserError(f"tracker {package!r} cannot start: {reason(error)}; fix it, or tracker=None") from error

    def add(self, window: str, iteration: int, values: dict[str, float]) -> None:
        """Append one point to each curve of a window. Where that fails, nothing is sent any more."""
        self._try("log", {f"{window}/{name}": value for name, value in values.items()}, step=iteration)

    def close(self) -> None:
        """Let the package send what it still has."""
        self._try("finish")

    def _try(self, function: str, *arguments, **options) -> None:
        if self.tracker is None:
            return
        try:
            getattr(self.tracker, function)(*arguments, **options)
        except Exception as error:
            # Whatever went wrong there, the training is worth more than its curves.
            self.tracker = None
            tqdm.write(f"tracker {self.package!r} failed: {reason(error)}; it gets no more curves, the run is not hurt")


class VisdomCurves:
    """Curves on the visdom server of this machine, in an environment that is named after the run.

    Nothing where its package or its server is missing.
    """

    def __init__(self, name: str, server: str = "http://localhost", port: int = 8097):
        self.client = None
        try:
            import visdom
        except ImportError:
            return
        # visdom prints a traceback for every failed request.
        logging.getLogger("visdom").setLevel(logging.CRITICAL)
        with contextlib.suppress(Exception):
            client = visdom.Visdom(server=server, port=port, env=name, raise_exceptions=True, log_to_filename=None)
            if client.check_connection(timeout_seconds=1):
                self.client = client

    def add(self, window: str, iteration: int, values: dict[str, float]) -> None:
        """Append one point to each curve of a window. Where the server is gone, nothing is sent any more."""
        if self.client is None:
            return
        try:
            for name, value in values.items():
                self.client.line(
                    [value],
                    [iteration],
                    win=f"{window}_{name}",
                    update="append",
                    opts={"title": f"{window} {name}", "xlabel": "iteration"},
                )
        except Exception:
            # Whatever went wrong there, the training is worth more than its curves.
            self.client = None

    def close(self) -> None:
        """Nothing to do: the server keeps the curves."""
