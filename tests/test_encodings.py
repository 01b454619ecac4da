"""Text files are UTF-8 on every machine: what reads and writes them says so, since locales differ."""

import ast

from tests.tiny import ROOT

PACKAGES = ("benchmarks", "configs", "datasets", "examples", "geometry_aware_pose", "models", "training", "utils")


def opens_text(call: ast.Call) -> bool:
    """Whether `call` is open(path, mode), path.open(mode), path.read_text() or path.write_text(text)."""
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if method else getattr(call.func, "id", None)
    if method and name in ("read_text", "write_text"):
        return True
    # Other modules' open(), such as Image.open(path), have no mode first, or options of their own.
    modes = call.args if method else call.args[1:]
    constant = all(isinstance(mode, ast.Constant) and "b" not in str(mode.value) for mode in modes)
    return name == "open" and constant and {key.arg for key in call.keywords} <= {"encoding", "errors", "newline"}


def test_text_files_are_read_and_written_in_utf_8():
    unsaid, said = [], 0
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and opens_text(node):
                says = any(key.arg == "encoding" for key in node.keywords)
                said += says
                unsaid += [] if says else [f"{path.relative_to(ROOT)}:{node.lineno}"]
    assert not unsaid and said > 20
