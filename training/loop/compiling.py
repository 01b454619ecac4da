"""The config key `compile`: whether and how the forward and backward pass of training are compiled."""

from collections.abc import Callable

import torch

from training.loop.distributed import world_size
from utils.errors import UserError

# Iterations from which "auto" compiles. Measured on an H100: compiling takes 23 (demo) to 49 s (published), and saves
# 0.6 to 3.1 ms in each step. The time of the host, of which it saves more, a CUDA graph saves anyway.
COMPILED_ITERATIONS = 30_000


def compile_training(module: torch.nn.Module, config: dict, device: torch.device) -> Callable:
    """`module` compiled by torch.compile for one shape of batch, or as it is, by `compile` in `config`.

    "auto": on CUDA, for one process, where compilers work and the iterations pay for it. Raises UserError for "always"
    where nothing can be compiled.
    """
    wanted = config["compile"]
    # By default not on CPUs, where compiling takes longer than it gains, and not with several processes: untested.
    if wanted == "never" or (wanted == "auto" and not compiles_by_default(config, device)):
        return module
    reason = why_not_compiled(device)
    if reason is None:
        # Without CUDA graphs of its own, because the whole step is one (training/loop/graphs.py).
        return torch.compile(module, dynamic=False)
    if wanted == "always":
        raise UserError(f"compile is 'always', but nothing can be compiled here ({reason}); expected auto or never")
    print(f"not compiled, which is slower: {reason}")
    return module


def compiles_by_default(config: dict, device: torch.device) -> bool:
    """Whether "auto" compiles: on CUDA, for one process, in runs that are long enough."""
    long_enough = config["num_training_iterations"] >= COMPILED_ITERATIONS
    return device.type == "cuda" and world_size() == 1 and long_enough


def why_not_compiled(device: torch.device) -> str | None:
    """Why torch.compile does not work on `device`, in one line; None where it does."""
    if world_size() > 1:
        return "several processes"
    # It needs a C++ compiler or Triton, Python's headers, and more by platform and release: only a trial tells.
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:
        return str(error).strip().splitlines()[0]
    return None
