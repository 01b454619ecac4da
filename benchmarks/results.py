"""Files of measured figures."""

import json
from pathlib import Path

from utils.files import write_atomically
from utils.paths import ROOT

FOLDER = ROOT / "output" / "benchmarks"


def write_results(path: Path, results: dict) -> None:
    """Write nested dictionaries of figures as JSON, atomically, and print the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda part: part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8"))
    print(f"written: {path}")
