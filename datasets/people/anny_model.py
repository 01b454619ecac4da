"""Loads the `anny` body model (Apache-2.0), and its rest pose for a given shape."""

import contextlib
import functools
import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from utils.commands import install_extra
from utils.errors import UserError
from utils.files import part_of, remove_dead_parts


@functools.cache
def anny_model():
    """anny's model, loaded once per process.

    The first load on a machine builds a cache (about a minute), and prints a line if that takes long.
    Raises UserError if anny is missing or its cache cannot be written.
    """
    try:
        import anny
        import anny.paths
    except ImportError as error:
        raise UserError(f"rendering people needs the package anny ({error}); {install_extra('render')}") from None
    cache = Path(anny.paths.get_anny_cache_path())
    line = f"anny builds its body model in {cache} (once, one to three minutes) ..."
    notice = threading.Timer(4, functools.partial(print, line, file=sys.stderr, flush=True))
    notice.daemon = True
    notice.start()
    try:
        with _atomic_cache_files(cache, anny.paths.set_anny_cache_path):
            return anny.Anny(skinning_method="lbs")
    finally:
        notice.cancel()


@contextlib.contextmanager
def _atomic_cache_files(cache: Path, set_cache_path):
    """Let anny write its cache files to a temporary folder, and move them to the cache atomically."""
    # anny writes them in place: an interrupted first load would leave a truncated file behind, and a second process
    # could read one that is half written. Existing files are linked, so that anny finds and reads them as usual.
    try:
        cache.mkdir(parents=True, exist_ok=True)
        remove_dead_parts(cache)
        # A name that tells the process: what a killed one leaves is removed by the next.
        scratch = tempfile.TemporaryDirectory(dir=cache, prefix=".", suffix=part_of(cache / "building").name)
    except OSError as error:
        with _readable_cache(cache, error):
            yield
        return
    with scratch:
        for file in cache.glob("v*/*.safetensors"):
            link = Path(scratch.name) / file.relative_to(cache)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(file.resolve())
        set_cache_path(scratch.name)
        try:
            yield
        finally:
            set_cache_path(cache)
        for file in Path(scratch.name).glob("v*/*.safetensors"):
            if not file.is_symlink():
                (cache / file.parent.name).mkdir(exist_ok=True)
                os.replace(file, cache / file.relative_to(scratch.name))


@contextlib.contextmanager
def _readable_cache(cache: Path, error: OSError):
    """Let anny read its cache in place, which nobody can write, as in the image of a container."""
    try:
        if not any(cache.glob("v*/*.safetensors")):
            raise error
        yield
    except Exception as lacking:  # safetensors has errors of its own for files that it cannot write
        raise UserError(f"cannot write anny's cache in {str(cache)!r} ({error}); set ANNY_CACHE_DIR") from lacking


def rest_shape(model, stature: float, **shape) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Vertices (V, 3) and bone heads (3,) by name in the rest pose, body frame axes, meters.

    stature: height of the body, meters. shape: anny's other shape parameters.
    """
    import torch

    # anny has no stature in meters: its `height` in 0..1 is found by interpolating the statures of eleven bodies.
    grid = torch.linspace(0, 1, 11, dtype=model.dtype)
    coefficients = model.get_phenotype_blendshape_coefficients(height=grid, **shape)
    statures = np.ptp(model.get_rest_vertices(coefficients)[..., 2].numpy(), axis=1)
    height = float(np.interp(stature, statures, grid.numpy()))
    rest = model.get_rest_model(model.get_phenotype_blendshape_coefficients(height=height, **shape))
    heads = rest["rest_bone_poses"][0, :, :3, 3].numpy()
    return _to_body_frame(rest["rest_vertices"][0].numpy()), dict(
        zip(model.bone_labels, _to_body_frame(heads), strict=True)
    )


def _to_body_frame(points: np.ndarray) -> np.ndarray:
    """Points (..., 3) from anny's axes to the body frame's."""
    # anny faces -y, and its left is at +x.
    return np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)
