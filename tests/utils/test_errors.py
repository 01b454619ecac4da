"""How scripts report errors: one line on stderr, and an exit code."""

import errno
import io
import sys

import pytest
import tqdm.auto

from utils.errors import UserError, run_script


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("size is 0; expected at least 1"), 2, "error: size is 0; expected at least 1"),
        (
            UserError("Traceback (most recent call last):\n  ...\nutils.errors.UserError: size is 0"),
            2,
            "error: size is 0",
        ),
        (UserError("\x1b[31m\x07 is\nred \udcff"), 2, r"error: \x1b[31m\x07 is red \udcff"),
        (UserError("x" * 5000 + "; expected less"), 2, f"error: {'x' * 500} ... {'x' * 485}; expected less"),
        (PermissionError(errno.EACCES, "Permission denied", "a.h5"), 2, "error: no permission for 'a.h5'; expected"),
        (OSError(errno.ENOSPC, "No space left on device", "b.pth"), 2, "error: No space left on device: 'b.pth'"),
        (OSError(errno.EEXIST, "File exists", "out"), 2, "error: File exists: 'out'; expected a folder"),
        (OSError(errno.ENOTDIR, "Not a directory", "a/b"), 2, "error: Not a directory: 'a/b'; expected folders"),
        (OSError(errno.EISDIR, "Is a directory", "out"), 2, "error: Is a directory: 'out'; expected a file"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_one_line_and_a_code(error, code, line, capsys):
    with pytest.raises(SystemExit) as ended:
        run_script(failing(error))
    assert ended.value.code == code
    text = capsys.readouterr().err
    assert text.startswith(line) and text.count("\n") == 1


@pytest.mark.parametrize("kind", [tqdm.std.tqdm, tqdm.auto.tqdm])
@pytest.mark.parametrize("error", [UserError("size is 0"), KeyboardInterrupt()])
def test_the_line_is_the_last_one_and_no_part_of_a_progress_bar(kind, error, capsys):
    def main():
        main.bars = [kind(range(9), name) for name in ("outer", "inner")]
        raise error

    with pytest.raises(SystemExit):
        run_script(main)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert lines[-1] in ("error: size is 0", "interrupted") and any("inner" in line for line in lines)


def test_what_the_encoding_of_the_output_lacks_is_shown_as_escapes(monkeypatch):
    """A report is printed after all the work, with names of files and cameras."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", newline="\n"))
    run_script(lambda: print("camera 左 of caf\udce9"))
    assert written.getvalue() == rb"camera \u5de6 of caf\udce9" + b"\n"


@pytest.mark.parametrize("error", [ValueError("ours"), OSError("without a file")])
def test_failures_of_ours_keep_their_traceback(error):
    with pytest.raises(type(error)):
        run_script(failing(error))
