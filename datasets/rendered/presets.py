"""Standard benchmarks: rendered sets fixed by version, seed and sizes, whose labels are checked against checksums.

A version guarantees:
- the same subjects, kinds of motion, frames and cameras on every machine (`ids_sha256`);
- the same poses within 0.1 mm on every machine (`pose_statistics`);
- identical poses after rounding to 0.1 mm with the same library versions on the same kind of CPU (`labels_sha256`).
Pixels differ between CPU and GPU by rounding, and are not checked.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from datasets.layout.labels import FRAME_ROW_KEYS, ROW_SHAPES, Labels
from datasets.layout.shards import Shard, merge_shards
from datasets.motion.motions import MOTIONS
from datasets.rendered.dataset import SET_FILE, RenderSet, render_dataset
from datasets.rendered.raycast import DEVICE
from datasets.rendered.scenes.dataset import FRAME_SIZE, render_frames
from datasets.rendered.scenes.planning import SceneSet
from utils.errors import UserError

_IDS = ("subj", "seq", "frame", "cam")
_OF_PIXELS = {"box", "occlusion"}  # computed from pictures, which differ between CPU and GPU
_ROUNDING = 1e-4  # of labels before hashing: 0.1 mm for poses; the same number for rotations and boxes
_TOLERANCE = 1e-4  # meters that means of poses may differ by between machines

# Kinds of motion that training never sees, some of the legs and some of the hands.
TEST_KINDS = ("crouching", "kicking", "directions", "photo", "stretching")
KINDS = {"train": tuple(kind for kind in MOTIONS if kind not in TEST_KINDS), "test": TEST_KINDS}


class Preset(NamedTuple):
    """A benchmark: arguments of `render_dataset`, crops of each split, and the `label_checksums` of each split.

    people_per_scene: of each split, for full frames of `size` (height, width); None: crops of one person. instants: of
    a scene, at most; None: as usual.
    """

    version: int
    size: int | tuple[int, int]
    seed: int
    every: int
    crops: Mapping[str, int]
    checksums: Mapping[str, dict[str, Any]]
    world: str = "room"
    people: Mapping[str, int | None] = MappingProxyType({"train": None, "test": None})
    people_per_scene: Mapping[str, str] | None = None
    instants: int | None = None

    def render_set(self, split: str) -> RenderSet | SceneSet:
        """What to render for a split."""
        if self.people_per_scene:
            counts = self.people_per_scene[split]
            return SceneSet(self.crops[split], self.size, self.seed, split, counts, self.world, self.people[split],
                            KINDS[split], self.instants)  # fmt: skip
        job = RenderSet(self.crops[split], self.size, self.seed, split, self.every, kinds=KINDS[split])
        return job._replace(world=self.world, people=self.people[split], masks=self.world == "wild")


_VERSION_1 = Preset(
    version=1,
    size=128,
    seed=2018,
    every=4,
    crops={"train": 40_000, "test": 8_000},
    checksums={
        "train": {
            "ids_sha256": "dcfd26f98829fef73afd39a39cd58cbe93f39bd8bb0fd9e1f695c7f95a8b48d3",
            "labels_sha256": "c1f916f680e39d7096ef12b3d74ae620d18666645c8076fd63587cbb4f79adcb",
            "pose_statistics": [-8.2e-05, -0.09411, -0.01548, 0.156789, 0.443682, 0.167629],
        },
        "test": {
            "ids_sha256": "e522572b2079735f6c6a06034aca9fa7fc43db34946a5c93a176ee7d26900032",
            "labels_sha256": "3724bab23a7cfff47c4ac484f7d93f4ebc4bcf86b29d26f46326fba13412355d",
            "pose_statistics": [-0.000201, -0.1042, -0.016222, 0.16125, 0.447492, 0.170504],
        },
    },
)
_WILD = Preset(
    version=2,
    size=128,
    seed=2026,
    every=1,
    crops={"train": 96_000, "test": 4_000},
    checksums={
        "train": {
            "ids_sha256": "81943f744911c34d54b97c92fa2ba5a4c4a1a5b17616542896e6bc0d726972b4",
            "labels_sha256": "5e241b6610c19594e1d2365ba7ee51d5ea1023360d3b4d1a40ba65d503587b1d",
            "pose_statistics": [-0.00079, -0.098594, -0.02028, 0.202335, 0.399365, 0.210445],
        },
        "test": {
            "ids_sha256": "b7c2a0990b65309334f6d4cf553b4639f0fc40611630c7ba2264de92adf00e24",
            "labels_sha256": "ecd3072744d4468d661803a637a3c4e7e04efcc8e3d300aceac333c688a90ebe",
            "pose_statistics": [0.001489, -0.102983, -0.022272, 0.200069, 0.39643, 0.212758],
        },
    },
    world="wild",
    people={"train": 240, "test": 16},
)
_SCENES = Preset(
    version=3,
    size=FRAME_SIZE,
    seed=2019,
    every=1,
    crops={"train": 24_000, "test": 4_800},
    checksums={
        "train": {
            "ids_sha256": "e7d5500662cc3012de9b76a4097f3606f796abf152aafcc1dcd1349473db943a",
            "labels_sha256": "86864f2af7f18d564e78432252f3b5c5a6c8cc27033f6bb144ace13964e71c9d",
            "pose_statistics": [-0.000461, -0.079578, -0.017229, 0.140483, 0.432749, 0.170775],
        },
        "test": {
            "ids_sha256": "6225b1d4980db86536b1c1abf505366384b69a70fbb4c4a92ca549d35bf4295f",
            "labels_sha256": "48e66e2d5325e7b2906a0acead1b866da35505f27fa5b777e9d8667ba00c36b1",
            "pose_statistics": [-0.000633, -0.084841, -0.01859, 0.139147, 0.432703, 0.169312],
        },
    },
    people={"train": 240, "test": 24},
    people_per_scene={"train": "0,0,1,1,1,2,2,2,2,2,2,2,2,2,2", "test": "0,1,2,2,2,3"},
    # Many short scenes: of few long ones, a network remembers how everybody stood, and one odd scene decides a figure.
    instants=8,
)
# The labels do not depend on the size of the crops.
PRESETS = {
    "benchmark": _VERSION_1,
    "benchmark64": _VERSION_1._replace(size=64),
    "wild": _WILD,
    "wild64": _WILD._replace(size=64),
    "scenes": _SCENES,
}


def render_preset(
    name: str, output: str | Path, workers: int | None = None, device: str = DEVICE, shard: Shard | None = None
) -> str:
    """Render a benchmark into `output`/train and `output`/test, or a shard of each, and check the labels of whole sets.

    Returns a report of one line per split. Raises UserError for an unknown name and for labels of another version.
    """
    preset, found = _preset(name), []
    for split in preset.crops:
        folder = Path(output) / split
        render = render_frames if preset.people_per_scene else render_dataset
        made = render(folder, **_arguments(preset.render_set(split)), workers=workers, device=device, shard=shard)
        found.append(f"shard {shard} in {made}" if shard else f"{folder}: {check_labels(folder, preset, split)}")
    return "\n".join(found)


def merge_preset(name: str, output: str | Path) -> str:
    """Merge the shards of a benchmark's sets, as `merge_shards` does; else as `render_preset`."""
    preset = _preset(name)
    folders = {split: merge_shards(Path(output) / split, SET_FILE) for split in preset.crops}
    return "\n".join(f"{folder}: {check_labels(folder, preset, split)}" for split, folder in folders.items())


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise UserError(f"preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


def check_labels(folder: str | Path, preset: Preset, split: str) -> str:
    """Compare the labels in `folder` with the benchmark's. Returns one line. Raises UserError if they differ."""
    found, expected = label_checksums(Labels(folder)), preset.checksums[split]
    title = f"version {preset.version} of the benchmark's {split} set"
    if found["ids_sha256"] != expected["ids_sha256"]:
        raise UserError(f"{folder} is not {title}: subjects, motions or frames differ (ids_sha256 "
                        f"{found['ids_sha256'][:12]}, expected {expected['ids_sha256'][:12]})")  # fmt: skip
    if found["labels_sha256"] == expected["labels_sha256"]:
        return f"labels are {title}, checksum {found['labels_sha256'][:12]}"
    # Another CPU or library rounds differently, which changes the exact checksum but hardly the means.
    difference = np.abs(np.subtract(found["pose_statistics"], expected["pose_statistics"])).max()
    if difference > _TOLERANCE:
        raise UserError(f"{folder} is not {title}: mean poses differ by {1000 * difference:.2f} mm; "
                        "expected less than 0.1 mm (did a newer version of anny change the bodies?)")  # fmt: skip
    return f"labels are {title} within rounding on this machine (mean poses differ by {1000 * difference:.4f} mm)"


def label_checksums(labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Checksums that identify the labels of a set.

    Returns:
        ids_sha256: of subjects, sequences, frames, cameras and motions.
        labels_sha256: of all labels, rounded to 0.1 mm.
        pose_statistics: mean and standard deviation of x, y and z over all joints of all crops, meters (6 numbers).
    """
    exact, rounded = hashlib.sha256(), hashlib.sha256()
    for name in _IDS:
        exact.update(np.asarray(labels[name]).astype("<i8").tobytes())
    exact.update("\n".join(np.asarray(labels["motion"]).astype(str)).encode())
    rounded.update(exact.digest())
    names = set(FRAME_ROW_KEYS) - _OF_PIXELS if "intrinsics" in labels else set(ROW_SHAPES)
    for name in sorted(names - set(_IDS)):
        values = np.asarray(labels[name], dtype=np.float64).reshape(len(labels["subj"]), -1)
        rounded.update(np.round(np.nan_to_num(values) / _ROUNDING).astype("<i8").tobytes())
    poses = np.asarray(labels["3D"], dtype=np.float64).reshape(-1, 3)
    statistics = np.concatenate([np.nanmean(poses, 0), np.nanstd(poses, 0)]).round(6).tolist()
    return {"ids_sha256": exact.hexdigest(), "labels_sha256": rounded.hexdigest(), "pose_statistics": statistics}


def _arguments(job: RenderSet | SceneSet) -> dict[str, Any]:
    return {name: value for name, value in job._asdict().items() if value is not None}
