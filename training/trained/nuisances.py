"""Nuisances of fixed strengths: what real cameras, detectors and rooms do to a crop, one at a time.

They are not those of training: they are made of uint8 crops by NumPy and Pillow, and one picture at a time.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

NEEDS_MASK, NEEDS_BACKGROUND, NEEDS_PHOTOGRAPHS = "masks or backgrounds", "backgrounds", "photographs"


@dataclass(frozen=True)
class KnownCrop:
    """A crop and what is known of it: colors (R,R,3) uint8; `mask` (R,R,1), the share of the person, 0..1.

    `other` is another crop of the set. What a set does not have is None.
    """

    crop: np.ndarray
    mask: np.ndarray | None = None
    background: np.ndarray | None = None
    other: "KnownCrop | None" = None
    photographs: tuple[np.ndarray, ...] = ()

    def has(self, need: str) -> bool:
        """Whether the crop has what a nuisance `needs`."""
        known = {
            NEEDS_MASK: self.mask is not None,
            NEEDS_BACKGROUND: self.mask is not None and self.background is not None,
            NEEDS_PHOTOGRAPHS: self.mask is not None and len(self.photographs) > 0,
        }
        return known.get(need, True)


Change = Callable[[KnownCrop, np.random.Generator], np.ndarray]  # -> colors (R,R,3), rounded and clipped afterwards


@dataclass(frozen=True)
class Nuisance:
    """One nuisance. `roll`: degrees by which crop and label rotate about the viewing axis, either way at random."""

    group: str
    name: str
    change: Change
    needs: str = ""
    roll: float = 0.0


def apply(nuisance: Nuisance, seen: KnownCrop, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The changed crop (R,R,3) uint8, and the angle by which it was rolled: X_cam becomes R_z(angle) X_cam."""
    if nuisance.roll:
        angle = math.radians(nuisance.roll) * rng.choice([-1, 1])
        return _resampled(seen.crop, 1.0, angle, 0.0, 0.0), angle
    return np.clip(np.rint(nuisance.change(seen, rng)), 0, 255).astype(np.uint8), 0.0


def mask_of(crop: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Where a crop (R,R,3) uint8 differs from its background, small holes closed: (R,R,1), 0 or 1."""
    differs = np.abs(crop.astype(int) - background).max(2) > 12
    picture = Image.fromarray(differs.astype(np.uint8))
    closed = picture.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.MinFilter(3))
    return np.asarray(closed, np.float32)[..., None]


def _resampled(crop: np.ndarray, scale: float, angle: float, right: float, down: float) -> np.ndarray:
    """`crop` about its center `scale` times as large and rotated by `angle`, then moved by shares of its side.

    What was not seen repeats the border.
    """
    size = len(crop)
    wide = np.pad(crop, ((size, size), (size, size), (0, 0)), mode="edge")
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # Pillow wants where each pixel comes from, in coordinates in which a pixel's center is at 0.5.
    middle = size / 2
    from_x, from_y = -middle - right * size, -middle - down * size
    x0 = cos * from_x + sin * from_y + middle + size
    y0 = -sin * from_x + cos * from_y + middle + size
    matrix = (cos, sin, x0, -sin, cos, y0)
    picture = Image.fromarray(wide).transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _shifted(share: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    right, down = share * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])[rng.integers(4)]
    return _resampled(seen.crop, 1.0, 0.0, right, down)


def _scaled(factor: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return _resampled(seen.crop, factor, 0.0, 0.0, 0.0)


def _end_of_frame(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    changed = seen.crop.copy()
    # A view: it blackens one of the four sides.
    np.rot90(changed, rng.integers(4))[: len(changed) // 5] = 0
    return changed


def _before(background: np.ndarray, seen: KnownCrop) -> np.ndarray:
    return seen.mask * seen.crop + (1 - seen.mask) * background


def _on_gray(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return _before(np.full_like(seen.crop, 128), seen)


def _on_noise(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return _before(rng.integers(0, 256, seen.crop.shape), seen)


def _on_stripes(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    place = np.arange(len(seen.crop)) * 64 // len(seen.crop)
    stripes = np.where(place // 4 % 2, 220, 40)[None, :, None]
    return _before(np.broadcast_to(stripes, seen.crop.shape), seen)


def _on_other_background(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return _before(seen.other.background, seen)


def _on_photograph(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return _before(seen.photographs[rng.integers(len(seen.photographs))], seen)


def _with_someone_behind(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    side, other = rng.choice([-0.3, 0.3]), seen.other
    mask = np.repeat(np.rint(255 * other.mask).astype(np.uint8), 3, axis=2)
    # Beyond the border of the other crop nobody stands.
    mask[:, [0, -1]] = mask[[0, -1]] = 0
    person, mask = (_resampled(picture, 0.8, 0.0, side, -0.05) for picture in (other.crop, mask))
    return _before(mask / 255 * person + (1 - mask / 255) * seen.crop, seen)


def _mapped(matrix: np.ndarray, shift: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return seen.crop @ np.asarray(matrix, float).T + shift


def _curved(gamma: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return 255 * (seen.crop / 255) ** gamma


def _half_in_shadow(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    changed = seen.crop.astype(float)
    changed[:, : len(changed) // 2] *= 0.4
    return changed


def _person_mapped(matrix: np.ndarray, shift: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return seen.mask * _mapped(matrix, shift, seen, rng) + (1 - seen.mask) * seen.crop


def _blurred(deviation: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    blurred = Image.fromarray(seen.crop).filter(ImageFilter.GaussianBlur(deviation * len(seen.crop) / 64))
    return np.asarray(blurred)


def _moved_while_exposed(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    steps = np.linspace(-0.04, 0.04, 5)
    return np.mean([_resampled(seen.crop, 1.0, 0.0, step, 0.0).astype(float) for step in steps], axis=0)


def _noisy(deviation: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    return seen.crop + rng.normal(0, deviation, seen.crop.shape)


def _salted(seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.random(seen.crop.shape[:2])[..., None]
    return np.where(drawn < 0.02, 0, np.where(drawn > 0.98, 255, seen.crop))


def _jpeg(quality: int, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(seen.crop).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _enlarged_from(share: float, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    size = len(seen.crop)
    small = Image.fromarray(seen.crop).resize((max(1, round(size * share)),) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def _patched(side: float, count: int, seen: KnownCrop, rng: np.random.Generator) -> np.ndarray:
    changed, size = seen.crop.copy(), len(seen.crop)
    length = round(side * size)
    for _ in range(count):
        # Near the middle, where the person is.
        x, y = (rng.uniform(0.2, 0.8, 2) * size - length / 2).round().astype(int).clip(0, size - length)
        changed[y : y + length, x : x + length] = rng.integers(0, 256, 3)
    return changed


_GRAY = np.tile([0.299, 0.587, 0.114], (3, 1))
_NEGATED = -np.eye(3)

NUISANCES = (
    Nuisance("box", "shifted by 4 of 64 px", partial(_shifted, 1 / 16)),
    Nuisance("box", "shifted by 8 of 64 px", partial(_shifted, 1 / 8)),
    *(Nuisance("box", f"person {s} times as large", partial(_scaled, s)) for s in (0.8, 0.9, 1.1, 1.25)),
    Nuisance("box", "a fifth beyond the frame, black", _end_of_frame),
    *(Nuisance("camera", f"rolled by {a} degrees", lambda *_: None, roll=a) for a in (10, 20, 30)),
    Nuisance("background", "another crop's", _on_other_background, NEEDS_BACKGROUND),
    Nuisance("background", "photographs", _on_photograph, NEEDS_PHOTOGRAPHS),
    Nuisance("background", "gray", _on_gray, NEEDS_MASK),
    Nuisance("background", "stripes", _on_stripes, NEEDS_MASK),
    Nuisance("background", "noise", _on_noise, NEEDS_MASK),
    Nuisance("background", "somebody else behind", _with_someone_behind, NEEDS_MASK),
    Nuisance("colors", "gray picture", partial(_mapped, _GRAY, 0)),
    Nuisance("colors", "red and blue swapped", partial(_mapped, np.eye(3)[::-1], 0)),
    Nuisance("colors", "channels permuted", partial(_mapped, np.roll(np.eye(3), 1, axis=0), 0)),
    Nuisance("colors", "warm light", partial(_mapped, np.diag([1.25, 1.0, 0.7]), 0)),
    Nuisance("colors", "1.5 times as bright", partial(_mapped, 1.5 * np.eye(3), 0)),
    Nuisance("colors", "half as bright", partial(_mapped, 0.5 * np.eye(3), 0)),
    Nuisance("colors", "half the contrast", partial(_mapped, 0.5 * np.eye(3), 64)),
    Nuisance("colors", "gamma 2", partial(_curved, 2.0)),
    Nuisance("colors", "gamma 0.5", partial(_curved, 0.5)),
    Nuisance("colors", "one half in shadow", _half_in_shadow),
    Nuisance("colors", "person negated", partial(_person_mapped, _NEGATED, 255), NEEDS_MASK),
    Nuisance("colors", "person gray", partial(_person_mapped, _GRAY, 0), NEEDS_MASK),
    Nuisance("colors", "all negated", partial(_mapped, _NEGATED, 255)),
    Nuisance("quality", "blur, 1 of 64 px", partial(_blurred, 1.0)),
    Nuisance("quality", "blur, 2 of 64 px", partial(_blurred, 2.0)),
    Nuisance("quality", "motion blur, 5 of 64 px", _moved_while_exposed),
    Nuisance("quality", "enlarged from half the size", partial(_enlarged_from, 0.5)),
    Nuisance("quality", "noise, deviation 10", partial(_noisy, 10)),
    Nuisance("quality", "noise, deviation 25", partial(_noisy, 25)),
    Nuisance("quality", "4 % of pixels black or white", _salted),
    Nuisance("quality", "JPEG, quality 20", partial(_jpeg, 20)),
    Nuisance("hidden", "one patch, a quarter of the side", partial(_patched, 0.25, 1)),
    Nuisance("hidden", "three patches, a fifth of the side", partial(_patched, 0.2, 3)),
)
