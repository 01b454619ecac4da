"""The command line that the training and test scripts share."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

from utils.config import load_config


def config_arguments(
    doc: str, default: str, resume: bool = False, extend: Callable[[argparse.ArgumentParser], None] | None = None
) -> tuple[argparse.Namespace, dict, frozenset[str]]:
    """Parse a script's command line: the arguments, the checked config, and the keys that the user gave.

    `default` is the module in configs/ that holds the default config, and every key that is known.
    """
    summary, _, usage = doc.partition("\n\n")
    parser = argparse.ArgumentParser(description=summary, epilog=usage)
    parser.add_argument("--config", metavar="FILE", help=f"Python file with config_dict (default: {default}.py)")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:1 or mps; same as device=D")
    if resume:
        parser.add_argument("--resume", action="store_true", help="continue the run of this config")
    if extend:
        extend(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change one key of the config")
    arguments = parser.parse_intermixed_args()
    if arguments.device:
        arguments.overrides.append(f"device={arguments.device}")
    module = importlib.import_module(f"configs.{default}")
    path = arguments.config or Path(__file__).with_name(f"{default}.py")
    config, said = load_config(path, arguments.overrides, module.config_dict, module.optional_keys)
    return arguments, config, frozenset(said)
