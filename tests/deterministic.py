"""Deterministic weights and inputs behind the reference outputs in tests/data/reference.

A state dict is filled key by key, each tensor from a generator seeded by the
CRC-32 of its key, so no checkpoint has to be stored: the key list with shapes
(`published_state_dict.json`) plus `fill` *is* the checkpoint.
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch

REFERENCE = pathlib.Path(__file__).parent / "data" / "reference"


def fill(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor stored under `key`, of `shape` (float32; int64 for BN counters)."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    count = int(np.prod(shape)) if shape else 1
    values = rng.standard_normal(count, dtype=np.float32)
    if key.endswith("running_var"):
        values = 1 + 0.2 * np.abs(values)
    elif key.endswith("running_mean"):
        values = 0.1 * values
    elif len(shape) == 1 and key.endswith("weight"):
        values = 1 + 0.1 * values
    elif len(shape) == 1:
        values = 0.05 * values
    else:
        values = values * math.sqrt(2.0 / int(np.prod(shape[1:])))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def state_dict(name: str = "published", prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the deterministic state dict listed in `<name>_state_dict.json`.

    `prefix` is prepended to the key only to seed the generator (the perceptual
    network was filled with prefix "perceptual.").
    """
    listing = json.loads((REFERENCE / f"{name}_state_dict.json").read_text())
    return {key: fill(prefix + key, tuple(shape)) for key, shape in listing.items()}


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q = rng.standard_normal(4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=np.float32,
    )


def inputs(seed: int, batch: int, resolution: int = 128) -> dict[str, torch.Tensor]:
    """Return the input dict for `seed`: normalized crops (B,3,R,R) and rotations (B,3,3)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    world_to_cam = np.stack([_rotation(rng) for _ in range(batch)])
    size = (batch, 3, resolution, resolution)
    return {
        "img_crop": torch.from_numpy(rng.standard_normal(size, dtype=np.float32)),
        "bg_crop": torch.from_numpy(rng.standard_normal(size, dtype=np.float32)),
        "extrinsic_rot": torch.from_numpy(world_to_cam),
        "extrinsic_rot_inv": torch.from_numpy(np.ascontiguousarray(world_to_cam.transpose(0, 2, 1))),
    }
