"""Deterministic weights, frames and labels behind the reference outputs in tests/data/reference/scene.

Built on tests/deterministic.py: a tensor is drawn from a generator seeded by the CRC-32 of its key. Three tensors are
changed so that boxes lie inside the frame, differ, and overlap, and so that crops have different latents.
"""

import json
import math

import numpy as np
import torch

from tests import deterministic

REFERENCE = deterministic.REFERENCE / "scene"
# scale x, scale y, position x, position y, depth of box 0, 1, 2
DETECTOR_BIAS = (-2.2, -1.3, 3.0, -3.0, -0.5, 1.4, 3.3, -2.8, 1.4, -0.5, 0.4, 1.4, -0.8, 1.6, -1.6)


def fill(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor stored under the published `key`, of `shape`."""
    if key == "detector.fc.bias":
        return torch.tensor(DETECTOR_BIAS[: shape[0]], dtype=torch.float32)
    values = deterministic.fill(key, shape)
    if key == "detector.fc.weight":
        values = values / 12
    if key == "encoder.l4_reg_toVec.4.weight":
        values = values * 2
    return values


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Published key -> shape of the network `name`: "nvs" or "pose"."""
    listing = json.loads((REFERENCE / f"{name}_state_dict.json").read_text())
    return {key: tuple(shape) for key, shape in listing.items()}


def state_dict(name: str) -> dict[str, torch.Tensor]:
    """Return the deterministic state dict of "nvs" or "pose"; parameters that nothing uses are zeros without memory."""
    unused = ("to_3d", "to_fg", "from_latent") if name == "pose" else ("to_3d", "to_fg")
    return {
        key: torch.zeros(()).expand(shape) if key.startswith(unused) else fill(key, shape)
        for key, shape in published_shapes(name).items()
    }


def _frames(rng: np.random.Generator, batch: int, height: int, width: int) -> torch.Tensor:
    """Sums of 12 plane waves with up to 8 cycles per frame, variance 1: the same content at any resolution."""
    waves, cycles, size = 12, 8.0, (batch, 3, 12)
    amplitude = rng.standard_normal(size)
    cycles_x, cycles_y = rng.uniform(-cycles, cycles, size), rng.uniform(-cycles, cycles, size)
    phase = rng.uniform(0, 2 * np.pi, size)
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    frames = np.empty((batch, 3, height, width), dtype=np.float32)
    for index in np.ndindex(batch, 3):
        a, u, v, p = (values[index][:, None, None] for values in (amplitude, cycles_x, cycles_y, phase))
        waves_xy = a * np.cos(2 * np.pi * (u * x[None, None, :] + v * y[None, :, None]) + p)
        frames[index] = (waves_xy.sum(0) / math.sqrt(waves / 2)).astype(np.float32)
    return torch.from_numpy(frames)


def inputs(seed: int, batch: int, height: int = 128, width: int = 228) -> dict[str, torch.Tensor]:
    """Return the input dict for `seed`: normalized frames (B,3,H,W) and rotations camera -> world (B,3,3)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    world_to_cam = np.stack([deterministic._rotation(rng) for _ in range(batch)])
    img = _frames(rng, batch, height, width)
    bg = _frames(rng, batch, height, width)
    cam_to_world = torch.from_numpy(np.ascontiguousarray(world_to_cam.transpose(0, 2, 1)))
    return {"img": img, "bg": bg, "R_cam_2_world": cam_to_world}


def pose_labels(seed: int, batch: int, boxes: int = 2) -> dict[str, torch.Tensor]:
    """Return labels (B,boxes,17,3): poses, their mean and their standard deviation, of the order of meters."""
    rng = np.random.Generator(np.random.PCG64(seed))
    mean = 0.3 * rng.standard_normal((17, 3))
    std = 0.1 + 0.2 * rng.random((17, 3))
    mean[0], std[0] = 0, 1
    pose = mean + std * rng.standard_normal((batch, boxes, 17, 3))
    pose[:, :, 0] = 0
    shape = (batch, boxes, 17, 3)
    values = {"3D": pose, "pose_mean": np.broadcast_to(mean, shape), "pose_std": np.broadcast_to(std, shape)}
    return {key: torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)) for key, value in values.items()}
