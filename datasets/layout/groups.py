"""Groups of rows of labels.h5 that share an instant, a sequence or a subject: one sort, no loop over rows."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from utils.errors import UserError


class Groups(NamedTuple):
    """Rows by group: `order[start[g] : start[g] + count[g]]` are the rows of group g. Groups are sorted by key."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """One row of each group."""
        return self.order[self.start]


def group_rows(
    labels: Mapping[str, np.ndarray], names: Sequence[str], rows: np.ndarray | None = None, within: str | None = None
) -> Groups:
    """Group rows (None: all) by equal values of the columns `names`; within a group they are sorted by `within`."""
    rows = np.arange(len(labels[names[0]])) if rows is None else rows
    sorted_by = (*names, within) if within else names
    key = _joint_key([labels[name][rows] for name in sorted_by])
    return group_sorted_rows(labels, names, rows[np.argsort(key, kind="stable")])


def group_sorted_rows(labels: Mapping[str, np.ndarray], names: Sequence[str], order: np.ndarray) -> Groups:
    """Groups of rows `order` that are sorted already; `start` and `count` are positions in `order`."""
    changes = np.zeros(len(order), dtype=bool)
    changes[:1] = True
    for name in names:
        values = labels[name][order]
        # A group begins wherever any of the ids changes.
        changes[1:] |= values[1:] != values[:-1]
    start = np.flatnonzero(changes)
    return Groups(order, start, np.diff(np.append(start, len(order))))


def _joint_key(columns: list[np.ndarray]) -> np.ndarray:
    """One int64 (N,) that sorts like the columns (N,), the first most significant.

    Grouping 1.5 million rows by it takes 0.2 s; np.unique over the columns takes 3 s.
    """
    key = np.zeros(len(columns[0]), dtype=np.int64)
    span_so_far = 1
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        # Each id is a digit of the key, in a base of its own range: nothing collides as long as the product fits.
        if span_so_far * (high - low + 1) > 2**62:
            raise UserError(f"labels have ids up to {high}; frame, cam, seq and subj together must fit 62 bits")
        span_so_far *= high - low + 1
        key = key * (high - low + 1) + (column - low)
    return key
