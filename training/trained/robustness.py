"""The matrix of robustness: errors of a network's poses under each nuisance, beside those of clean crops."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from datasets import MultiViewDataset
from models import EncodeDecode
from models.parts.folding import fold_batch_norm
from training.loop.hardware import Hardware
from training.loop.threads import map_batches
from training.metrics import n_mpjpe, p_mpjpe
from training.trained.copies import estimate_poses
from training.trained.evaluation import rows_not_shifted
from training.trained.nuisances import NUISANCES, KnownCrop, Nuisance, apply, mask_of
from training.trained.tables import markdown_table
from utils.errors import UserError
from utils.files import write_csv, write_text
from utils.geometry import rotate_points, rotation_about
from utils.images import normalize
from utils.photographs import HELD_OUT_PHOTOGRAPHS, free_photographs, photograph_files, random_squares
from utils.plotting import save_figure

CROPS = 500  # of a set, evenly spaced
PHOTOGRAPHS = 64  # squares that stand behind people
CLEAN = Nuisance("clean", "clean", lambda seen, rng: seen.crop)

Row = dict[str, Any]  # group, nuisance, crops, n_mpjpe_mm, ratio, pa_mpjpe_mm


class Robustness(NamedTuple):
    """Rows of the matrix, the clean one first; the nuisances left out, with what the set lacks for them; examples."""

    rows: list[Row]
    left_out: dict[str, str]
    examples: list[np.ndarray]


def evaluate_nuisances(
    network: EncodeDecode,
    dataset: MultiViewDataset,
    config: dict,
    hardware: Hardware,
    folder: str | os.PathLike | None = None,
    photographs: str | None = None,
    skip_shifted: bool = False,
) -> Robustness:
    """Errors of poses on up to 500 crops of `dataset`, clean and under each nuisance of `NUISANCES`.

    `dataset` reads "img_crop" and "3D", and "mask_crop" or "bg_crop" where it has them; nuisances for which it lacks
    something are left out. A label rolls with its crop. `photographs`: a folder of pictures for backgrounds; None: the
    free ones in scikit-learn and scikit-image with which nothing is trained, where installed. Writes `nuisances.csv`,
    `nuisances.md` and `nuisances.png` into `folder`, if given. `skip_shifted` as of `evaluate`.
    Config keys: batch_size_test, flip_test.
    """
    _check_poses(network)
    rows = rows_not_shifted(dataset.labels) if skip_shifted else np.arange(len(dataset))
    batch = dataset.__getitems__(rows[np.unique(np.linspace(0, len(rows) - 1, CROPS).round().astype(int))])
    crops, labels = _crops_seen(batch, photographs), batch["3D"].cpu()
    pose = partial(_poses, fold_batch_norm(network), hardware, config["flip_test"])
    rows, left_out, examples = [], {}, []
    for nuisance in tqdm([CLEAN, *NUISANCES], "evaluating", unit="nuisance"):
        if not crops[0].has(nuisance.needs):
            left_out[f"{nuisance.group}: {nuisance.name}"] = nuisance.needs
            continue
        pictures, angles = _changed(nuisance, crops)
        batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(config["batch_size_test"])
        poses = torch.cat(list(map_batches(pose, batches, hardware.device)))
        rolled = rotate_points(labels.unflatten(1, (-1, 3)), rotation_about("z", angles)).flatten(1)
        rows.append(_row(nuisance, poses, rolled, rows))
        examples.append(pictures[len(pictures) // 3])
    found = Robustness(rows, left_out, examples)
    if folder is not None:
        write_robustness(folder, found)
    return found


def check_nuisances(network: EncodeDecode, photographs: str | None = None) -> None:
    """UserError for a network, a folder of pictures or a picture that `evaluate_nuisances` cannot use."""
    _check_poses(network)
    if photographs is not None:
        _photographs(photographs, 1)


def _check_poses(network: EncodeDecode) -> None:
    if "3D" not in network.output_types:
        raise UserError("this network was not trained for poses, whose errors under nuisances are measured")


def robustness_text(found: Robustness) -> str:
    """The matrix as a Markdown table, its worst and mean ratio, and what was left out."""
    cells = [
        [row["group"], row["nuisance"], f"{row['n_mpjpe_mm']:.1f}", f"{row['ratio']:.2f}", f"{row['pa_mpjpe_mm']:.1f}"]
        for row in found.rows
    ]
    lines = [markdown_table(["group", "nuisance", "N-MPJPE (mm)", "ratio to clean", "PA-MPJPE (mm)"], cells)]
    if len(found.rows) > 1:
        worst = max(found.rows[1:], key=lambda row: row["ratio"])
        mean = np.mean([row["ratio"] for row in found.rows[1:]])
        what = f"Worst: {worst['group']}, {worst['nuisance']}, {worst['ratio']:.2f} times clean"
        lines.append(f"\n{worst['crops']} crops. {what}; the mean over nuisances is {mean:.2f}.")
    lines += [f"Left out, because the set has no {needs}: {name}." for name, needs in found.left_out.items()]
    return "\n".join(lines) + "\n"


def write_robustness(folder: str | os.PathLike, found: Robustness) -> None:
    """Write `nuisances.csv`, `nuisances.md` and `nuisances.png` into `folder`, each atomically."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "nuisances.csv", list(found.rows[0]), (row.values() for row in found.rows))
    write_text(folder / "nuisances.md", robustness_text(found))
    _save_picture(folder / "nuisances.png", found)


def _crops_seen(batch: dict[str, torch.Tensor], photographs: str | None) -> list[KnownCrop]:
    """Each crop with its mask, its background, and another crop of the set."""
    pictures = {key: batch[key].permute(0, 2, 3, 1).cpu().numpy() for key in batch if key.endswith("_crop")}
    crops, backgrounds, masks = (pictures.get(f"{kind}_crop") for kind in ("img", "bg", "mask"))
    count = len(crops)
    masks = masks / np.float32(255) if masks is not None else [None] * count
    backgrounds = backgrounds if backgrounds is not None else [None] * count
    behind = _photographs(photographs, crops.shape[1])
    seen = []
    for crop, background, mask in zip(crops, backgrounds, masks, strict=True):
        if mask is None and background is not None:
            mask = mask_of(crop, background)
        seen.append(KnownCrop(crop, mask, background, photographs=behind))
    # Half of the set away: another person, or at least another sequence.
    others = seen[count // 2 :] + seen[: count // 2]
    return [
        KnownCrop(own.crop, own.mask, own.background, other, behind) for own, other in zip(seen, others, strict=True)
    ]


def _photographs(folder: str | None, size: int) -> tuple[np.ndarray, ...]:
    """Squares (size,size,3) of photographs, none where none are installed."""
    if folder is None:
        try:
            files = free_photographs(HELD_OUT_PHOTOGRAPHS)
        except UserError:
            return ()
    else:
        files = photograph_files(folder)
    squares = random_squares(files, PHOTOGRAPHS, np.random.default_rng(0))
    pictures = (Image.fromarray(square.permute(1, 2, 0).numpy()) for square in squares)
    return tuple(np.asarray(picture.resize((size, size), Image.Resampling.BOX)) for picture in pictures)


def _changed(nuisance: Nuisance, crops: list[KnownCrop]) -> tuple[np.ndarray, torch.Tensor]:
    """Changed crops (N,R,R,3) uint8, and the angles (N,) by which their labels roll, radians."""

    def results() -> Iterator[tuple[np.ndarray, float]]:
        for index, seen in enumerate(crops):
            # A function of the crop alone: the same for all networks, and whatever other nuisances there are.
            yield apply(nuisance, seen, np.random.default_rng([index]))

    pictures, angles = zip(*results(), strict=True)
    return np.stack(pictures), torch.tensor(angles, dtype=torch.float32)


@torch.no_grad()
def _poses(network: EncodeDecode, hardware: Hardware, flip_test: bool, batch: torch.Tensor) -> torch.Tensor:
    """uint8 crops (B,3,R,R) -> poses (B,51), meters, on the CPU."""
    crops = normalize(hardware.move({"img_crop": batch})["img_crop"])
    with hardware.autocast():
        pose = estimate_poses(network, crops, flip_test, trust=False).pose
    return pose.float().cpu()


def _row(nuisance: Nuisance, poses: torch.Tensor, labels: torch.Tensor, before: list[Row]) -> Row:
    error = 1000 * float(n_mpjpe(poses, labels).mean())
    return {
        "group": nuisance.group,
        "nuisance": nuisance.name,
        "crops": len(poses),
        "n_mpjpe_mm": error,
        "ratio": error / before[0]["n_mpjpe_mm"] if before else 1.0,
        "pa_mpjpe_mm": 1000 * float(p_mpjpe(poses, labels).mean()),
    }


def _save_picture(path: Path, found: Robustness, columns: int = 8) -> None:
    """One example of each nuisance with its error and its ratio to clean."""
    lines = -(-len(found.rows) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.25 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in panels:
        axes.axis("off")
    for axes, row, example in zip(panels, found.rows, found.examples, strict=False):
        axes.imshow(example)
        worse = row["ratio"] > 1.3
        title = f"{row['nuisance']}\n{row['n_mpjpe_mm']:.0f} mm ({row['ratio']:.2f})"
        axes.set_title(title, fontsize=7.5, color="tab:red" if worse else "black")
    save_figure(figure, path, dpi=110)
