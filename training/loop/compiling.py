"""`compile`: whether the forward and backward pass of training are compiled, and how."""

from collections.abc import Callable

import ignite.distributed as idist
import torch

from utils.errors import UserError


def compile_training(module: torch.nn.Module, config: dict, device: torch.device) -> Callable:
    """`module` compiled by torch.compile for one shape of batch, or as it is, as `compile` in `config` says.

    "auto": on CUDA, for one process, where compilers work. There the compiled kernels are replayed as CUDA graphs, and
    a call writes to the memory of the call before: until then gradients must be gone, and outputs that are kept copied.

    Raises UserError for "always" where it cannot be.
    """
    wanted = config["compile"]
    if wanted == "never" or (wanted == "auto" and not compiles_by_default(device)):
        return module
    reason = why_not_compiled(device)
    if reason is None:
        mode = "reduce-overhead" if device.type == "cuda" else None
        return _mark_steps(torch.compile(module, dynamic=False, mode=mode))
    if wanted == "always":
        raise UserError(f"compile is 'always', but nothing can be compiled here ({reason}); expected auto or never")
    print(f"not compiled, and slower for it: {reason}")
    return module


def compiles_by_default(device: torch.device) -> bool:
    """Whether "auto" means to compile: on a CPU it takes longer than it gains, and several processes are not tried."""
    return device.type == "cuda" and idist.get_world_size() == 1


def why_not_compiled(device: torch.device) -> str | None:
    """Why torch.compile does not work on `device`; None where it does. Whatever it needs, a trial finds out."""
    if idist.get_world_size() > 1:
        return "several processes"
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:
        return str(error).strip().splitlines()[0]
    return None


def _mark_steps(compiled: Callable) -> Callable:
    """`compiled`, each call of which begins a step: what CUDA graphs gave in the one before may be overwritten."""

    def call(*arguments):
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(*arguments)

    return call
