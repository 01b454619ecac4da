"""Execute the example notebooks and store their outputs; needed when the weights or their code change.

python examples/run_notebooks.py [NOTEBOOK ...]     (default: all; needs `pip install -e ".[notebook]"`)
"""

import asyncio
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from configs.command_line import script_parser
from utils.errors import run_script
from utils.files import write_atomically

_WIDGET = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    parser = script_parser(__doc__)
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
    """Execute all cells of `notebook` in examples/, in place; failing or exceeding `timeout` (s) is an error."""
    from nbclient import NotebookClient

    where = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=where, record_timing=False)
    asyncio.run(_execute(client))


async def _execute(client) -> None:
    waker = asyncio.create_task(_wake_sockets(client))
    try:
        await client.async_execute()
    finally:
        waker.cancel()


async def _wake_sockets(client) -> None:
    """Now and then on a busy machine, pyzmq misses that a message of the kernel has arrived, and the client waits for
    it until its timeout. Asking a socket for its events makes it look again."""
    import zmq

    while True:
        await asyncio.sleep(1)
        for name in ("shell_channel", "iopub_channel") if client.kc else ():
            getattr(client.kc, name).socket.get(zmq.EVENTS)


def lighten(notebook) -> None:
    """Remove what needs a running kernel, in place: widgets, and the progress bars of the error stream."""
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
