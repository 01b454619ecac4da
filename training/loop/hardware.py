"""One `device` and one `precision` setting for CPU, CUDA and MPS."""

from contextlib import AbstractContextManager

import torch

from utils.config import check_value
from utils.errors import UserError
from utils.memory import keep_freed_memory
from utils.transfer import to_device


def pick_device(name: str) -> torch.device:
    """ "auto", "cpu", "cuda", "cuda:1", "mps" -> a device of this machine; UserError where it has none of that name."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        # torch checks a device only when it is used.
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {name!r} is not available on this machine; expected auto, cpu, cuda or mps") from error
    return device


class Hardware:
    """The device of a network, and the precision of its products.

    `precision` "auto" is bfloat16 autocast where the hardware computes in it, float32 otherwise. Raises UserError for
    a device that this machine does not have.
    """

    def __init__(self, device: str = "auto", precision: str = "auto"):
        check_value("device", device)
        check_value("precision", precision)
        self.device = pick_device(device)
        automatic = precision == "auto" and computes_in_bfloat16(self.device)
        self.bfloat16 = precision == "bfloat16" or automatic
        # Returning the memory of each step to the system costs a training on CPUs a good part of its time.
        if self.device.type == "cpu":
            keep_freed_memory()

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Move a module to the device, with channels last where convolutions are fastest so."""
        module.to(self.device)
        # On a CPU in float32, too: it spares a copy before and after each, and depthwise ones are twice as fast.
        last = self.bfloat16 or self.device.type == "cpu"
        return module.to(memory_format=torch.channels_last) if last else module

    def move(self, batch: dict) -> dict:
        """Move the tensors of a batch to the device."""
        return {key: to_device(value, self.device) for key, value in batch.items()}

    def autocast(self) -> AbstractContextManager:
        """Context in which the network's large products run in the chosen precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    def __str__(self) -> str:
        return f"{self.device}, {'bfloat16' if self.bfloat16 else 'float32'}"


def computes_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return _supports("_is_avx512_bf16_supported") or has_tiles(device)
    return False


def has_tiles(device: torch.device) -> bool:
    """Whether `device` is a CPU that multiplies tiles of bfloat16 (AMX), many times as fast as float32."""
    return device.type == "cpu" and _supports("_is_amx_tile_supported")


def _supports(name: str) -> bool:
    # These names are private and absent in some releases of torch, where float32 is the safe answer.
    return getattr(torch.cpu, name, lambda: False)()
