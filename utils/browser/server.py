"""Starts and stops viser's server."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from utils.commands import install_extra
from utils.errors import UserError
from utils.files import check_writable

if TYPE_CHECKING:
    from viser import ViserServer

HOST, PORT = "localhost", 8080
TITLE = "Novel views and 3D poses"


@contextmanager
def server_at(host: str = HOST, port: int = 0) -> "Iterator[ViserServer]":
    """A server of viser, stopped at the end. `port` 0: any free one. UserError without viser or a free port."""
    require_viser()
    from viser import ViserServer

    _check_address(host, port)
    # It greets and takes leave on standard output, also where only a file is written.
    with redirect_stdout(StringIO()):
        server = ViserServer(host=host, port=port, label=TITLE, verbose=False)
    try:
        yield server
    finally:
        sys.stdout.flush()
        with redirect_stdout(StringIO()):
            server.stop()


def require_viser() -> None:
    """UserError where viser is not installed."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise UserError(f"the viewer in the browser needs the package 'viser': {install_extra('browser')}") from error


def check_page_path(path: str | os.PathLike) -> None:
    """UserError for a name that a page cannot have, OSError where it cannot be written."""
    if Path(path).suffix not in (".html", ".htm"):
        raise UserError(f"cannot save the page to {str(path)!r}; expected a name that ends in .html")
    check_writable(path)


def _check_address(host: str, port: int) -> None:
    # viser would take the next free port, and the user would look at what another program shows.
    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; expected 0 (any free port) to 65535")
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); expected an address of this machine and a "
            "free port: --port 0 takes any"
        ) from error
