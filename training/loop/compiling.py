"""The config key `compile`: whether and how the forward and backward pass of training are compiled."""

from collections.abc import Callable

import ignite.distributed as idist
import torch

from utils.errors import UserError


def compile_training(module: torch.nn.Module, config: dict, device: torch.device) -> Callable:
    """`module` compiled by torch.compile for one shape of batch, or as it is, by `compile` in `config`.

    "auto": on CUDA, for one process, where compilers work. There, compiled kernels are replayed as CUDA graphs, and
    each call overwrites the results of the call before: before it, drop gradients and copy outputs that you keep.
    Raises UserError for "always" where nothing can be compiled.
    """
    wanted = config["compile"]
    # By default not on CPUs, where compiling takes longer than it gains, and not with several processes: untested.
    if wanted == "never" or (wanted == "auto" and not compiles_by_default(device)):
        return module
    reason = why_not_compiled(device)
    if reason is None:
        mode = "reduce-overhead" if device.type == "cuda" else None
        return _mark_steps(torch.compile(module, dynamic=False, mode=mode))
    if wanted == "always":
        raise UserError(f"compile is 'always', but nothing can be compiled here ({reason}); expected auto or never")
    print(f"not compiled, which is slower: {reason}")
    return module


def compiles_by_default(device: torch.device) -> bool:
    """Whether "auto" compiles on `device`: on CUDA, for one process."""
    return device.type == "cuda" and idist.get_world_size() == 1


def why_not_compiled(device: torch.device) -> str | None:
    """Why torch.compile does not work on `device`, in one line; None where it does."""
    if idist.get_world_size() > 1:
        return "several processes"
    # It needs a C++ compiler or Triton, Python's headers, and more by platform and release: only a trial tells.
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:
        return str(error).strip().splitlines()[0]
    return None


def _mark_steps(compiled: Callable) -> Callable:
    """`compiled`, with each call marked as a new step, in which CUDA graphs may overwrite results of the last one."""

    def call(*arguments):
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(*arguments)

    return call
