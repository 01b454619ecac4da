"""The command `geometry-aware-pose`: each subcommand is one script of configs/."""

import difflib
import sys
from importlib import import_module

import geometry_aware_pose
from utils.commands import COMMANDS, PROGRAM, Command
from utils.errors import UserError, run_script


def main() -> None:
    """Entry point of the console command; bad input prints one line and exits 2."""
    run_script(lambda: run(sys.argv[1:]))


def run(arguments: list[str]) -> None:
    """Run the subcommand `arguments[0]` with the remaining arguments."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return
    if arguments[0] == "--version":
        print(f"{PROGRAM} {geometry_aware_pose.__version__}")
        return
    name, *rest = arguments
    command = find(name)
    # The scripts parse sys.argv themselves, and argparse shows its first entry as the program's name.
    sys.argv = [f"{PROGRAM} {name}", *command.arguments, *rest]
    import_module(f"configs.{command.script}").main()


def find(name: str) -> Command:
    """The command of that name; UserError names the nearest one."""
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        expected = f"the nearest is {nearest[0]!r}" if nearest else f"expected one of {', '.join(COMMANDS)}"
        raise UserError(f"unknown command {name!r}; {expected}")
    return COMMANDS[name]


def overview() -> str:
    """What `--help` prints: a line for each command."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [ARGUMENT ...]",
            "",
            "Unsupervised geometry-aware representation learning for 3D human pose, from multi-view video.",
            "",
            "commands:",
            *lines,
            "",
            f"{PROGRAM} COMMAND --help describes a command's arguments; {PROGRAM} --version prints the version.",
        ]
    )
