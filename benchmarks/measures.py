"""The measures. Each takes the setups by way ("fast", "plain") and returns a number per way."""

import contextlib
import io
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain
from benchmarks.setups import Setup, Size
from benchmarks.timing import Way, median_rates
from datasets.sampler import GroupedBatchSampler
from models.parts.folding import fold_batch_norm
from training.loop.engine import make_optimizer
from training.loop.loaders import grouped_sampler, make_loader
from training.loop.threads import compute_threads, map_batches, training_threads
from training.stages.labels import CachedLatents, ShuffledBatches
from training.stages.losses import ImageLoss
from training.stages.novel_views import NovelViewStep, ask_for_masks
from training.stages.pose import PoseStep
from training.trained.evaluation import evaluate
from training.trained.viewing import RotatedView
from utils.images import normalize
from utils.memory import keep_freed_memory
from utils.paths import ROOT
from utils.viewer import Viewer

Setups = dict[str, Setup]


def load(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second that training reads, each with its background."""

    def read(setup: Setup) -> None:
        for _ in make_loader(setup.train, _batches(setup), setup.config):
            pass

    count = sum(len(batch) for batch in _batches(next(iter(setups.values()))))
    return _rates({way: Way(lambda s=setup: read(s), count) for way, setup in setups.items()}, size)


def train(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second of training steps of stage 1."""
    return _rates({way: training_way(way, setup) for way, setup in setups.items()}, size)


def training_way(way: str, setup: Setup) -> Way:
    """Training steps of stage 1 on one batch, of a copy of the network."""
    setup = setup._replace(network=deepcopy(setup.network))
    batch = first_batch(setup)
    step, iterations = training_step(way, setup), itertools.count(1)
    # On a GPU the first steps compile, and record CUDA graphs.
    warm_up = 5 if setup.hardware.device.type == "cuda" else 1
    return Way(lambda: step(batch, next(iterations)), len(batch["img_crop"]), warm_up)


def training_step(way: str, setup: Setup) -> Callable[[dict, int], object]:
    """Return `step(batch, iteration)`, a training step of stage 1. Both ways draw the same permutations."""
    setup.network.output_types = ("img_crop",)
    ask_for_masks(setup.network, setup.config)
    if way == "plain":
        return plain.PlainTraining(setup)
    # From here on as training/stages/novel_views.py puts a step together.
    criterion = setup.hardware.place(ImageLoss(setup.config))
    optimizer = make_optimizer(setup.network.stage1_parameters(), setup.config)
    step = NovelViewStep(setup.network, criterion, optimizer, setup.hardware, setup.config)
    threads = training_threads(setup.config, step.parts)

    def with_threads(batch: dict, iteration: int) -> object:
        with compute_threads(threads):
            return step(batch, iteration)

    return with_threads


def cache(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second that a frozen encoder encodes for stage 2."""
    # Mirrored crops are encoded as well where they are used for training. The plain way has none.
    rows, once = np.arange(size.cached), {"augment_mirror": False}
    ways = {
        "fast": lambda s: CachedLatents(s.network, s.train, rows, s.hardware, {**s.config, **once}),
        "plain": lambda s: plain.encode(s, rows),
    }
    return _rates({way: Way(_quietly(ways[way], setup), len(rows)) for way, setup in setups.items()}, size)


def pose_train(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second of training steps of stage 2, with the encoder frozen."""
    ways = {}
    for way, setup in setups.items():
        batch_size = setup.pose_config["batch_size_train"]
        rows = ShuffledBatches(np.arange(size.cached), batch_size, 0, 0, 1_000_000)
        make = _plain_pose_steps if way == "plain" else _pose_steps
        steps = make(setup, size, rows)
        ways[way] = Way(lambda steps=steps: next(steps), rows.batch_size)
    return _rates(ways, size)


def _pose_steps(setup: Setup, size: Size, batches: ShuffledBatches) -> Iterator[object]:
    with contextlib.redirect_stderr(io.StringIO()):
        latents = CachedLatents(setup.network, setup.train, np.arange(size.cached), setup.hardware, setup.pose_config)
    optimizer = make_optimizer(setup.network.stage2_parameters(), setup.pose_config)
    step = PoseStep(setup.network, optimizer, setup.hardware, setup.pose_config)
    threads = training_threads(setup.pose_config)
    for iteration, batch in enumerate(latents.read(batches)):
        with compute_threads(threads):
            losses = step(batch, iteration)
        yield losses


def _plain_pose_steps(setup: Setup, size: Size, batches: ShuffledBatches) -> Iterator[object]:
    step = plain.PlainPoseTraining(setup)
    for rows in batches:
        yield step(rows)


def test(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second of the evaluation of poses and novel views, with all metrics."""
    ways = {"fast": lambda s: evaluate(s.network, s.test, s.pose_config, s.hardware), "plain": plain.test}
    return _rates({way: Way(_quietly(ways[way], setup), len(setup.test)) for way, setup in setups.items()}, size)


def pose_only(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second from uint8 crops in memory to 3D poses in meters."""
    ways = {}
    for way, setup in setups.items():
        crops = setup.train.__getitems__(np.arange(min(size.cached, len(setup.train))))["img_crop"].cpu()
        call = plain.poses if way == "plain" else _folded_poses(setup)
        ways[way] = Way(lambda call=call, s=setup, crops=crops: call(s, crops), len(crops))
    return _rates(ways, size)


def _folded_poses(setup: Setup) -> Callable[[Setup, torch.Tensor], torch.Tensor]:
    network = fold_batch_norm(setup.network)

    @torch.no_grad()
    def poses(batch: torch.Tensor) -> torch.Tensor:
        with setup.hardware.autocast():
            points = network.encode(normalize(batch.to(setup.hardware.device)))[1]
            return network.denormalize_pose(network.pose(points)).cpu()

    def all_poses(setup: Setup, crops: torch.Tensor) -> torch.Tensor:
        batches = crops.split(setup.config["batch_size_test"])
        return torch.cat(list(map_batches(poses, batches, setup.hardware.device)))

    return all_poses


def index_seconds(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Seconds until the first batch of an epoch over `index_rows` rows."""
    config = next(iter(setups.values())).config
    cams, few = config["useCamBatches"], size.index_rows // 10
    rows = np.arange(size.index_rows)
    labels = {"subj": rows // 4000 % 5, "seq": rows // 4000, "frame": rows // 4, "cam": rows % 4}
    # The plain way loops over rows, so that a tenth of them takes a tenth of the time.
    some = {name: values[:few] for name, values in labels.items()}
    ways = {
        "fast": Way(lambda: next(iter(GroupedBatchSampler(labels, config["batch_size_train"], cams))), len(rows)),
        "plain": Way(lambda: plain.index(some, cams), few),
    }
    rates = median_rates({way: ways[way] for way in setups}, 0, 0)
    return {way: len(rows) / rate for way, rate in rates.items()}


def train_peak_mib(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Peak memory, MiB, of a process that takes two training steps of stage 1; on a GPU that of the GPU."""
    peaks = {}
    for way, setup in setups.items():
        command = [sys.executable, "-m", "benchmarks.peak", way, str(setup.train.root)]
        given = repr({**setup.config, "preload_images": False})
        result = subprocess.run(command, input=given, capture_output=True, text=True, cwd=ROOT)
        if result.returncode:
            raise RuntimeError(f"measuring the memory of {way} training failed:\n{result.stderr}")
        peaks[way] = float(result.stdout.split()[-1])
    return peaks


def render(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Crops per second that are rendered and written, without start-up, by all cores (fast) or one process (plain)."""
    # Imported here, because rendering needs packages of the extra "render".
    from benchmarks.rendering import render_rate

    side = next(iter(setups.values())).config["inputDimension"]
    made = folder / f"rendered_{time.monotonic_ns()}"
    return {way: render_rate(made / way, side, size.rendered, 1 if way == "plain" else None) for way in setups}


def view(setups: Setups, size: Size, folder: Path) -> dict[str, float]:
    """Pictures per second while the viewer's slider moves, without a window. The plain way draws the whole figure."""

    def turn(way: str, viewer: Viewer, degrees: float) -> None:
        if way == "fast":
            viewer.controls.slider.set_val(degrees)
        else:
            viewer.yaw = np.deg2rad(degrees)
            viewer.update()

    ways = {}
    for way, setup in setups.items():
        figure = Figure(figsize=Viewer.size)
        FigureCanvasAgg(figure)
        viewer = Viewer(figure, RotatedView(setup.network, setup.test, setup.hardware), len(setup.test))
        yaws = itertools.cycle(range(5, 360, 5))
        ways[way] = Way(lambda way=way, viewer=viewer, yaws=yaws: turn(way, viewer, next(yaws)))
    return _rates(ways, size)


def first_batch(setup: Setup) -> dict[str, torch.Tensor]:
    """One batch of training crops."""
    return setup.train.__getitems__(_batches(setup)[0])


def training_flop(setup: Setup) -> float:
    """Floating-point operations of convolutions and matrix products per crop, of a plain training step of stage 1."""
    return _count_flop(training_way("plain", setup))


def pose_flop(setup: Setup) -> float:
    """Floating-point operations per crop of the plain way from a crop to its pose."""
    crops = first_batch(setup)["img_crop"]
    return _count_flop(Way(lambda: plain.poses(setup, crops), len(crops)))


def _count_flop(way: Way) -> float:
    with FlopCounterMode(display=False) as counter:
        way.call()
    return counter.get_total_flops() / way.count


def _batches(setup: Setup) -> list[np.ndarray]:
    rows = np.arange(len(setup.train))
    return list(grouped_sampler(setup.train.labels, rows, setup.config, shuffle=True))[:8]


def _rates(ways: dict[str, Way], size: Size) -> dict[str, float]:
    return median_rates(ways, size.seconds, size.shortest, begin=configure_allocator)


def configure_allocator(way: str) -> None:
    """Keep freed memory, or for the plain way return it to the system, as the C library does by default."""
    keep_freed_memory(way != "plain")


def _quietly(call: Callable[[Setup], object], setup: Setup) -> Callable[[], None]:
    def quiet() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call(setup)

    return quiet
