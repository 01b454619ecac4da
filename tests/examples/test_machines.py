"""Files for other machines: what they run exists here. They themselves are not run here."""

import re

import yaml

from tests.tiny import ROOT
from utils.commands import COMMANDS, PROGRAM


def test_workflow_runs_scripts_commands_and_tests_that_exist():
    text = (ROOT / ".github/workflows/smoke.yml").read_text()
    assert "NOT RUN HERE" in text
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert job["strategy"]["matrix"]["os"] == ["windows-latest", "macos-latest"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    for path in re.findall(r"(?:configs|tests|examples)/\S+", " ".join(commands)):
        assert (ROOT / path).exists(), path
    for name in re.findall(rf"{PROGRAM} ([a-z]\S*)", " ".join(commands)):
        assert name in COMMANDS


def test_pre_commit_checks_what_lint_checks():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"] for repository in config["repos"] for hook in repository["hooks"]}
    assert {"ruff", "ruff-format"} <= hooks


def test_dockerfile_installs_extras_that_exist_and_starts_the_command():
    text = (ROOT / "Dockerfile").read_text()
    (extras,) = re.findall(r'-e "\.\[(.*)\]"', text)
    project = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))
    assert f'ENTRYPOINT ["{PROGRAM}"]' in text
