"""Adapt packaged weights to a recording, such as that in the box, without and with labels; test on its last instants.

python configs/prepare_videos.py --videos examples/recording/videos/*.mp4 --triangulate --upright \\
    --calibration examples/recording/Calib.qca.txt --output data/recording
python configs/render_dataset.py --output data/wild --preset wild
python benchmarks/adaptation.py data/recording data/wild/train

The last sequence of the recording is the test set; the others are adapted to, first without their poses
(config_adapt.py), then with them (config_adapt_pose.py). OUT/adaptation.json has the errors of each step. With --whole
the first training, which needs no poses, sees the crops of the last sequence too, as that of a user does.
"""

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np

from benchmarks.results import FOLDER, write_results
from configs.command_line import script_parser
from datasets.layout.labels import LABELS_FILE, POSE_KEYS, ROW_KEYS, Labels
from utils.errors import UserError, run_script
from utils.paths import ROOT, packaged_weights

COLUMNS = ("n_mpjpe_mm", "fused_n_mpjpe_mm", "mean_pose_n_mpjpe_mm")
STEPS = {  # script, its config, and the key that names what it starts from
    "unlabeled": ("train_encodeDecode", "config_adapt", "pretrained_network_path"),
    "labeled": ("train_encodeDecode_pose", "config_adapt_pose", "network_path"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parse(arguments)
    adapted_to, tested = split_by_sequence(given.recording, given.output)
    results = {"before": evaluate(given.weights, tested, given.output / "before")}
    source, changes = given.weights, given.changes
    seen = {"unlabeled": given.recording if given.whole else adapted_to, "labeled": adapted_to}
    for step, (script, config, start) in STEPS.items():
        begin = time.monotonic()
        sets = [f"dataset_folder_train={seen[step]}", f"dataset_folder_mixed={given.rendered}"]
        run = ["--config", f"configs/{config}.py", f"{start}={source}", f"output_folder={given.output}", f"name={step}"]
        _run(script, *run, *sets, *changes)
        minutes = (time.monotonic() - begin) / 60
        source, changes = given.output / step, ()
        results[step] = {"minutes": minutes, **evaluate(source, tested, given.output / f"after_{step}")}
    write_results(given.output / "adaptation.json", results)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("recording", type=Path, metavar="DIR", help="prepared recording of two or more sequences")
    parser.add_argument("rendered", type=Path, metavar="RENDERED", help="rendered set with masks, of the same size")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="change a key of the first training")
    help_whole = "the first training sees all crops of the recording, still without poses"
    parser.add_argument("--whole", action="store_true", help=help_whole)
    weights = packaged_weights("wild128")
    parser.add_argument("--weights", type=Path, metavar="FILE", default=weights, help="what is adapted")
    parser.add_argument("--output", type=Path, metavar="OUT", default=FOLDER / "adaptation", help="folder to write")
    return parser.parse_args(arguments)


def split_by_sequence(recording: Path, output: Path) -> tuple[Path, Path]:
    """Two training layouts whose crops are those of `recording`: all sequences but the last one, and the last one."""
    labels = Labels(recording)
    last = labels["seq"] == labels["seq"].max()
    if last.all():
        raise UserError(f"{recording} holds one sequence; expected two or more")
    folders = output / "adapted_to", output / "tested"
    for folder, rows in zip(folders, (~last, last), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        for seq in np.unique(labels["seq"][rows]):
            name, link = f"seq_{seq:03d}", folder / f"seq_{seq:03d}"
            if not link.exists():
                link.symlink_to((recording / name).resolve(), target_is_directory=True)
        with h5py.File(folder / LABELS_FILE, "w") as file:
            for key in (*ROW_KEYS, *POSE_KEYS):
                if key not in file:
                    file[key] = labels[key] if key not in ROW_KEYS else labels[key][rows]
    return folders


def evaluate(network: Path, test_set: Path, output: Path) -> dict[str, float]:
    """Errors of one camera and of all of them fused, and those of the mean pose, mm."""
    _run("test_encodeDecode", "--evaluate", "--fuse", "flip_test=True", f"network_path={network}",
         f"dataset_folder_test={test_set}", f"output_folder={output}")  # fmt: skip
    # A run keeps its own table, a file of weights has none to keep it in.
    (table,) = [network / "evaluation.csv"] if network.is_dir() else output.glob("*/evaluation.csv")
    with table.open(newline="", encoding="utf-8") as file:
        overall = list(csv.DictReader(file))[-1]
    return {column: float(overall[column]) for column in COLUMNS}


def _run(script: str, *arguments: object) -> None:
    """Run a script of configs/. Raises UserError where it fails; its own message stands above."""
    if subprocess.run([sys.executable, f"configs/{script}.py", *map(str, arguments)], cwd=ROOT).returncode:
        raise UserError(f"{script}.py failed; see above")


if __name__ == "__main__":
    run_script(main)
