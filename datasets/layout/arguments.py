"""Checks of arguments that all scripts that write a layout share."""

from collections.abc import Iterable, Mapping

from utils.errors import UserError

MAX_NUMBER = 1 << 31  # of frames, sequences and seeds
# Rendered people of the test split have the numbers from a million on, those of the training split from a thousand on.
MOST = {"workers": 1024, "crops": 10**8, "people": 900_000}
BOX_RANGE = (0.1, 100.0)  # meters: no person is narrower, and no crop that is wider shows one


def check_at_least(least: int, **numbers: int | None) -> None:
    """Raises UserError for the first of `numbers` that is below `least`, or so large that no set needs it.

    None stands for a default and passes.
    """
    for name, value in numbers.items():
        most = MOST.get(name, MAX_NUMBER)
        if value is not None and not least <= value <= most:
            raise UserError(f"{name} is {value}; expected at least {least}, at most {most}")


def check_box(box_metres: float) -> None:
    """Raises UserError for a width of crops that shows no person, and for NaN."""
    least, most = BOX_RANGE
    if not least <= box_metres <= most:
        raise UserError(f"box_metres is {box_metres:g}; expected {least:g} to {most:g} meters")


def check_split(split: str, splits: Iterable[str]) -> None:
    """Raises UserError unless the data set has this split."""
    if split not in splits:
        raise UserError(f"split {split!r}; expected one of {', '.join(splits)}")


def choose_subjects(subjects: Iterable[int] | None, split: str, of_splits: Mapping[str, tuple[int, ...]]) -> tuple:
    """`subjects`, each once; None: those of `split`. Raises UserError for an unknown split."""
    check_split(split, of_splits)
    return of_splits[split] if subjects is None else tuple(dict.fromkeys(subjects))
