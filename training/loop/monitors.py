"""Optional curves in a visdom window; silent where its package or its server is not there."""

import contextlib
import logging


class VisdomCurves:
    """Sends curves to the visdom server on this machine, under an environment named after the run."""

    def __init__(self, name: str, server: str = "http://localhost", port: int = 8097):
        self.client = None
        try:
            import visdom
        except ImportError:
            return
        # visdom prints a traceback for every failed request
        logging.getLogger("visdom").setLevel(logging.CRITICAL)
        with contextlib.suppress(Exception):
            client = visdom.Visdom(server=server, port=port, env=name, raise_exceptions=True, log_to_filename=None)
            if client.check_connection(timeout_seconds=1):
                self.client = client

    def add(self, window: str, iteration: int, values: dict[str, float]) -> None:
        """Append one point to each curve of a window; a server that goes away ends the curves."""
        if self.client is None:
            return
        try:
            for name, value in values.items():
                self.client.line(
                    [value],
                    [iteration],
                    win=f"{window}_{name}",
                    update="append",
                    opts={"title": f"{window} {name}", "xlabel": "iteration"},
                )
        except Exception:
            self.client = None
