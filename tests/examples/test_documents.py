"""README and docs: their Python runs as typed, and their links and scripts exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import ROOT, TIMEOUT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_quickstart_of_the_readme_runs_as_typed():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(1, 17, 3)\n"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 9_000


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{relative(document)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)", linked.read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_scripts_and_files_that_are_named_exist(document):
    text = document.read_text()
    for script in re.findall(r"(?:python|torchrun \S+) ((?:configs|benchmarks|examples)/\S+\.py)", text):
        assert (ROOT / script).is_file(), f"{relative(document)} names {script}"
