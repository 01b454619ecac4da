"""Data sets in the training layout: reading, writing, sampling and checking them. Knows no network.

This is the face for notebooks; the project itself imports from the modules.
"""

from datasets.cameras.crop_camera import BOX_METRES, CropCamera
from datasets.frames import FrameDataset
from datasets.layout.frame_writer import FrameWriter
from datasets.layout.labels import Labels
from datasets.layout.writer import LayoutWriter
from datasets.reader import MultiViewDataset
from datasets.sampler import GroupedBatchSampler
from datasets.validation import validate

__all__ = [
    "BOX_METRES",
    "CropCamera",
    "FrameDataset",
    "FrameWriter",
    "GroupedBatchSampler",
    "Labels",
    "LayoutWriter",
    "MultiViewDataset",
    "validate",
]
