"""The curves of a run as a picture, from the logs of its folder."""

import math
import time
from pathlib import Path

from matplotlib.figure import Figure

from utils.plotting import save_figure
from utils.readers import read_csv, reading

LOGS = {"training": "debug_log_training.txt", "held-out": "debug_log_testing.txt"}
_NOT_DRAWN = ("iteration", "learning_rate", "iterations_per_second")
_LABELS = {"psnr": "PSNR (dB)", "mpjpe": "MPJPE (mm)", "n_mpjpe": "N-MPJPE (mm)"}
_COLORS = {"training": "tab:blue", "held-out": "tab:orange"}
_COLUMNS = 3
_LOG_RATIO = 5  # between the largest and the smallest value, above which an axis is logarithmic
_PANEL = 4.0, 3.0  # inches of a curve with its margins
# Margins in inches; measuring the texts would take as long as drawing them.
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.75, 0.1, 0.5, 0.35
# A picture takes a tenth of a second; evaluations of stage 2 may be half a second apart.
_SECONDS = 30.0


class CurvesPicture:
    """`curves.png` in a run folder: drawn at evaluations, half a minute apart at least, and when training ends."""

    def __init__(self, folder: Path):
        self.folder, self.drawn = folder, time.monotonic()

    def add(self, window: str, iteration: int, values: dict[str, float]) -> None:
        """Draw after an evaluation; the values are in the logs already."""
        if window == "testing" and time.monotonic() - self.drawn > _SECONDS:
            self.close()

    def close(self) -> None:
        """Draw what the logs hold."""
        save_curves(self.folder)
        self.drawn = time.monotonic()


def save_curves(folder: Path) -> None:
    """Draw every loss and score of the logs in `folder` over iterations into `curves.png`, atomically."""
    logs = {name: read_curves(folder / file) for name, file in LOGS.items()}
    names = list(dict.fromkeys(name for curves in logs.values() for name in curves))
    if not names:
        return
    width, height = _PANEL[0] * min(len(names), _COLUMNS), _PANEL[1] * math.ceil(len(names) / _COLUMNS)
    figure = Figure(figsize=(width, height))
    size = (_PANEL[0] - _LEFT - _RIGHT) / width, (_PANEL[1] - _BOTTOM - _TOP) / height
    for place, name in enumerate(names):
        row, column = divmod(place, _COLUMNS)
        left, bottom = column * _PANEL[0] + _LEFT, height - (row + 1) * _PANEL[1] + _BOTTOM
        axes = figure.add_axes((left / width, bottom / height, *size))
        drawn = {log: curves[name] for log, curves in logs.items() if name in curves}
        for log, (iterations, values) in drawn.items():
            axes.plot(iterations, values, color=_COLORS[log], label=log, marker="." if len(values) == 1 else None)
        every = [value for _, values in drawn.values() for value in values]
        if min(every) > 0 and max(every) > _LOG_RATIO * min(every):
            axes.set_yscale("log")
        axes.set(title=_LABELS.get(name, name), xlabel="iteration")
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, folder / "curves.png", dpi=100)


def read_curves(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Iterations and values of each column of a log; finite values only, and no column without any."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    if not path.exists() or not path.stat().st_size:
        return curves
    with reading(path, "iterations and numbers; move the log away to go on"):
        for row in read_csv(path, ["iteration"]):
            for name, text in row.items():
                if name not in _NOT_DRAWN and math.isfinite(value := float(text)):
                    iterations, values = curves.setdefault(name, ([], []))
                    iterations.append(int(row["iteration"]))
                    values.append(value)
    return curves
