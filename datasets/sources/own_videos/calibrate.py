"""Calibration of cameras from videos of a board: a report, files for this project and Pose2Sim, and a picture."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.cameras.boards import Board, BoardFinder, BoardView, check_board
from datasets.cameras.calibrating import Lens, fit_lens, place_camera
from datasets.cameras.calibration import check_camera_name
from datasets.cameras.calibration_writers import write_json_calibration, write_toml_calibration
from datasets.cameras.camera import Camera
from datasets.layout.arguments import check_at_least
from datasets.layout.job import REPORT_FILE, claim_folder, is_claimed, read_text_report, write_text_report
from datasets.layout.workers import map_processes
from datasets.sources.own_videos.recordings import check_one_each, existing_videos, identity_of_videos
from datasets.video.frames import count_frames, read_frames
from datasets.video.image_area import video_size
from utils.errors import UserError
from utils.locks import writing
from utils.plotting import save_figure

JOB_FILE = "board.json"  # in the folder of a calibration: what it was made of
MAX_FRAMES = 60  # of a video in which the board is looked for
FLOOR_FRAMES = 10
# Of the image; pixels; of the focal length: beyond, the report warns.
LOW_COVER, HIGH_ERROR, HIGH_DEVIATION = 0.4, 1.0, 0.02


def calibrate_cameras(
    videos: Sequence[str],
    output: str | Path,
    board: Board,
    floor: Sequence[str] = (),
    workers: int | None = None,
    progress: bool = True,
) -> str:
    """Calibrate cameras, and write calibration.json, calibration.toml, cameras.png and report.txt to `output`.

    videos: of a board that is moved before each camera; floor: videos or pictures of the board on the floor; both
    named after their camera, or such as "left=a.mp4". Without `floor`, every camera is the origin of its own world.
    Returns the report, that of a finished call if `output` is of this job. Raises UserError for bad input, before
    anything is written.
    """
    check_board(board, on_floor=bool(floor))
    check_at_least(1, workers=workers)
    moved, still = _named_videos(videos), _named_videos(floor)
    if still and set(still) != set(moved):
        raise UserError(
            f"boards on the floor of the cameras {', '.join(still)}; expected those of the videos, {', '.join(moved)}"
        )
    sizes = {name: video_size(file) for name, file in moved.items()}
    for name, file in still.items():
        if video_size(file) != sizes[name]:
            raise UserError(f"camera {name!r}: {file} has another size than {moved[name]}; expected the same")
    jobs = [(name, file, MAX_FRAMES) for name, file in moved.items()]
    jobs += [(name, file, FLOOR_FRAMES) for name, file in still.items()]
    job = {**board._asdict(), "videos": _checksum(moved), "floor": _checksum(still)}
    with writing(output) as folder:
        if is_claimed(folder, JOB_FILE, job) and (folder / REPORT_FILE).exists():
            return read_text_report(folder)
        done = map_processes(partial(_find_boards, board=board), jobs, workers)
        found = dict(tqdm(done, "boards", len(jobs), unit="video", disable=not progress))
        lines, cameras = [], {}
        for name, (width, height) in sizes.items():
            lens = fit_lens(board, found[name, MAX_FRAMES], width, height, name)
            lines += _lens_lines(name, lens, width, height)
            if still:
                views = found[name, FLOOR_FRAMES]
                cameras[name], error = place_camera(board, views, lens, width, height, name)
                lines += _place_lines(cameras[name], error)
            else:
                cameras[name] = Camera(np.eye(3), np.zeros(3), lens.intrinsics, lens.distortion, width, height)
        if not still:
            lines.append("no --floor: K and distortion only; R and t say that each camera is the origin")
        claim_folder(folder, JOB_FILE, job)
        write_json_calibration(folder / "calibration.json", cameras)
        write_toml_calibration(folder / "calibration.toml", cameras)
        if still:
            draw_cameras(folder / "cameras.png", cameras, board)
        report = "\n".join(lines)
        write_text_report(folder, report)
    return report


def _named_videos(given: Sequence[str]) -> dict[str, Path]:
    videos = existing_videos(given)
    for name, file in videos.items():
        check_camera_name(name, f"camera {name!r} of {str(file)!r}")
    check_one_each(videos, "the command line")
    return videos


def _checksum(files: dict[str, Path]) -> str:
    return hashlib.sha256(identity_of_videos(files)).hexdigest()[:16]


def _find_boards(job: tuple[str, Path, int], board: Board) -> tuple[tuple[str, int], list[BoardView]]:
    """The board in evenly spaced frames of a video; also for the workers."""
    name, file, most = job
    find, total = BoardFinder(board), count_frames(file)
    wanted = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int)).tolist()
    views = [find(frame) for _, frame in read_frames(file, wanted)]
    return (name, most), [view for view in views if view is not None]


def _lens_lines(name: str, lens: Lens, width: int, height: int) -> list[str]:
    focal = lens.intrinsics[[0, 1], [0, 1]].mean()
    lines = [
        f"{name}: {width}x{height} px, {lens.views} views, reprojection error {lens.error:.2f} px, focal length "
        f"{focal:.1f} +- {lens.focal_deviation:.1f} px, corners cover {100 * lens.covered:.0f} % of the image"
    ]
    if lens.focal_deviation > HIGH_DEVIATION * focal:
        lines.append("  WARNING: an unsure focal length: tilt the board by 20 to 45 degrees, in several directions")
    if lens.covered < LOW_COVER:
        lines.append("  WARNING: move the board into the corners of the image, where the distortion is")
    if lens.error > HIGH_ERROR:
        lines.append("  WARNING: a large error: check that the board is flat, and the video sharp and of one focus")
    return lines


def _place_lines(camera: Camera, error: float) -> list[str]:
    place = ", ".join(f"{value:.2f}" for value in camera.center)
    lines = [f"  board on the floor: reprojection error {error:.2f} px; camera at ({place}) m"]
    if error > 2 * HIGH_ERROR:
        lines.append(
            "  WARNING: a large error: check that the board lies flat, and that the focus is that of the video"
        )
    return lines


def draw_cameras(path: Path, cameras: dict[str, Camera], board: Board) -> None:
    """Write a picture of the cameras as pyramids around the board, from aside and from above."""
    # Only here: matplotlib takes a while to import.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    for column, (elevation, title) in enumerate(((25, "from aside"), (90, "from above")), 1):
        axes = figure.add_subplot(1, 2, column, projection="3d")
        axes.set_proj_type("ortho")
        axes.view_init(elev=elevation, azim=-60 if column == 1 else -90)
        axes.set(title=title, xlabel="x (m)", ylabel="y (m)", zlabel="z (m)" if column == 1 else "")
        _draw(axes, cameras, board)
        axes.set_aspect("equal")
        # Smaller, because labels of the third axis lie beyond the panel; from above it has no length.
        axes.set_box_aspect(np.ptp([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()], axis=1), zoom=0.85)
        if elevation == 90:
            axes.set_zticks([])
    save_figure(figure, path, dpi=110)


def _draw(axes, cameras: dict[str, Camera], board: Board) -> None:
    across, down = board.square * board.columns, board.square * board.rows
    corners = np.array([[0, 0, 0], [across, 0, 0], [across, -down, 0], [0, -down, 0], [0, 0, 0]])
    axes.plot(*corners.T, color="0.2", linewidth=2)
    centers = np.stack([camera.center for camera in cameras.values()])
    reach = 0.2 * max(1.0, float(np.linalg.norm(centers, axis=1).mean()))
    for number, (name, camera) in enumerate(cameras.items()):
        color = f"C{number % 10}"
        pixels = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * [camera.width, camera.height]
        rays = np.concatenate([pixels, np.ones((5, 1))], axis=1) @ np.linalg.inv(camera.intrinsics).T
        frame = camera.center + reach * rays @ camera.rotation
        axes.plot(*frame.T, color=color)
        for corner in frame[:4]:
            axes.plot(*np.stack([camera.center, corner]).T, color=color)
        # A line to the floor shows where the camera stands.
        axes.plot(*np.stack([camera.center, camera.center * [1, 1, 0]]).T, color=color, linestyle=":", linewidth=1)
        axes.text(*camera.center, f"  {name}", color=color, parse_math=False)
