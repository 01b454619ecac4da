"""Reading BVH: variants of the format, frame rates, and one line for every kind of broken file."""

import numpy as np
import pytest

from datasets.motion.captured.bvh import despike, read_bvh, resample
from datasets.people.kinematics import rotation_x, rotation_z
from utils.errors import UserError

HEADER = """HIERARCHY
ROOT base {
  OFFSET 0 0 1
  CHANNELS 4 Yposition Xrotation Zrotation Yrotation
  JOINT arm of mine
  {
    OFFSET 2 0 0
    CHANNELS 2 yRotation zRotation
    End Site
    {
      OFFSET 0 3 0
    }
  }
}
"""
ROWS = ["5 90 0 0 0 90", "5 0 90 0 90 0"]


def written(tmp_path, header=HEADER, rows=ROWS, frames=None, frame_time="0.1"):
    path = tmp_path / "walk.bvh"
    motion = f"MOTION\nFrames: {len(rows) if frames is None else frames}\nFrame Time: {frame_time}\n"
    path.write_text(header + motion + "".join(f"{row}\n" for row in rows))
    return path


def test_forward_kinematics_of_any_channels(tmp_path):
    clip = read_bvh(written(tmp_path))
    assert clip.name == "walk" and clip.joints == ("base", "arm of mine", "arm of mine_end")
    assert clip.parents == (-1, 0, 1) and clip.rate == pytest.approx(10)
    rotations, positions = clip.forward_kinematics()
    # Frame 0: the root is rotated about x, the arm about z. Frame 1: the root about z, the arm about y.
    np.testing.assert_allclose(positions[0], [[0, 5, 1], [2, 5, 1], [-1, 5, 1]], atol=1e-12)
    np.testing.assert_allclose(positions[1], [[0, 5, 1], [0, 7, 1], [-3, 7, 1]], atol=1e-12)
    np.testing.assert_allclose(rotations[0, 1], rotation_x(np.pi / 2) @ rotation_z(np.pi / 2), atol=1e-12)
    np.testing.assert_allclose(clip.rest_positions(), [[0, 0, 0], [2, 0, 0], [2, 3, 0]])


def test_rotations_are_applied_in_the_order_of_the_channels(tmp_path):
    rotated = read_bvh(written(tmp_path, rows=["0 90 90 0 0 0"])).rotations[0, 0]
    np.testing.assert_allclose(rotated, rotation_x(np.pi / 2) @ rotation_z(np.pi / 2), atol=1e-12)


def test_positions_of_any_joint_replace_its_offset(tmp_path):
    header = HEADER.replace("CHANNELS 2 yRotation zRotation", "CHANNELS 2 Zposition Xposition")
    clip = read_bvh(written(tmp_path, header, ["0 0 0 0 4 6"]))
    np.testing.assert_allclose(clip.forward_kinematics()[1][0, 1], [6, 0, 1 + 4])


def rotating(tmp_path, degrees, frame_time):
    return read_bvh(written(tmp_path, rows=[f"{d} 0 {d} 0 0 0" for d in degrees], frame_time=frame_time))


def angles(clip):
    return np.degrees(np.arctan2(clip.rotations[:, 0, 1, 0], clip.rotations[:, 0, 0, 0]))


def test_resampling_picks_frames_where_it_can(tmp_path):
    clip = rotating(tmp_path, [0, 7, 1, 9, 2, 11, 3], "0.033333")
    np.testing.assert_array_equal(resample(clip, 10).rotations, clip.rotations[[0, 3, 6]])
    assert resample(clip, 10).rate == 10


@pytest.mark.parametrize("rate", [10, 30, 100])
def test_resampling_between_frames_rotates_evenly(tmp_path, rate):
    clip = rotating(tmp_path, np.arange(25) * 5, "0.0416666667")  # 24 Hz, 120 degrees and units in a second
    again = resample(clip, rate)
    assert len(again.rotations) == rate + 1
    np.testing.assert_allclose(angles(again), np.arange(rate + 1) * 120 / rate, atol=1e-4)
    np.testing.assert_allclose(again.translations[:, 0, 1], np.arange(rate + 1) * 120 / rate, atol=1e-4)


def test_resampling_of_a_single_frame(tmp_path):
    assert len(resample(rotating(tmp_path, [5], "0.04"), 30).rotations) == 1


def test_spikes_are_repaired_and_fast_rotations_kept(tmp_path):
    degrees = np.arange(0, 300, 20)
    np.testing.assert_array_equal(despike(rotating(tmp_path, degrees, "0.03")).rotations,
                                  rotating(tmp_path, degrees, "0.03").rotations)  # fmt: skip
    broken = np.where(np.isin(np.arange(15), [6, 7]), 170, 10 + np.arange(15))
    repaired = angles(despike(rotating(tmp_path, broken, "0.03")))
    assert repaired.max() < 26 and np.abs(np.diff(repaired)).max() <= 4


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(rows=[ROWS[0], "1 2 3"]), "walk.bvh line 19: 3 numbers; expected 6"),
        (dict(rows=[ROWS[0], "1 2 3 4 5 6 7"]), "walk.bvh line 19: 7 numbers; expected 6"),
        (dict(rows=["1 2 3 nan 5 6"]), "walk.bvh line 18: a value that is not a finite number"),
        (dict(rows=["1 2 x 4 5 6"]), "walk.bvh line 18: a value that is not a finite number"),
        (dict(rows=[], frames=7), "walk.bvh line 17: the file ends after 0 of 7 frames"),
        (dict(rows=[*ROWS, ROWS[0][:5]], frames=3), "walk.bvh line 20: 2 numbers; expected 6"),
        (dict(rows=[]), "walk.bvh line 16: 'Frames: 0'; expected 'Frames:' and a positive number"),
        (dict(frames="many"), "walk.bvh line 16: 'Frames: many'"),
        (dict(frames=1.5), "walk.bvh line 16: Frames: 1.5; expected a whole number"),
        (dict(frame_time="0"), "walk.bvh line 17: 'Frame Time: 0'"),
        (dict(frame_time="-0.1"), "walk.bvh line 17: 'Frame Time: -0.1'"),
        (dict(frame_time="33.3"), "walk.bvh line 17: Frame Time: 33.3; expected seconds between two frames"),
        (dict(frame_time="33333"), "walk.bvh line 17: Frame Time: 33333; expected seconds"),
        (dict(frame_time="1e-9"), "walk.bvh line 17: Frame Time: 1e-09; expected seconds"),
        (dict(frame_time="1e300"), "walk.bvh line 17: Frame Time: 1e+300; expected seconds"),
        (dict(rows=["1 2 1e300 4 5 6"]), "walk.bvh line 18: a value that is not a finite number below 1e"),
        (dict(header=HEADER.replace("2 0 0", "2e9 0 0")), "walk.bvh line 7: OFFSET 2e9 0 0; expected three numbers"),
        (dict(header=HEADER.replace("2 0 0", "2 0")), "walk.bvh line 7: OFFSET 2 0; expected three numbers"),
        (dict(header=HEADER.replace("2 yRotation", "3 yRotation")), "walk.bvh line 8: CHANNELS 3 yRotation"),
        (dict(header=HEADER.replace("yRotation", "wRotation")), "walk.bvh line 8: CHANNELS 2 wRotation"),
        (dict(header=HEADER.replace("yRotation", "zRotation")), "walk.bvh line 8: CHANNELS 2 zRotation"),
        (dict(header=HEADER.replace("arm of mine", "base")), "walk.bvh line 5: joint 'base'"),
        (dict(header=HEADER.replace("    OFFSET 2 0 0\n", "")), "walk.bvh line 14: joint 'arm of mine' has no OFFSET"),
        (dict(header=HEADER[:-2]), "walk.bvh line 14: MOTION after 3 joints, 1 '{' open"),
        (dict(header=HEADER + "}\n"), "walk.bvh line 15: a '}' without '{'"),
        (dict(header=HEADER + HEADER), "walk.bvh line 16: ROOT base; expected one ROOT"),
        (dict(header="what is this\n"), "walk.bvh line 1: 'what'; expected"),
        (dict(header=""), "walk.bvh line 1: MOTION after 0 joints"),
    ],
)
def test_broken_files_name_the_line(tmp_path, change, message):
    with pytest.raises(UserError) as error:
        read_bvh(written(tmp_path, **change))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_as_windows_writes_them(tmp_path, encoding):
    path = written(tmp_path)
    plain = read_bvh(path)
    path.write_bytes(path.read_text().replace("  ", "\t").replace("\n", "\r\n").encode(encoding))
    np.testing.assert_array_equal(read_bvh(path).rotations, plain.rotations)


@pytest.mark.parametrize("frames", [1, 7, 1000])
def test_frames_that_are_there_count(tmp_path, capsys, frames):
    assert len(read_bvh(written(tmp_path, frames=frames)).rotations) == len(ROWS)
    assert capsys.readouterr().err == f"walk.bvh: 'Frames: {frames}', but there are 2, which are used\n"


def test_a_row_that_may_be_cut_within_its_last_number_is_left_out(tmp_path, capsys):
    path = written(tmp_path, rows=[*ROWS, "5 0 90 0 90 45"], frames=9)
    path.write_text(path.read_text()[:-2])  # ... 90 4
    clip = read_bvh(path)
    assert len(clip.rotations) == len(ROWS)
    assert capsys.readouterr().err == "walk.bvh: 'Frames: 9', but there are 2, which are used\n"
    whole = written(tmp_path)
    whole.write_text(whole.read_text().rstrip("\n"))  # many tools end files so
    assert len(read_bvh(whole).rotations) == len(ROWS)
    path = written(tmp_path, rows=ROWS[:1], frames=9)
    path.write_text(path.read_text().rstrip("\n"))
    with pytest.raises(UserError, match="the file ends after 0 of 9 frames"):
        read_bvh(path)


def test_a_joint_with_two_end_sites(tmp_path):
    end = "    End Site\n    {\n      OFFSET 0 3 0\n    }\n"
    clip = read_bvh(written(tmp_path, header=HEADER.replace(end, end + end.replace("0 3 0", "1 0 0"))))
    assert clip.joints == ("base", "arm of mine", "arm of mine_end", "arm of mine_end2")
    np.testing.assert_array_equal(clip.offsets[2:], [[0, 3, 0], [1, 0, 0]])


def test_no_motion_and_no_file(tmp_path):
    path = tmp_path / "walk.bvh"
    with pytest.raises(UserError, match="no motion file"):
        read_bvh(path)
    path.write_text(HEADER)
    with pytest.raises(UserError, match=r"walk.bvh line 14: the file ends before MOTION"):
        read_bvh(path)
    path.write_bytes(b"\x00\xff\x12binary")
    with pytest.raises(UserError, match=r"walk\.bvh line 1"):
        read_bvh(path)
