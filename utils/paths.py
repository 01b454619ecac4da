"""Where the project's own files are, and where data and runs go by default."""

from pathlib import Path

# This folder holds configs/, models/, examples/, ...: the root of a checkout, or the installed package.
ROOT = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()

# Parent of data/ and output/. An installed package must not write beside its code, and takes the current folder.
WORK = ROOT if IN_CHECKOUT else Path.cwd()

# Weights that come with the code.
WEIGHTS_FOLDER = ROOT / "examples" / "weights"


def packaged_weights(name: str) -> Path:
    """Where the packaged weights `name` are; there may be none."""
    return WEIGHTS_FOLDER / f"{name}.safetensors"
