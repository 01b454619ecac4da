"""The folder of one run: its name, its files, and the rows of its logs."""

import csv
import io
from pathlib import Path

import torch

from utils.config import config_hash, write_config
from utils.errors import UserError
from utils.files import write_atomically

BEST_NETWORK = "models/network_best_val_t1.pth"

# Where and how fast a run runs, and how it is tested, is not what it learns: these keys do not name a run.
_NOT_IN_HASH = (
    "output_folder",
    "device",
    "num_workers",
    "preload_images",
    "crops_on_device",
    "compile",
    "visdom",
    "flip_test",
)


def run_name(config: dict, stage: str) -> str:
    """The published kind of name, "<stage>_resL3_ResNet_layers4_...", and a hash of the config."""
    actors = config["actor_subset"]
    parts = [
        f"{stage}_resL3_{config['encoderType']}",
        f"layers{config['num_encoding_layers']}",
        f"implR{config['implicit_rotation']}",
        f"wRGB{config['loss_weight_rgb']:g}",
        f"wGrad{config['loss_weight_gradient']:g}",
        f"wImgNet{config['loss_weight_imageNet']:g}",
        f"skipBG{config['skip_background']}",
        f"fg{config['latent_fg']}",
        f"3d{config['latent_3d']}",
        f"lh3Dp{config['n_hidden_to3Dpose']}",
        f"ldrop{config['latent_dropout']:g}",
        f"billin{config['upsampling_bilinear']}",
        f"fscale{config['feature_scale']}",
        f"shuffleFG{config['shuffle_fg']}",
        f"shuffle3d{config['shuffle_3d']}",
        config["training_set"],
        f"nth{config['every_nth_frame']}",
        "sub" + ("all" if actors is None else "-".join(map(str, actors))),
        f"bs{config['useCamBatches']}",
        f"lr{config['learning_rate']:g}",
        config_hash({key: value for key, value in config.items() if key not in _NOT_IN_HASH}),
    ]
    return "_".join(parts)


class RunFolder:
    """Paths of a run, and its resumable state.

    `config.json`, `debug_log_training.txt`, `debug_log_testing.txt`, `images/`,
    `models/network_last_val.pth`, `models/network_best_val_t1.pth`, `models/training_state.pth`.
    """

    def __init__(self, config: dict, stage: str):
        self.path = Path(config["output_folder"]) / run_name(config, stage)
        self.models = self.path / "models"
        self.images = self.path / "images"
        self.last_network = self.models / "network_last_val.pth"
        self.best_network = self.path / BEST_NETWORK
        self.state_file = self.models / "training_state.pth"

    def open(self, config: dict, resume: bool, write: bool = True) -> dict | None:
        """Make the folder (with `write`); return the state to resume from, or None for a fresh start."""
        if self.state_file.exists() and not resume:
            raise UserError(
                f"{str(self.path)!r} holds a run of this very config; give --resume to continue it, or remove it"
            )
        if write:
            for folder in (self.models, self.images):
                folder.mkdir(parents=True, exist_ok=True)
            write_config(self.path / "config.json", config)
        if not self.state_file.exists():
            return None
        try:
            return torch.load(self.state_file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise UserError(
                f"cannot resume from {str(self.state_file)!r}: {type(error).__name__}; remove it to start anew"
            ) from error

    def save_state(self, state: dict) -> None:
        """Write the state of a resumable run, whole or not at all."""
        write_atomically(self.state_file, lambda part: torch.save(state, part))


class CsvLog:
    """A CSV file with one header; rows after `iteration` are dropped when a run resumes there."""

    def __init__(self, path: Path, iteration: int = 0):
        self.path = path
        self.fields: list[str] | None = None
        rows = list(csv.DictReader(path.open(newline=""))) if path.exists() and iteration else []
        kept = [row for row in rows if _is_before(row, iteration)]
        text = io.StringIO()
        if kept:
            self.fields = list(kept[0])
            writer = csv.DictWriter(text, self.fields)
            writer.writeheader()
            writer.writerows(kept)
        write_atomically(path, lambda part: part.write_text(text.getvalue(), newline=""))

    def append(self, row: dict) -> None:
        """Add a row; the first one also writes the header."""
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.fields or list(row))
            if self.fields is None:
                self.fields = list(row)
                writer.writeheader()
            writer.writerow(row)


def _is_before(row: dict, iteration: int) -> bool:
    """False for later rows, and for a line that a kill cut short."""
    try:
        return int(row["iteration"]) <= iteration and None not in row.values()
    except (KeyError, TypeError, ValueError):
        return False
