"""Ctrl-C and SIGTERM end a command with one line and a code, at whatever moment they come."""

import ast
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.tiny import ROOT, TIMEOUT
from utils.interrupts import Terminated, finishing

ENDS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
WHEN = {
    "while it works": "def main(): hit()",
    "while a module is imported, which swallows it": "def main(): import swallowing",
    "while it is being reported by a library as something else": """
        def main():
            try:
                hit()
            except BaseException:
                raise RuntimeError("a worker is gone")
        """,
    "while what the first one stopped is cleaned up": """
        def main():
            try:
                hit()
            finally:
                hit()
        """,
    "twice, and the first one was swallowed": """
        def main():
            try:
                hit()
            except BaseException:
                pass
            hit()
        """,
    "in a destructor, which swallows it": """
        import time
        class Thing:
            def __del__(self): hit()
        def main():
            Thing()
            time.sleep(30)
        """,
    "in a destructor, and again while that is noted": """
        import threading, time
        start = threading.Timer.start
        def slowly(timer):
            start(timer)
            threading.Timer.start = start
            time.sleep(1)
        class Thing:
            def __del__(self): hit()
        def main():
            threading.Timer.start = slowly
            Thing()
            time.sleep(30)
        """,
    "after the work is done": """
        import atexit
        def main(): atexit.register(hit)
        """,
    "after an error was reported": """
        import atexit
        def main():
            atexit.register(hit)
            hit()
        """,
    "while output waits to be written": """
        def main():
            print("some output")
            hit()
        """,
}


def run_code(code: str, folder: Path, **options) -> subprocess.CompletedProcess:
    """Run `code` with a function `hit` that sends `sign` to its own process: no test depends on the time it takes."""
    code = (
        "import os, signal, sys\n"
        "from utils.errors import UserError, run_script\n"
        # A test run in the background has Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def hit(): os.kill(os.getpid(), int(sys.argv[1]))\n" + textwrap.dedent(code) + "\nrun_script(main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    command = [sys.executable, "-c", code, str(int(options.pop("sign", signal.SIGINT)))]
    options = {"stderr": subprocess.PIPE, **options}
    return subprocess.run(command, env=environment, text=True, timeout=TIMEOUT, **options)


@pytest.mark.parametrize(("sign", "code", "line"), ENDS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("when", WHEN)
def test_one_line_and_a_code(sign, code, line, when, tmp_path):
    (tmp_path / "swallowing.py").write_text(
        f"import os\ntry:\n    os.kill(os.getpid(), {int(sign)})\nexcept BaseException:\n    pass\n"
    )
    result = run_code(WHEN[when], tmp_path, sign=sign, stdout=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (code, f"{line}\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_readers_leave_ctrl_c_to_their_parent(tmp_path):
    code = """
        def main():
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), signal.SIGINT)
                os._exit(7)
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    assert run_code(code, tmp_path).returncode == 7


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="the system has no SIGCHLD")
def test_readers_that_are_stopped_at_the_end_raise_nothing_after_the_last_line(tmp_path):
    code = """
        import multiprocessing, time
        def handler(*_): raise RuntimeError("a reader was killed")
        def main():
            signal.signal(signal.SIGCHLD, handler)  # as PyTorch does
            multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()
            raise UserError("size is 0")
        """
    result = run_code(code, tmp_path)
    assert (result.returncode, result.stderr) == (2, "error: size is 0\n")


@pytest.mark.parametrize(
    ("sign", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)], ids=["SIGINT", "SIGTERM"]
)
def test_what_is_to_be_finished_stops_by_itself_and_a_second_one_raises(sign, error):
    def handler(*_):
        raise error

    before = [signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)]
    stopped = []
    with finishing(lambda: stopped.append(True)) as interrupts:
        os.kill(os.getpid(), sign)
        assert interrupts == [error] and stopped == [True]
        with pytest.raises(error):
            os.kill(os.getpid(), sign)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == [handler, handler] != before


def test_scripts_import_what_is_slow_when_they_can_be_interrupted():
    """Before `run_script`, Ctrl-C would end in a traceback: seconds of imports belong into `main`."""
    for path in sorted((ROOT / "configs").glob("*.py")):
        tree = ast.parse(path.read_text())
        if "run_script" not in {name.name for node in tree.body if hasattr(node, "names") for name in node.names}:
            continue
        modules = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
        modules += [name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names]
        ours = {module for module in modules if module.split(".")[0] not in sys.stdlib_module_names}
        assert ours and all(module.startswith(("configs", "utils.")) for module in ours), (path.name, ours)
    code = "import sys, configs.demo, configs.experiments, configs.command_line; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "False\n"


PRINTS = {
    "much": "def main(): [print('a line of output') for _ in range(10_000)]",
    "little": "def main(): print('a line of output')",
    "help": "def main(): print('help'), sys.exit()",
}


@pytest.mark.parametrize("prints", PRINTS)
def test_a_reader_that_has_enough_ends_it_silently(prints, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        result = run_code(PRINTS[prints], tmp_path, stdout=output)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("prints", PRINTS)
def test_output_that_cannot_be_written_is_one_line(prints, tmp_path):
    with open("/dev/full", "w") as full:
        result = run_code(PRINTS[prints], tmp_path, stdout=full)
        assert run_code(PRINTS[prints], tmp_path, stdout=full, stderr=full).returncode == 2
    assert result.returncode == 2 and result.stderr == (
        "error: cannot write to standard output: No space left on device\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="numbers of open files are POSIX's")
def test_no_file_gets_what_is_printed_to_a_closed_output(tmp_path):
    code = f"""
        def main():
            with open({str(tmp_path / "file")!r}, "w") as file:
                print("lost")
                print("lost", file=sys.stderr)
                os.write(1, b"lost"), os.write(2, b"lost")
                file.write("kept")
        """
    result = run_code(code, tmp_path, preexec_fn=lambda: os.closerange(0, 3), stderr=None)
    assert result.returncode == 0 and (tmp_path / "file").read_text() == "kept"
