"""Run the example notebooks, and keep in them what they print and paint; to be done when the weights change.

python examples/run_notebooks.py [NOTEBOOK ...]     (default: all; needs `pip install -e .[notebook]`)
"""

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from utils.errors import run_script
from utils.files import write_atomically

_WIDGET = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    about, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=usage)
    parser.add_argument("notebooks", metavar="NOTEBOOK", nargs="*", help="default: all in examples/")
    paths = [Path(name) for name in parser.parse_args().notebooks] or sorted(FOLDER.glob("*.ipynb"))
    import nbformat
    from tqdm import tqdm

    for path in tqdm(paths, unit="notebook"):
        notebook = nbformat.read(path, as_version=4)
        execute(notebook)
        lighten(notebook)
        write_atomically(path, lambda part, notebook=notebook: nbformat.write(notebook, part))


def execute(notebook, timeout: int = 600) -> None:
    """Run all cells of `notebook` in examples/, in place; a cell that fails or takes longer (s) is an error."""
    from nbclient import NotebookClient

    where = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=where, record_timing=False).execute()


def lighten(notebook) -> None:
    """Drop what only a running notebook can show, in place: widgets, and the progress bars of the error stream."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr" and _WIDGET not in output.get("data", {})
            ]


if __name__ == "__main__":
    run_script(main)
