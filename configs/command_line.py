"""Command lines: what all scripts share, and the config that training and test scripts take."""

import argparse
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from utils.commands import as_started
from utils.config import config_text, keys_text, load_config
from utils.errors import UserError, plain_text
from utils.paths import WORK


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of description and epilog, and shows the default of each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default, told = action.default, action.required or "default" in (action.help or "")
        if told or default in (None, [], argparse.SUPPRESS) or isinstance(default, bool):
            return action.help
        shown = " ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
        shown = shown.removeprefix(f"{WORK}/").replace("%", "%%")
        return f"{action.help} (default: {shown})" if shown else action.help


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the scripts do, and takes `--option=~/folder`, which shells leave as it is."""

    def __init__(self, **options):
        super().__init__(**options)
        self.register("type", int, partial(_number, int, "a whole number"))
        self.register("type", float, partial(_number, float, "a number"))

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([_expanded(word) for word in words], namespace)

    def error(self, message: str) -> NoReturn:
        line = message.removeprefix("argument ").replace(": is ", " is ", 1)
        if line.startswith("unrecognized"):
            line += "; expected what --help lists"
        self.exit(2, f"error: {plain_text(line)}\n")


def _number(kind: type, expected: str, word: str) -> int | float:
    try:
        return kind(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {word!r}; expected {expected}") from None


def _expanded(word: str) -> str:
    """ "~/folder" and "--option=~/folder" with the folder of the user."""
    option, path = re.fullmatch(r"(--[\w-]+=)?(.*)", word, re.DOTALL).groups()
    return (option or "") + os.path.expanduser(path) if path.startswith("~/") else word


def script_parser(doc: str, **options) -> argparse.ArgumentParser:
    """The parser of a script, whose docstring `doc` has a summary and, after an empty line, usage and examples.

    `--help` shows both as they are written, and the default of each option: `help=` need not name it.
    """
    summary, _, usage = as_started(doc).partition("\n\n")
    # In full only, because view_in_browser.py looks for --scenes before it parses.
    return _Parser(description=summary, epilog=usage, formatter_class=_Help, allow_abbrev=False, **options)


def add_output_argument(parser: argparse._ActionsContainer) -> None:
    """--output of the scripts that write a training layout. Relative to the current folder, as any command's files."""
    help_output = "folder to write, relative to the current one; new, or that of an interrupted call"
    parser.add_argument("--output", required=True, metavar="DIR", help=help_output)


def defaults_of(function: Callable) -> dict[str, Any]:
    """The defaults of the parameters of `function`, by name: those of the options of its script."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def add_layout_arguments(
    parser: argparse._ActionsContainer,
    *,
    size: int | None = None,
    every: int | None = None,
    box_metres: float | None = None,
    background: bool = False,
    statistics: bool = True,
    workers: bool = True,
) -> None:
    """Options that the scripts which write a training layout have in common; None or False leaves one out.

    `size`, `every`, `box_metres` are the defaults of --size, --every and --box-metres; `background`: --no-background.
    """
    if every is not None:
        parser.add_argument("--every", type=int, default=every, metavar="N", help="use every N-th frame")
    if size is not None:
        parser.add_argument("--size", type=int, default=size, metavar="PIXELS", help="side of a crop")
    if box_metres is not None:
        help_box = "width of a crop at the person's distance, meters"
        parser.add_argument("--box-metres", type=float, default=box_metres, metavar="METERS", help=help_box)
    if background:
        help_background = "write no images of the empty background"
        parser.add_argument("--no-background", dest="background", action="store_false", help=help_background)
    if statistics:
        help_statistics = "take pose_mean and pose_std from this training set (for a test set)"
        parser.add_argument("--statistics", metavar="DIR", help=help_statistics)
    if workers:
        parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")


def add_subject_arguments(parser: argparse._ActionsContainer, splits: Mapping[str, Sequence[int]]) -> None:
    """--split and --subjects. splits: the subjects of each split."""
    help_splits = "; ".join(f"{split}: subjects {' '.join(map(str, subjects))}" for split, subjects in splits.items())
    parser.add_argument("--split", default="train", metavar="NAME", help=help_splits)
    parser.add_argument("--subjects", type=int, nargs="+", metavar="N", help="these subjects instead of a split's")


class _PrintKeys(argparse.Action):
    """Print the keys of the config module `const` and exit, as --help does: whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, *_) -> None:
        print(keys_text(importlib.import_module(f"configs.{self.const}").config_dict))
        parser.exit()


def config_arguments(
    doc: str,
    default: str,
    resume: bool = False,
    extend: Callable[[argparse.ArgumentParser], None] | None = None,
    own_network: bool = False,
) -> tuple[argparse.Namespace, dict, frozenset[str]]:
    """Parse a script's command line: the arguments, the checked config, and the keys that the user gave.

    `default` is the module in configs/ that holds the default config, and with it the keys that the script knows.
    `own_network`: UserError where the user gave no `network_path`, which is then that of a packaged example.
    """
    parser = script_parser(doc)
    help_config = f"Python file that defines config_dict (default: {default}.py); may be repeated, later files win"
    parser.add_argument("--config", metavar="FILE", action="append", default=[], help=help_config)
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:1 or mps; same as device=D")
    if resume:
        parser.add_argument("--resume", action="store_true", help="continue the run of this config")
    if extend:
        extend(parser)
    parser.add_argument("--keys", action=_PrintKeys, nargs=0, const=default, help="list all keys of the config")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config, as a config file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change one key of the config")
    # Plain parsing would refuse a key=value after an option that follows another key=value.
    arguments = parser.parse_intermixed_args()
    if arguments.device is not None:
        arguments.overrides.append(f"device={arguments.device}")
    defaults = importlib.import_module(f"configs.{default}").config_dict
    config, given = load_config(arguments.config, arguments.overrides, defaults)
    if arguments.print_config:
        print(config_text(config))
        sys.exit()
    if own_network and "network_path" not in given:
        raise UserError("network_path is not given; expected network_path=RUN_FOLDER or a file of weights")
    return arguments, config, frozenset(given)


def typed_keys(arguments: argparse.Namespace) -> list[str]:
    """The keys that the command line itself gives. Files may be of a training, and have more than a script reads."""
    return [text.partition("=")[0] for text in arguments.overrides]


def check_tested(arguments: argparse.Namespace, config: Mapping[str, object]) -> None:
    """UserError where the command line of a test gives `actor_subset`, as if that chose whom it tests."""
    if "actor_subset" in typed_keys(arguments):
        raise UserError(
            f"actor_subset is {config['actor_subset']}, which chooses whom to train on; expected none, because tests "
            "are on all of dataset_folder_test (of one person, evaluation.csv has rows for each subject)"
        )


def print_unread(arguments: argparse.Namespace, unread: Container[str]) -> None:
    """Print which keys that the command line gives are among those `unread`, which stage 2 has and does not read."""
    # No error: a run that was made with them resumes with them, because they are part of what it is.
    if keys := [key for key in typed_keys(arguments) if key in unread]:
        print(f"without effect in stage 2: {', '.join(keys)}")
