"""Files of measured figures."""

import json
from pathlib import Path

from utils.files import write_text
from utils.paths import ROOT

FOLDER = ROOT / "output" / "benchmarks"


def write_results(path: Path, results: dict) -> None:
    """Write nested dictionaries of figures as JSON, atomically, and print the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(results, indent=2) + "\n")
    print(f"written: {path}")
