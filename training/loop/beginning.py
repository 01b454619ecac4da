"""What every training begins with: its run folder and its data, whose images are read later (`load_images`)."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from training.loop.curves import LOGS
from training.loop.distributed import is_main
from training.loop.engine import is_plotted, last_lines
from training.loop.monitors import require_monitors
from training.loop.provenance import read_record
from training.loop.run_folder import RunFolder, rows_until
from utils.locks import writing

Data = TypeVar("Data")


def open_run(
    config: dict, stage: str, resume: bool, open_dataset: Callable[[dict], Data]
) -> tuple[RunFolder, Data | None]:
    """The folder of the run of a complete `config`, and its data; None for them where the run is trained.

    The data are those of `open_dataset(config)`, with no image in memory yet. Nothing is written. UserError where `fit`
    would raise one for the folder, and for a missing package of a monitor: before images are decoded or encoded, which
    may take long.
    """
    dataset = open_dataset({**config, "preload_images": False})
    folder = RunFolder(config, stage)
    if _is_trained(config, folder, resume):
        return folder, None
    return folder, dataset


def _is_trained(config: dict, folder: RunFolder, resume: bool) -> bool:
    """Whether nothing is left to do in `folder`, which is then said."""
    require_monitors(config)
    # The lock would make a folder that is not there, and leave it where another process ends this one meanwhile.
    with writing(folder.path) if is_main() and folder.path.exists() else nullcontext():
        state = folder.open(config, resume, write=False)
        record = read_record(folder.record_file)
    iteration = 0 if state is None else state["iteration"]
    for name in LOGS.values():
        rows_until(folder.path / name, iteration)
    if iteration < config["num_training_iterations"]:
        if resume and state is None and is_main():
            print(f"nothing to resume in {folder.path}: it begins at iteration 0")
        return False
    missed = is_plotted(iteration, config) and not folder.example(iteration).exists()
    if missed or record is None or record.get("status") != "finished":
        # What a kill left undone needs the network, or its data.
        return False
    if is_main():
        print(last_lines(config, folder, record["score"], state["best"], state.get("best_iteration"), trained=False))
    return True
