"""Cameras are found again from rendered views of boards, whose lenses and places are known."""

import re
import sys

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

import cv2

from configs import calibrate_cameras as script
from datasets.cameras.boards import Board, BoardFinder, BoardView, check_board
from datasets.cameras.calibrating import fit_lens
from datasets.cameras.calibration import read_calibration
from datasets.cameras.camera import Camera
from datasets.sources.own_videos import calibrate
from datasets.sources.own_videos.calibrate import draw_cameras
from tests.video_files import write_video
from utils.errors import UserError
from utils.geometry import rotation_about
from utils.locks import writing

CHESS, CHARUCO = Board(7, 4, 0.06), Board(6, 4, 0.06, 0.045)
WIDTH, HEIGHT, FOCAL = 480, 360, 420.0
INTRINSICS = np.array([[FOCAL, 0, 246.0], [0, FOCAL, 171], [0, 0, 1]])
DISTORTION = np.array([-0.18, 0.05, 0.001, -0.0005, 0])
SCALE = 1000  # pixels of the printed board per meter


def printed(board):
    """The board as it is printed, gray, with a white border; and where its first inner corner is, pixels."""
    squares = (board.columns + 1, board.rows + 1)
    side = round(board.square * SCALE)
    if board.marker:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
        drawn = cv2.aruco.CharucoBoard(squares, board.square, board.marker, dictionary)
        image = drawn.generateImage((squares[0] * side, squares[1] * side))
    else:
        # The square behind the first inner corner is dark.
        tiles = 255 * (np.indices(squares[::-1]).sum(0) % 2).astype(np.uint8)
        image = np.kron(tiles, np.ones((side, side), np.uint8))
    return cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_CONSTANT, value=255), 2 * side - 0.5


def seen(board, rotation, shift):
    """The board (X_cam = R X + t, X on the board) as the distorting camera sees it, (H,W,3) uint8."""
    image, first = printed(board)
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float64)
    rays = cv2.undistortPoints(pixels, INTRINSICS, DISTORTION)[:, 0]
    rays = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    # Where the rays meet the plane of the board.
    normal = rotation[:, 2]
    points = rays * (normal @ shift / (rays @ normal))[:, None]
    places = ((points - shift) @ rotation)[:, :2] * SCALE + first
    places = places.reshape(HEIGHT, WIDTH, 2).astype(np.float32)
    gray = cv2.remap(cv2.GaussianBlur(image, None, 2), places, None, cv2.INTER_LINEAR, borderValue=110)
    return np.repeat(gray[..., None], 3, axis=2)


def moved(board, count, seed, tilted=0.5):
    """Frames of a board that is moved before the camera, and tilted by up to so many radians."""
    rng, middle = np.random.default_rng(seed), board.points.mean(0)
    for _ in range(count):
        tilt = rng.uniform(-tilted, tilted, 3)
        rotation = rotation_about("x", tilt[0]) @ rotation_about("y", tilt[1]) @ rotation_about("z", tilt[2])
        depth = rng.uniform(0.55, 0.85)
        place = np.array([*(rng.uniform(-0.25, 0.25, 2) * depth), depth])
        yield seen(board, rotation, place - rotation @ middle)


def rig(count=3):
    """Cameras around the board on the floor, world with z up and the first inner corner at the origin."""
    cameras = {}
    for number in range(count):
        angle = 0.4 + 2.1 * number
        middle = np.array([0.18, -0.1, 0])
        center = middle + np.array([0.45 * np.cos(angle), 0.45 * np.sin(angle), 0.55 + 0.05 * number])
        forward = middle - center
        forward /= np.linalg.norm(forward)
        across = np.cross(forward, [0, 0, 1.0])
        across /= np.linalg.norm(across)
        rotation = np.stack([across, np.cross(forward, across), forward])
        cameras[f"cam{number}"] = Camera(rotation, center, INTRINSICS, DISTORTION, WIDTH, HEIGHT)
    return cameras


def on_floor(board, camera):
    """The board on the floor as a camera of the rig sees it: its y and z axes point away from the world's."""
    return seen(board, camera.rotation @ np.diag([1.0, -1, -1]), -camera.rotation @ camera.center)


def arguments(board, folder, *more):
    marker = ["--marker", str(1000 * board.marker)] if board.marker else []
    size = f"{board.columns}x{board.rows}"
    return [
        "--board",
        size,
        "--square",
        str(1000 * board.square),
        *marker,
        "--workers",
        "1",
        "--output",
        str(folder),
        *more,
    ]


def run(monkeypatch, capsys, *given):
    monkeypatch.setattr(sys, "argv", ["calibrate-cameras", *map(str, given)])
    script.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("board", [CHESS, CHARUCO], ids=["chessboard", "charuco"])
def test_cameras_are_found_again(board, tmp_path, monkeypatch, capsys):
    cameras = rig()
    floor = []
    for number, (name, camera) in enumerate(cameras.items()):
        write_video(tmp_path / f"{name}.mp4", moved(board, 10, number), crf=8)
        picture = tmp_path / f"floor_{name}.png"
        cv2.imwrite(str(picture), on_floor(board, camera))
        floor.append(f"{name}={picture}")
    videos = [tmp_path / f"{name}.mp4" for name in cameras]
    report = run(monkeypatch, capsys, *videos, *arguments(board, tmp_path / "out", "--floor", *floor))
    assert report.count("views, reprojection error 0.") == 3 and report.count("board on the floor: reprojection") == 3
    for file in ("calibration.json", "calibration.toml"):
        found = read_calibration(tmp_path / "out" / file).cameras
        assert list(found) == list(cameras)
        for name, camera in cameras.items():
            one = found[name]
            assert (one.width, one.height) == (WIDTH, HEIGHT)
            assert np.abs(one.intrinsics - INTRINSICS).max() < 6
            assert np.linalg.norm(one.center - camera.center) < 0.02
            assert np.degrees(np.arccos(min(1, (np.trace(one.rotation @ camera.rotation.T) - 1) / 2))) < 1
            # What counts is where points are seen.
            points = np.random.default_rng(0).uniform([-0.2, -0.4, 0], [0.5, 0.2, 0.2], (50, 3))
            away = one.project(one.world_to_cam(points)) - camera.project(camera.world_to_cam(points))
            assert np.linalg.norm(away, axis=1).mean() < 1.5
    assert (tmp_path / "out/cameras.png").stat().st_size > 10_000
    with writing(tmp_path / "out"), pytest.raises(UserError, match="is being written by this process"):
        run(monkeypatch, capsys, *videos, *arguments(board, tmp_path / "out"))
    assert run(monkeypatch, capsys, *videos, *arguments(board, tmp_path / "out", "--floor", *floor)) == report
    with pytest.raises(UserError, match=r"out holds a set of .*'floor': .*or an empty folder"):
        run(monkeypatch, capsys, *videos, *arguments(board, tmp_path / "out"))


def test_a_camera_name_in_the_picture_is_no_mathematics(tmp_path):
    draw_cameras(tmp_path / "cameras.png", {"a$_$": rig()["cam0"]}, CHESS)
    assert (tmp_path / "cameras.png").stat().st_size > 5_000


def test_a_chessboard_is_found_in_one_order_from_all_sides():
    find = BoardFinder(CHESS)
    middle = CHESS.points.mean(0)
    for angle in np.radians([0, 100, 180, 260]):
        rotation = rotation_about("z", angle)
        shift = np.array([0, 0, 0.8]) - rotation @ middle
        view = find(seen(CHESS, rotation, shift))
        expected = cv2.projectPoints(CHESS.points, cv2.Rodrigues(rotation)[0], shift, INTRINSICS, DISTORTION)[0][:, 0]
        assert np.abs(view.pixels - expected).max() < 0.5
    assert find(np.full((90, 120, 3), 100, np.uint8)) is None


def write_pictures(folder, frames):
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:03d}.png"), frame[..., ::-1])
    return folder


def test_a_board_that_is_hardly_tilted_makes_the_focal_length_unsure(tmp_path, monkeypatch, capsys):
    folder = write_pictures(tmp_path / "cam", moved(CHESS, 10, 0, tilted=0.1))
    report = run(monkeypatch, capsys, folder, *arguments(CHESS, tmp_path / "out"))
    assert "WARNING: an unsure focal length: tilt the board by 20 to 45 degrees" in report
    focal, deviation = map(float, re.search(r"focal length ([\d.]+) \+- ([\d.]+) px", report).groups())
    assert abs(focal - FOCAL) < deviation


@pytest.mark.parametrize("noise", [0, 0.1])
def test_views_that_leave_the_focal_length_open_are_refused(noise):
    rng, middle = np.random.default_rng(0), CHESS.points.mean(0)
    ids = np.arange(len(CHESS.points))

    def view(rotation, shift):
        pixels = (CHESS.points - middle) @ rotation.T + shift
        pixels = pixels @ INTRINSICS.T
        return BoardView(ids, pixels[:, :2] / pixels[:, 2:] + rng.normal(0, noise, (len(ids), 2)))

    # The board faces the camera wherever it is; turning it in its plane does not help.
    shifts = rng.uniform([-0.15, -0.1, 0.55], [0.15, 0.1, 0.85], (12, 3))
    frontal = [view(rotation_about("z", float(n)), shift) for n, shift in enumerate(shifts)]
    with pytest.raises(UserError, match=r"camera 'a': 12 views leave the focal length open .*: tilt the board"):
        fit_lens(CHESS, frontal, WIDTH, HEIGHT, "a")
    tilted = [view(rotation_about("x", 0.5) @ rotation_about("y", 0.4), shifts[0])] * 12
    with pytest.raises(UserError, match="different places of the board in 12 frames: 1; expected at least 8"):
        fit_lens(CHESS, tilted, WIDTH, HEIGHT, "a")
    turns = rng.uniform(-0.5, 0.5, (12, 2))
    good = [view(rotation_about("x", x) @ rotation_about("y", y), s) for (x, y), s in zip(turns, shifts, strict=True)]
    lens = fit_lens(CHESS, good, WIDTH, HEIGHT, "a")
    assert abs(lens.intrinsics[0, 0] - FOCAL) < 3 * lens.focal_deviation < 0.03 * FOCAL


def test_a_single_row_of_corners_is_no_view():
    board = Board(9, 6, 0.03, 0.022)
    image, first = printed(board)
    side, find = round(board.square * SCALE), BoardFinder(board)
    for rows, found in ((1, None), (2, range(18))):
        hidden = image.copy()
        hidden[round(first) + rows * side + side // 10 :] = 110
        view = find(np.repeat(hidden[..., None], 3, axis=2))
        assert (view and list(view.ids)) == (found and list(found))


def test_views_that_no_lens_fits_are_one_line():
    row = [BoardView(np.arange(7), CHESS.points[:7, :2] * 900 + [number * 9, 90]) for number in range(10)]
    with pytest.raises(UserError, match="camera 'a': no lens fits the board in 10 frames"):
        fit_lens(CHESS, row, WIDTH, HEIGHT, "a")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--board", "9by6"], "--board is '9by6'; expected inner corners such as 9x6"),
        (["--board", "9x1"], "board of 9x1 inner corners; expected 3 to 50 each"),
        (["--square", "0"], "square of 0 mm"),
        (["--marker", "90"], "marker of 90 mm; expected less than a square"),
        (["--marker", "40", "--dictionary", "DICT_X"], "unknown dictionary 'DICT_X'"),
        (["--marker", "40", "--dictionary", "detectMarkers"], "unknown dictionary 'detectMarkers'"),
        (["--marker", "40", "--board", "13x8"], "DICT_4X4_50 has 50 markers; expected the 63 of a board of 13x8"),
        (["--dictionary", "DICT_5X5_50"], "dictionary DICT_5X5_50 without markers; expected the side of a marker"),
        (["--floor", "cam=small.png"], "camera 'cam': small.png has another size than cam.png; expected the same"),
        (["--workers", "0"], "workers is 0; expected at least 1"),
        (["--floor", "a=gray.png", "b=gray.png"], "cameras 'a' and 'b' have one video, 'gray.png'; expected one"),
        (["--floor", "gray.png"], "boards on the floor of the cameras gray; expected those of the videos, cam"),
        ([], "camera 'cam': the board is found in 0 frames; expected at least 8"),
    ],
)
def test_bad_input(given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("cam.png", "gray.png"):
        cv2.imwrite(name, np.full((90, 120, 3), 100, np.uint8))
    cv2.imwrite("small.png", np.full((45, 60, 3), 100, np.uint8))
    with pytest.raises(UserError, match=message):
        run(monkeypatch, capsys, "cam.png", *arguments(CHESS, tmp_path / "out"), *given)
    assert not (tmp_path / "out").exists()


def test_photos_of_another_size_are_refused_before_boards_are_looked_for(tmp_path, monkeypatch, capsys):
    for name, height in (("cam.png", 90), ("photo.png", 80)):
        cv2.imwrite(str(tmp_path / name), np.full((height, 120, 3), 100, np.uint8))
    monkeypatch.setattr(calibrate, "map_processes", lambda *_: pytest.fail("boards were looked for"))
    floor = ["--floor", f"cam={tmp_path / 'photo.png'}"]
    with pytest.raises(UserError, match=r"camera 'cam': .*photo\.png has another size than .*cam\.png"):
        run(monkeypatch, capsys, tmp_path / "cam.png", *arguments(CHESS, tmp_path / "out"), *floor)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_of_others_stays_as_it_is(tmp_path, monkeypatch, capsys):
    cv2.imwrite(str(tmp_path / "cam.png"), np.full((90, 120, 3), 100, np.uint8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/calibration.json").write_text("mine")
    with pytest.raises(UserError, match="out holds other files; expected an empty or new folder"):
        run(monkeypatch, capsys, tmp_path / "cam.png", *arguments(CHESS, tmp_path / "out"))
    assert [(file.name, file.read_text()) for file in (tmp_path / "out").iterdir()] == [("calibration.json", "mine")]


def test_names_that_no_calibration_may_have_are_refused_first(tmp_path, monkeypatch, capsys):
    (tmp_path / "board.png").touch()
    for name, words in (("a:b", r"camera 'a:b' of .*board\.png'; expected a name of letters"), ("a/b", "has no '/'")):
        with pytest.raises(UserError, match=words):
            run(monkeypatch, capsys, f"{name}={tmp_path / 'board.png'}", *arguments(CHESS, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_board_without_direction_cannot_lie_on_the_floor():
    with pytest.raises(UserError, match="looks the same after half a turn"):
        check_board(Board(8, 6, 0.03), on_floor=True)
    check_board(Board(8, 6, 0.03), on_floor=False)
    check_board(Board(8, 6, 0.03, 0.02), on_floor=True)
