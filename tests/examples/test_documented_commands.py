"""Every command that the pages, the notebooks and the scripts' own help show is one that its script takes."""

import argparse
import ast
import importlib
import io
import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from configs import command_line
from geometry_aware_pose.cli import find
from tests.examples.test_documents import DOCUMENTS, relative
from tests.tiny import ROOT
from utils.commands import PROGRAM
from utils.config import check_config, load_config, parse_override
from utils.errors import UserError

FOLDERS = ("configs", "benchmarks", "examples")
FILES = {path.stem: path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py"))}
SCRIPTS = {name: f"{path.parent.name}.{name}" for name, path in FILES.items() if "run_script(main)" in path.read_text()}
SHOWN = [
    *(path for path in DOCUMENTS if path.name != "CHANGELOG.md"),  # which has options of the past
    *sorted((ROOT / "examples").glob("*.ipynb")),
    *FILES.values(),
]
STARTED = rf"(?:python|torchrun(?: --\S+)*) (?:{'|'.join(FOLDERS)})/(\w+)\.py"
COMMAND = re.compile(rf"(?<![\w./-])(?:{STARTED}|{PROGRAM} ([a-z0-9-]+)|(\w+)\.py)(?![\w./-])")
FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"[A-Z]+(/[A-Z]+)?")  # N, I/N


class Command(NamedTuple):
    """A command as it is shown. `whole`: nothing is left out, so that it is to be parsed as it stands."""

    script: str
    words: list[str]
    whole: bool


def code_in(path: Path) -> Iterator[str]:
    """Lines of code blocks, joined with what continues them, and code within sentences."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    elif path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    text = re.sub(r" *\\\n *", " ", text)
    prose = FENCED.sub("", text)
    if path.suffix == ".py":
        # Usage and examples are not marked as code.
        lines = re.sub(r"`[^`]*`", "", text).splitlines()
        yield from (line for line in lines if re.search(rf"\b(python|torchrun|{PROGRAM}) ", line))
    else:
        blocks = FENCED.findall(text) + re.findall(r"(?:^ {4}.*\n?)+", prose, flags=re.MULTILINE)
        yield from "\n".join(blocks).splitlines()
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


def commands_in(path: Path) -> Iterator[Command]:
    for line in code_in(path):
        if not (match := COMMAND.search(line)):
            continue
        script, command, abbreviated = match.groups()
        before = []
        if command:
            script, before = find(command).script, [*find(command).arguments]
        if not script and abbreviated not in FILES:
            continue
        # What follows wide spaces is a remark.
        rest = re.split(r" {3,}|;| (?:&&|\|) ", line[match.end() :])[0]
        optional = re.compile(r"(?<!\S)\[|\](?!\S)")
        words = shlex.split(optional.sub("", rest), comments=True)
        words = [*before, *(word for word in words if word != "..." and not word.startswith("$"))]
        yield Command(script or abbreviated, words, whole=bool(script) and not optional.search(rest))


class Parsing(Exception):
    """Ends a script where it begins to parse; carries its parser."""


@cache
def parser_of(script: str, scenes: bool = False) -> argparse.ArgumentParser:
    """The parser that a script makes. `scenes`: view_in_browser.py looks for --scenes before it makes one."""

    def stop(parser, *_):
        raise Parsing(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script] + ["--scenes"] * scenes)
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(argparse.ArgumentParser, "parse_intermixed_args", stop)
        with pytest.raises(Parsing) as parsing:
            importlib.import_module(SCRIPTS[script]).main()
    return parsing.value.args[0]


def parse(script: str, words: list[str]) -> None:
    """Parse a command as its script does, and check its keys. SystemExit or UserError where it would refuse them."""
    if script == "experiments":
        experiments = importlib.import_module(SCRIPTS[script])
        given = experiments.parse_arguments(words)
        experiments.read_suite(given.suite)
        check_config(dict(parse_override(re.sub(r"^stage[12]\.", "", word)) for word in given.overrides))
        return
    parser = parser_of(script, "--scenes" in words)
    given = parser.parse_intermixed_args(words)
    keys = parser._option_string_actions.get("--keys")
    if keys:
        defaults = importlib.import_module(f"configs.{keys.const}").config_dict
        # A file in no folder is one that the page shows, for users to write.
        files = [ROOT / file for file in given.config if "/" in file]
        load_config(files, given.overrides, defaults)
    elif script == "adaptation":
        check_config(dict(map(parse_override, given.changes)))


def wrong_commands(path: Path) -> Iterator[str]:
    """A line for each command on a page that its script does not take."""
    for script, words, whole in commands_in(path):
        shown = shlex.join([script, *words])
        if script not in SCRIPTS:
            if script not in FILES:
                yield f"{shown}: no such script"
            continue
        known = parser_of(script, "--scenes" in words)._option_string_actions
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        if unknown := [option for option in options if option not in known]:
            yield f"{shown}: no option {', '.join(unknown)}"
        elif whole:
            told = io.StringIO()
            try:
                with redirect_stderr(told):
                    parse(script, words)
            except (SystemExit, UserError) as error:
                yield f"{shown}: {told.getvalue().strip() or error}"


@pytest.fixture(autouse=True)
def placeholders(monkeypatch):
    """Numbers may be placeholders, such as N."""
    number = command_line._number

    def lenient(kind, expected, word):
        return kind(1) if PLACEHOLDER.fullmatch(word) else number(kind, expected, word)

    monkeypatch.setattr(command_line, "_number", lenient)
    yield
    parser_of.cache_clear()


@pytest.mark.parametrize("path", SHOWN, ids=relative)
def test_commands_that_are_shown_are_taken(path):
    assert list(wrong_commands(path)) == []


PAGE = """Run `python configs/pack_dataset.py DIR`, or `render_dataset.py --crop 3`, not `python configs/render.py`.

| table | `python configs/experiments.py labels stage1.latentfg=3 --seeds N` |

```
torchrun --nproc_per_node=4 configs/train_encodeDecode.py latent_fg=-3   # a remark
geometry-aware-pose browse-scenes --index \\
    x       remark
python configs/test_encodeDecode.py [--saved FILE] network_path=...
python configs/prepare_ski.py --source DIR
```

    python benchmarks/adaptation.py DIR RENDERED every=2
"""


def test_wrong_commands_are_found(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    expected = [
        "train_encodeDecode latent_fg=-3: config key 'latent_fg' is -3; ",
        "view_in_browser --scenes --index x: error: --index is 'x'; expected a whole number",
        "test_encodeDecode --saved FILE network_path=...: no option --saved",
        "prepare_ski --source DIR: error: the following arguments are required: --output",
        "adaptation DIR RENDERED every=2: unknown config key 'every'; ",
        "render_dataset --crop 3: no option --crop",
        "render: no such script",
        "experiments labels stage1.latentfg=3 --seeds N: unknown config key 'latentfg'; ",
    ]
    for found, beginning in zip(wrong_commands(tmp_path / "page.md"), expected, strict=True):
        assert found.startswith(beginning)
