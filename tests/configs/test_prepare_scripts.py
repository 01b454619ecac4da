"""Command lines of the scripts that prepare, check and pack data sets: no option gets lost, and help can be read."""

import importlib
import re
import sys

import pytest

LAYOUT = {"--output", "--size", "--statistics", "--box-metres"}
OPTIONS = {
    "prepare_h36m": LAYOUT - {"--box-metres"}
    | {"--source", "--split", "--subjects", "--every", "--metadata", "--skip-shifted", "--skip-broken", "--workers"},
    "prepare_3dhp": LAYOUT
    | {"--source", "--split", "--subjects", "--cameras", "--every", "--no-background", "--workers"},
    "prepare_ski": LAYOUT | {"--source", "--split"},
    "prepare_videos": LAYOUT
    | {"--recordings", "--videos", "--calibration", "--boxes", "--poses", "--offsets", "--subject", "--name"}
    | {"--every", "--no-background", "--cut", "--sequence", "--workers"}
    | {"--detect", "--triangulate", "--keep-cameras", "--upright", "--empty", "--frames", "--width"},
    "validate_dataset": set(),
    "pack_dataset": set(),
}


@pytest.fixture(params=OPTIONS)
def help_of(request, monkeypatch, capsys):
    """A script's module and the text of its --help."""
    module = importlib.import_module(f"configs.{request.param}")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", [f"{request.param}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    return request.param, module, capsys.readouterr().out


def test_all_options_are_there(help_of):
    name, _, text = help_of
    assert set(re.findall(r"^  (--[\w-]+)", text, re.MULTILINE)) == OPTIONS[name]


def test_help_shows_the_examples_as_they_are_written(help_of):
    name, module, text = help_of
    examples = module.__doc__.partition("\n\n")[2]
    assert f"python configs/{name}.py" in examples and examples in text


def test_values_have_short_names(help_of):
    _, _, text = help_of
    values = set(re.findall(r"^  --[\w-]+ ([^\s\[]+)", text, re.MULTILINE))
    assert values <= {"DIR", "FILE", "N", "NAME", "PIXELS", "METERS", "V", "camera=N"}
