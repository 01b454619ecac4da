"""The loop that both stages share: Ignite engine, logs, evaluation, checkpoints, exact resume."""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from tqdm import tqdm

from models.checkpoints import save_weights
from models.parts.weights import match_weights, require_tensors
from training.loop.curves import LOGS, save_curves
from training.loop.distributed import is_main, mean_over_processes, rank, sync_buffers, world_size
from training.loop.monitors import Monitor, open_monitors, require_monitors
from training.loop.muon import Muon
from training.loop.progress import ShownLosses, scores_text, to_floats
from training.loop.provenance import RunRecord, environment, read_record
from training.loop.run_folder import CsvLog, RunFolder, next_command
from training.loop.threads import compute_threads, resumed_threads
from utils.errors import UserError
from utils.interrupts import finishing
from utils.locks import writing
from utils.readers import reason

OPTIMIZERS = {"adam": torch.optim.AdamW, "muon": Muon}


@dataclass
class Stage:
    """What a stage of training brings to the loop.

    `step(batch, iteration)` trains on one batch and returns its losses (scalars, one named "loss");
    `evaluate()` returns numbers on held-out data, of which `score` is to be small;
    `batches(first, last)` gives the batches of those iterations; `plot(path)` draws held-out examples into a file.
    `parts`: of a batch that `step` computes side by side.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[dict, int], dict]
    evaluate: Callable[[], dict]
    batches: Callable[[int, int], Iterable]
    score: str
    plot: Callable[[str], None] | None = None
    parts: int = 1


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter],
    config: dict,
    slower: Collection[torch.nn.Parameter] = (),
    factor: float = 1.0,
) -> torch.optim.Optimizer:
    """The optimizer that `optimizer` in `config` names, over the parameters that train, with decoupled weight decay.

    Those among them that are in `slower` learn at `factor` times the learning rate.
    """
    kind = OPTIMIZERS[config["optimizer"]]
    trained, slower = [parameter for parameter in parameters if parameter.requires_grad], set(slower)
    groups = [
        {"params": [parameter for parameter in trained if parameter not in slower], "factor": 1.0},
        {"params": [parameter for parameter in trained if parameter in slower], "factor": factor},
    ]
    groups = [group for group in groups if group["params"]]
    device, rate = trained[0].device, config["learning_rate"]
    on_gpu, fused = device.type == "cuda", device.type in ("cpu", "cuda")
    optimizer = kind(groups, lr=rate, weight_decay=config["weight_decay"], fused=fused, capturable=on_gpu)
    if on_gpu:
        # A step that is captured in a CUDA graph reads the learning rate, and counts, on the GPU.
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), rate, device=device)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups, times the factor of each, in place where it is a tensor."""
    for group in optimizer.param_groups:
        own = rate * group.get("factor", 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Load what an optimizer of the same kind saved, on whatever device that was."""
    own = ("lr", "fused", "capturable", "factor")
    kept = [{key: group[key] for key in own if key in group} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state)
    # It compares the numbers of groups and parameters only, and looks up whatever else it expects.
    except Exception as error:
        raise UserError(f"the state of another optimizer ({reason(error)}); expected that of this training") from error
    for parameter, held in optimizer.state.items():
        if any(torch.is_tensor(value) and value.dim() and value.shape != parameter.shape for value in held.values()):
            raise UserError("the state of the optimizer of another network; expected that of this training")
    for group, values in zip(optimizer.param_groups, kept, strict=True):
        group.update(values)


def learning_rate(config: dict, iteration: int) -> float:
    """Learning rate of an iteration (counted from 1); a function of nothing else, so that it resumes.

    It changes over time by `learning_rate_schedule`.
    """
    highest, total = config["learning_rate"], config["num_training_iterations"]
    if config["learning_rate_schedule"] == "constant":
        return highest
    warm_up = max(1, total // 50)
    if iteration < warm_up:
        return highest * iteration / warm_up
    done, length = iteration - warm_up, max(1, total - warm_up)
    if config["learning_rate_schedule"] == "linear":
        return highest * (1 - done / length)
    return highest * 0.5 * (1 + math.cos(math.pi * done / length))


def seed_everything(seed: int, iteration: int = 0) -> torch.Generator:
    """Seed dropout and all else of an iteration, and return a generator for its permutations.

    Randomness is a function of (seed, iteration): a resumed run needs no stored random state. Of several processes
    each has its own dropout, and all have the same generator.
    """
    mixed = (seed * 1_000_003 + iteration) % 2**62
    # Ranks are so far apart that no iteration of one process has the seed of another's.
    seed = mixed + (rank() << 48)
    # torch.manual_seed would also queue the seed for kinds of devices that are not there, and note each time who asked:
    # half a millisecond.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    return torch.Generator().manual_seed(mixed + 1)


def fit(stage: Stage, config: dict, folder: RunFolder, resume: bool = False) -> dict:
    """Train to `num_training_iterations`, or until Ctrl-C or SIGTERM; return the last evaluation.

    The held-out score picks `network_best_val_t1.pth`. A run that is killed continues with
    `resume` from its last evaluation, one that is interrupted from where it was (of several
    processes, which do not stop together: from its last evaluation). Only the main process writes.
    """
    require_monitors(config)
    with writing(folder.path) if is_main() else nullcontext():
        return _fit(stage, config, folder, resume)


def _fit(stage: Stage, config: dict, folder: RunFolder, resume: bool) -> dict:
    state = folder.open(config, resume, write=is_main())
    loop = _Loop(stage, config, folder, state)
    if loop.threads_note and is_main():
        print(loop.threads_note)
    done = loop.iteration >= config["num_training_iterations"]
    loop.plot_missed()
    if done:
        loop.complete_record()
    else:
        loop.open_logs()
        with loop.record.session_status() if loop.record else nullcontext():
            _run(loop)
    if is_main():
        print(last_lines(config, folder, stage.score, loop.best, loop.best_iteration, trained=not done))
    return loop.evaluation


def last_lines(config: dict, folder: RunFolder, score: str, best: float, iteration: int | None, trained: bool) -> str:
    """What is printed at the end of a training: its best held-out score, of an iteration if known, and what comes next.

    `trained`: False where nothing was left to do.
    """
    where = "" if iteration is None else f" at iteration {iteration}"
    return (
        f"{f'trained: {folder.path}' if trained else f'{folder.path} is trained already'}\n"
        f"best held-out {scores_text({score: best}, score)}{where}\nnext: {next_command(folder, config)}"
    )


def _run(loop: "_Loop") -> None:
    first, total = loop.iteration, loop.config["num_training_iterations"]
    trainer = Engine(loop.process)
    # It would print an error that it raises anyway, twice, and with the traceback of a reader's process.
    trainer.logger.setLevel(logging.CRITICAL)
    _attach(trainer, loop, loop.config)
    # One epoch of all iterations. The epochs of the data are the batches' own matter.
    trainer.load_state_dict({"iteration": first, "epoch_length": total, "max_epochs": 1})
    # Several processes do not stop at the same iteration, and would wait for one another forever.
    alone = world_size() == 1
    try:
        with finishing(trainer.terminate) if alone else nullcontext([]) as interrupts:
            # Ignite forgets what stopped it before it began.
            trainer.add_event_handler(Events.STARTED, lambda: trainer.terminate() if interrupts else None)
            trainer.run(loop.stage.batches(first, total))
        if interrupts and trainer.state.output:
            # It may have broken since it was last looked at, and nothing would go on from such a state.
            loop.check_loss(trainer, to_floats(trainer.state.output)["loss"])
        if loop.broken is not None:
            raise UserError(loop.broken)
        if interrupts:
            loop.save_state()
            raise interrupts[0](f"interrupted at iteration {loop.iteration}; continue with --resume")
    finally:
        # After the state is stored: a tracker may wait for its server, and whoever stops a run does not wait long.
        for monitor in loop.monitors:
            monitor.close()


class _Loop:
    """The handlers of the loop and what they share."""

    def __init__(self, stage: Stage, config: dict, folder: RunFolder, state: dict | None):
        self.stage, self.config, self.folder = stage, config, folder
        self.iteration, self.best, self.best_iteration = 0, math.inf, None
        self.broken, self.evaluation = None, {}
        self.record = None
        self.monitors: list[Monitor] = []
        begun = folder.threads if state is not None else None
        self.threads, self.threads_note = resumed_threads(begun, config, stage.parts)
        if state is not None:
            self._restore(state)

    def _restore(self, state: dict) -> None:
        source, network = str(self.folder.state_file), self.stage.network
        try:
            network.load_state_dict(match_weights(network, require_tensors(state["network"], source), source))
            load_optimizer_state(self.stage.optimizer, state["optimizer"])
        except UserError as error:
            raise UserError(f"cannot resume from {source!r}: {error}; remove it to start again") from error
        self.iteration, self.best = state["iteration"], state["best"]
        # States of older runs do not have it, and have the entry "average", which nothing reads any more.
        self.best_iteration = state.get("best_iteration")

    def open_logs(self) -> None:
        """Open what the main process writes, and start the clock."""
        self.clock = (time.perf_counter(), self.iteration)
        if not is_main():
            return
        self.training_log = CsvLog(self.folder.path / LOGS["training"], self.iteration)
        self.testing_log = CsvLog(self.folder.path / LOGS["held-out"], self.iteration)
        self._open_record()
        self.monitors = open_monitors(self.config, self.folder.path, self.iteration)

    def complete_record(self) -> None:
        """Write the record and the curves of a run that was killed after its last state."""
        record = read_record(self.folder.record_file) if is_main() else None
        if record is not None and record.get("status") != "finished":
            self._open_record()
            with self.record.session_status():
                save_curves(self.folder.path)

    def _open_record(self) -> None:
        device = next(self.stage.network.parameters()).device
        about = environment(device) | {"threads": self.threads}
        self.record = RunRecord(self.folder.record_file, self.folder.identity, self.stage.score, about)
        self.record.update(self.iteration, self.best, self.best_iteration)

    def process(self, engine: Engine, batch: dict) -> dict:
        # From the iteration alone, without a scheduler, whose state a resumed run would need.
        set_learning_rate(self.stage.optimizer, learning_rate(self.config, engine.state.iteration))
        with compute_threads(self.threads):
            losses = self.stage.step(batch, engine.state.iteration)
        self.iteration = engine.state.iteration
        return losses

    def log(self, engine: Engine) -> None:
        losses = mean_over_processes(to_floats(engine.state.output))
        now, (then, before) = time.perf_counter(), self.clock
        self.clock = (now, self.iteration)
        rate = (self.iteration - before) / (now - then)
        row = {"iteration": self.iteration, **losses, "learning_rate": learning_rate(self.config, self.iteration)}
        if is_main():
            self.training_log.append({**row, "iterations_per_second": round(rate, 3)})
        for monitor in self.monitors:
            monitor.add("training", self.iteration, losses)
        self.check_loss(engine, losses["loss"])

    def test(self, engine: Engine) -> None:
        self.check_loss(engine, mean_over_processes({"loss": float(engine.state.output["loss"])})["loss"])
        if self.broken is not None:
            return
        # Evaluation reads running statistics, of which each process has its own.
        sync_buffers(self.stage.network)
        self.evaluation = self.stage.evaluate()
        if is_main():
            self.keep()
            self.save_state()
            for monitor in self.monitors:
                monitor.add("testing", self.iteration, self.evaluation)

    def keep(self) -> None:
        """Log the evaluation, and save the network, also as the best one where it is."""
        self.testing_log.append({"iteration": self.iteration, **self.evaluation})
        score = self.evaluation[self.stage.score]
        line = f"iteration {self.iteration}: held-out {scores_text(self.evaluation, self.stage.score)}"
        if score < self.best:
            self.best, self.best_iteration = score, self.iteration
            line += ", best"
            save_weights(self.folder.best_network, self.stage.network, self.config)
        save_weights(self.folder.last_network, self.stage.network, self.config)
        tqdm.write(line)

    def plot(self, iteration: int) -> None:
        if self.stage.plot and is_main():
            self.stage.plot(self.folder.example(iteration))

    def plot_missed(self) -> None:
        """Draw the examples of the iteration that is resumed, where a kill came between its checkpoint and them."""
        if (
            self.iteration
            and is_plotted(self.iteration, self.config)
            and not self.folder.example(self.iteration).exists()
        ):
            self.plot(self.iteration)

    def save_state(self) -> None:
        self.folder.save_state(
            {
                "network": self.stage.network.state_dict(),
                "optimizer": self.stage.optimizer.state_dict(),
                "iteration": self.iteration,
                "best": self.best,
                "best_iteration": self.best_iteration,
            }
        )
        self.record.update(self.iteration, self.best, self.best_iteration)

    def check_loss(self, engine: Engine, loss: float) -> None:
        """Stop, and say why in `broken`, where the loss is not finite."""
        if math.isfinite(loss):
            return
        kept = (
            f" (the last good network is {str(self.folder.last_network)!r})"
            if self.folder.last_network.exists()
            else ""
        )
        self.broken = (
            f"the loss became {loss} at iteration {self.iteration}; lower learning_rate or a weight of a loss{kept}"
        )
        engine.terminate()


def is_plotted(iteration: int, config: dict) -> bool:
    """Whether examples are drawn after this iteration: the 100th, every `plot_every`-th and the last."""
    return iteration % config["plot_every"] == 0 or iteration in (100, config["num_training_iterations"])


def _attach(trainer: Engine, loop: _Loop, config: dict) -> None:
    def at(chosen: Callable[[int], bool]):
        return Events.ITERATION_COMPLETED(event_filter=lambda _, iteration: chosen(iteration))

    every, total = config["test_every"], config["num_training_iterations"]

    bar = ProgressBar(persist=True, desc="training", bar_format=None, mininterval=1.0)
    shown = Events.ITERATION_COMPLETED(every=min(10, config["print_every"]))
    if is_main():
        bar.attach(trainer, output_transform=ShownLosses(), event_name=shown)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=config["print_every"]), loop.log)
    trainer.add_event_handler(at(lambda iteration: iteration % every == 0 or iteration == total), loop.test)
    if loop.iteration == 0:
        trainer.add_event_handler(Events.STARTED, lambda: loop.plot(0))
    trainer.add_event_handler(at(lambda iteration: is_plotted(iteration, config)), lambda: loop.plot(loop.iteration))
