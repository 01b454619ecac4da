"""Optional curves in a visdom window; nothing where its package or its server is missing."""

import contextlib
import logging


class VisdomCurves:
    """Curves on the visdom server of this machine, in an environment that is named after the run."""

    def __init__(self, name: str, server: str = "http://localhost", port: int = 8097):
        self.client = None
        try:
            import visdom
        except ImportError:
            return
        # visdom prints a traceback for every failed request.
        logging.getLogger("visdom").setLevel(logging.CRITICAL)
        with contextlib.suppress(Exception):
            client = visdom.Visdom(server=server, port=port, env=name, raise_exceptions=True, log_to_filename=None)
            if client.check_connection(timeout_seconds=1):
                self.client = client

    def add(self, window: str, iteration: int, values: dict[str, float]) -> None:
        """Append one point to each curve of a window. Where the server is gone, nothing is sent any more."""
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
            # Whatever went wrong there, the training is worth more than its curves.
            self.client = None
