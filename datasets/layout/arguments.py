"""Checks of arguments that all scripts that write a layout share."""

from collections.abc import Iterable, Mapping

from utils.errors import UserError


def check_at_least(least: int, **numbers: int | None) -> None:
    """Raises UserError for the first of `numbers` that is below `least`; None stands for a default and passes."""
    for name, value in numbers.items():
        if value is not None and value < least:
            raise UserError(f"{name} is {value}; expected at least {least}")


def check_box(box_metres: float) -> None:
    """Raises UserError for a width of crops that is not positive."""
    if box_metres <= 0:
        raise UserError(f"box_metres is {box_metres:g}; expected more than 0")


def check_split(split: str, splits: Iterable[str]) -> None:
    """Raises UserError unless the data set has this split."""
    if split not in splits:
        raise UserError(f"split {split!r}; expected one of {', '.join(splits)}")


def choose_subjects(subjects: Iterable[int] | None, split: str, of_splits: Mapping[str, tuple[int, ...]]) -> tuple:
    """`subjects`, each once; None: those of `split`. Raises UserError for an unknown split."""
    check_split(split, of_splits)
    return of_splits[split] if subjects is None else tuple(dict.fromkeys(subjects))
