"""The command `geometry-aware-pose`, from this checkout."""

import subprocess
import sys

import pytest

import geometry_aware_pose
from geometry_aware_pose.cli import find, run
from tests.tiny import ROOT, TIMEOUT
from utils import commands
from utils.commands import COMMANDS, command_for
from utils.errors import UserError

SCRIPTS = {path.stem for path in (ROOT / "configs").glob("*.py") if "run_script(main)" in path.read_text()}


def command(*arguments):
    line = [sys.executable, "-m", "geometry_aware_pose", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)


def test_every_script_has_a_command():
    assert {command.script for command in COMMANDS.values()} == SCRIPTS


def test_help_lists_the_commands_without_waiting_for_torch():
    result = command("--help")
    assert result.returncode == 0, result.stderr
    listed = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")]
    assert listed == list(COMMANDS)
    assert all(len(line) <= 120 for line in result.stdout.splitlines())
    assert command().stdout == result.stdout
    check = "import sys, geometry_aware_pose.cli as cli; cli.run(['--version']); assert 'torch' not in sys.modules"
    version = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert version.stdout == f"geometry-aware-pose {geometry_aware_pose.__version__}\n", version.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_usage_under_its_own_name(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])  # set by the command
    with pytest.raises(SystemExit) as ended:
        run([name, "--help"])
    shown = capsys.readouterr().out
    assert not ended.value.code and shown.startswith(f"usage: geometry-aware-pose {name} ")
    assert f"configs/{COMMANDS[name].script}" not in shown


def test_a_command_does_what_its_script_does(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])  # set by the command
    result = command("validate", ROOT / "examples" / "sample_set")
    assert result.returncode == 0 and "96" in result.stdout, result.stderr
    with pytest.raises(UserError, match="nothing"):
        run(["validate", str(tmp_path / "nothing")])


def test_an_unknown_command_is_one_line():
    result = command("trian")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr == "error: unknown command 'trian'; the nearest is 'train'\n"
    with pytest.raises(UserError, match="'xyz'; expected one of demo, train, "):
        find("xyz")


def test_messages_name_the_command_that_works_here(monkeypatch):
    assert command_for("test_encodeDecode", "--evaluate") == "python configs/test_encodeDecode.py --evaluate"
    monkeypatch.setattr(commands, "IN_CHECKOUT", False)
    assert command_for("test_encodeDecode", "--evaluate") == "geometry-aware-pose test"
    assert command_for("test_encodeDecode") == "geometry-aware-pose view"
    assert command_for("prepare_h36m") == "geometry-aware-pose prepare-h36m"


def test_long_names_are_the_same_modules():
    import geometry_aware_pose.utils.errors

    import utils.errors

    assert geometry_aware_pose.utils.errors is utils.errors
    assert utils.errors.__spec__.name == "utils.errors"
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        import geometry_aware_pose.nothing


def test_everything_is_imported_without_the_packages_of_extras(monkeypatch):
    monkeypatch.setitem(sys.modules, "geometry_aware_pose.hugging_face", None)  # as where huggingface_hub is missing
    names: dict = {}
    exec("from geometry_aware_pose import *", names)
    assert callable(names["pose_from_crop"])
