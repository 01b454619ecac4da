"""The size of a network, bounded while it is built: before its memory is touched."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from utils.errors import UserError
from utils.memory import total_memory

MAX_TENSORS = 100_000  # a loop that makes more would not end


@contextmanager
def bounded_size(most: int | None = None) -> Iterator[None]:
    """UserError for modules built in the body, once their parameters take more than `most` bytes, those that their
    weights can fill; None: all memory."""
    limit = f"{_size(total_memory())}, all memory" if most is None else f"{_size(most)}, as its weights may take"
    most, thread, count, size = most or total_memory(), threading.get_ident(), 0, 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count, size
        if parameter is None or threading.get_ident() != thread:
            return
        # The hook runs before the first value is written: until then, the system has not given out any memory.
        count, size = count + 1, size + parameter.nbytes
        if count > MAX_TENSORS or size > most:
            raise UserError(_too_large(f"more than {_size(size)}", limit))

    handle = register_module_parameter_registration_hook(add)
    try:
        yield
    # What even the allocator refuses.
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UserError(_too_large("too much memory", limit)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise UserError(_too_large("too much memory", limit)) from error
    finally:
        handle.remove()


def _too_large(needed: str, limit: str) -> str:
    return (
        f"the network of this config needs {needed}; expected at most {limit}: lower latent_3d, latent_fg, "
        "encoder_width, detector_width, width_to3Dpose or n_hidden_to3Dpose"
    )


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:.0f} MiB"
