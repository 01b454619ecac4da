"""Backgrounds and crops of single views of Human3.6M: the work of one process."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cameras.crop_camera import BOX_METRES
from datasets.sources.human36m.archives import read_cdf_poses
from datasets.sources.human36m.metadata import CAMERA_IDS, Metadata, RecordedSequence
from datasets.sources.human36m.plan import PlannedView
from datasets.sources.human36m.report import ReportRow
from datasets.video.crops_of_views import BACKGROUNDS_FOLDER, Background, CropJob, CropView, write_view, written_crops
from utils.errors import UserError
from utils.readers import reading


class Task(NamedTuple):
    """What all views have in common. size: side of the crops, pixels."""

    output: Path
    size: int
    metadata: Metadata


def camera_backgrounds(output: Path, planned: list[PlannedView]) -> list[Background]:
    """The backgrounds of one subject: of each camera, over all its videos."""
    cameras = {view.cam: _background_file(output, view) for view in planned}
    return [
        # A broken video is reported when its own crops are made.
        Background(file, [view.video for view in planned if view.cam == cam], skip_broken=True)
        for cam, file in cameras.items()
    ]


def write_planned_view(task: Task, view: PlannedView) -> tuple[PlannedView, int, str]:
    """Write the crops of one view; an interrupted call resumes where it stopped.

    Returns the view, the number of its crops on disk, and an error message or "".
    """
    job = CropJob(task.output, task.size, BOX_METRES)
    crops = _crop_view(task, view)
    try:
        return view, write_view(crops, job), ""
    except UserError as error:
        return view, written_crops(crops, job), str(error)


def view_key(sequence: RecordedSequence | ReportRow, cam: int) -> str:
    """The prefix of the pieces of a camera in a sequence."""
    return f"seq_{sequence.seq:03d}_cam_{cam:02d}"


def _crop_view(task: Task, view: PlannedView) -> CropView:
    from PIL import Image

    sequence, count = view.sequence, len(view.frames)
    background = _background_file(task.output, view)
    with reading(background, "the background of a camera; remove it to make it again"), Image.open(background) as image:
        camera = task.metadata.camera(sequence.subject, view.cam, *image.size)
    joints_cam = camera.world_to_cam(read_cdf_poses(view.poses)[list(view.frames)])
    same = {
        "cam": view.cam,
        "seq": sequence.seq,
        "subj": sequence.subject,
        "motion": sequence.motion,
        "shifted": np.int8(view.shifted),
    }
    return CropView(
        key=view_key(sequence, view.cam),
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
    """The PNG of the background of a view's camera."""
    return output / BACKGROUNDS_FOLDER / f"S{view.sequence.subject}_{CAMERA_IDS[view.cam]}.png"
