"""Bumps: weights of a crop's pixels that fade to its border. A box gets a gradient from where it ends only if they do.

For crops of float32 torch computes them as they stand here. For crops of float64 they are the published ones, which
are of float32 all the same, and rounded alike on every machine: in training batch norm amplifies their rounding, until
single units of the encoder are switched on or off, and gradient norms move by 1e-3 (docs/differences.md).
"""

import itertools
from collections.abc import Callable

import torch

# kind -> the power p of u and v in q = |u|^p + |v|^p, and whether its root is taken; None: never cut off
BUMPS = {"GaussBSqSqr": (4, True), "GaussBsq": (4, False), "GaussB": (2, False), "Gauss": (2, None)}

# Where published values of "GaussBSqSqr" with 128 px are not the float32 nearest to the exact one, but the second
# nearest, next to the middle between the two: steps whose power is one, and pairs of steps, in any order, whose
# exponential is. Steps count from the nearer border.
_SIDE = 128
_POWERS = ((15,),)
_EXPONENTIALS = (
    *((5, 29), (5, 30), (5, 46), (6, 33), (6, 59), (7, 49), (8, 20), (12, 37)),
    *((15, 59), (17, 38), (20, 41), (21, 60), (28, 42), (34, 37), (53, 57), (57, 58)),
)


def bump(kind: str | bool, crops: torch.Tensor) -> torch.Tensor:
    """A weight (R,R) for crops (...,R,R): 1 in the middle, fading to the border, of a `kind` of BUMPS; True: ones."""
    side = crops.shape[-1]
    if kind is True:
        return crops.new_ones(side, side)
    if crops.dtype == torch.float64:
        return _bump(kind, torch.linspace(-1, 1, side), _rounded).to(crops)
    # It costs next to nothing, and is computed in the precision of the crops.
    steps = torch.linspace(-1, 1, side, dtype=crops.dtype, device=crops.device)
    return _bump(kind, steps, lambda function, values, otherwise: function(values))


def _bump(kind: str, steps: torch.Tensor, of: Callable[..., torch.Tensor]) -> torch.Tensor:
    """`kind` of `steps` (R,) -> (R,R); `of` applies a function to values, given the places it rounds otherwise at."""
    power, root = BUMPS[kind]
    published = kind == "GaussBSqSqr" and len(steps) == _SIDE
    powers = of(lambda x: x**power, steps, _POWERS if published else ())
    q = powers[None, :] + powers[:, None]
    if root is None:
        return of(torch.exp, -2 * q, ())
    q = of(torch.sqrt, q, ()) if root else q
    inside = q < 1
    exponents = 1 - 1 / (1 - torch.where(inside, q, 0.0))
    return torch.where(inside, of(torch.exp, exponents, _EXPONENTIALS if published else ()), 0.0)


def _rounded(
    function: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor, otherwise: tuple[tuple[int, ...], ...]
) -> torch.Tensor:
    """`function` of float32 `values` as the nearest float32, but at `otherwise`, and where these are mirrored."""
    exact = function(values.double())
    nearest = exact.float()
    second = torch.nextafter(nearest, torch.where(exact > nearest, torch.inf, -torch.inf).to(nearest))
    places = torch.zeros(values.shape, dtype=torch.bool)
    for place in otherwise:
        for order in itertools.permutations(place):
            places[order] = True
    for axis in range(places.dim()):
        places = places | places.flip(axis)
    return torch.where(places, second, nearest)
