"""The training layout: reading, writing, sampling, checking it, and what makes one. Knows no network."""

from datasets.cameras.crop_camera import CropCamera, crop_camera, pixel_rays, project
from datasets.layout.labels import Labels, is_finished
from datasets.layout.writer import LayoutWriter, image_path, pose_statistics
from datasets.reader import BATCH_KEYS, MultiViewDataset, collate_batch
from datasets.sampler import GroupedBatchSampler, select_rows, split_validation
from datasets.validation import validate

__all__ = [
    "BATCH_KEYS",
    "CropCamera",
    "GroupedBatchSampler",
    "Labels",
    "LayoutWriter",
    "MultiViewDataset",
    "collate_batch",
    "crop_camera",
    "image_path",
    "is_finished",
    "pixel_rays",
    "pose_statistics",
    "project",
    "select_rows",
    "split_validation",
    "validate",
]
