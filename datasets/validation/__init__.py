"""Checks a training layout of either version: reports the first error, or a summary."""

from pathlib import Path

from datasets.layout.labels import CROPS, Labels
from datasets.validation.crops import validate_crops
from datasets.validation.frames import validate_frames


def validate(root: str | Path) -> str:
    """Check every label and decode every image of the layout in `root`; returns a summary table.

    Raises UserError for the first error, by name (`validate_crops`, `validate_frames`).
    """
    labels = Labels(root)
    return (validate_crops if labels.version == CROPS else validate_frames)(labels)
