"""Where the project's own files are, and where its data and runs go."""

from pathlib import Path

# the folder that holds configs/, models/, ... and examples/: a checkout, or the installed package
ROOT = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()

# Default home of data/ and output/. An installed package must not write beside its code: there it is the current folder.
WORK = ROOT if IN_CHECKOUT else Path.cwd()
