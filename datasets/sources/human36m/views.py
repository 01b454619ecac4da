"""Backgrounds and crops of Human3.6M: the work of one process, a camera or a sequence of it at a time."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.crop_camera import BOX_METRES
from datasets.sources.human36m.archives import read_cdf_poses
from datasets.sources.human36m.metadata import CAMERA_IDS, Metadata
from datasets.sources.human36m.plan import PlannedView
from datasets.video import crops_of_views
from utils.errors import UserError


class Task(NamedTuple):
    """What every process needs to know. size: side of the crops, pixels."""

    output: Path
    size: int
    metadata: Metadata


def camera_backgrounds(output: Path, planned: list[PlannedView]) -> list[crops_of_views.Background]:
    """The backgrounds that some views of one subject need: of each camera, over all of its videos."""
    cameras = {view.cam: _background_file(output, view) for view in planned}
    return [
        # a broken video is told when its own crops are made
        crops_of_views.Background(file, [view.video for view in planned if view.cam == cam], skip_broken=True)
        for cam, file in cameras.items()
    ]


def write_view(task: Task, view: PlannedView) -> tuple[PlannedView, int, str]:
    """Write the crops of one camera of one sequence; goes on where it stopped.

    Returns the view, the number of its crops on disk, and what broke, or "".
    """
    job = crops_of_views.CropJob(task.output, task.size, BOX_METRES)
    crops = _with_labels(task, view)
    try:
        return view, crops_of_views.write_view(crops, job), ""
    except UserError as error:
        return view, crops_of_views.written_crops(crops, job), str(error)


def _with_labels(task: Task, view: PlannedView) -> crops_of_views.CropView:
    from PIL import Image

    sequence, count = view.sequence, len(view.frames)
    background = _background_file(task.output, view)
    with Image.open(background) as picture:
        camera = task.metadata.camera(sequence.subject, view.cam, *picture.size)
    joints_cam = camera.world_to_cam(read_cdf_poses(view.poses)[list(view.frames)])
    same = {
        "cam": view.cam,
        "seq": sequence.seq,
        "subj": sequence.subject,
        "motion": sequence.motion,
        "shifted": np.int8(view.shifted),
    }
    return crops_of_views.CropView(
        key=f"seq_{sequence.seq:03d}_cam_{view.cam:02d}",
        name=view.name,
        video=view.video,
        camera=camera,
        frames=np.array(view.frames),
        roots=joints_cam[:, 0],
        joints=joints_cam,
        ids={"frame": np.array(view.frames), **{name: np.full(count, value) for name, value in same.items()}},
        background=background,
    )


def _background_file(output: Path, view: PlannedView) -> Path:
    """The full picture of a view's camera without people, as a PNG."""
    return output / crops_of_views.BACKGROUNDS_FOLDER / f"S{view.sequence.subject}_{CAMERA_IDS[view.cam]}.png"
