"""Installing harms nobody: our wheel beside a stand-in for Hugging Face's `datasets`, in a scratch environment."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import geometry_aware_pose
from tests.tiny import ROOT, TIMEOUT

NAME = "geometry_aware_pose"
NOT_SOURCE = shutil.ignore_patterns(".*", "output", "data", "build", "dist", "*.egg-info", "__pycache__", "tests")


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert result.returncode == 0, result.stdout + result.stderr


class Environment:
    """A virtual environment. It sees this interpreter's libraries, except while pip works on it."""

    def __init__(self, folder: Path):
        venv.create(folder / "venv", symlinks=True)
        self.bin = folder / "venv" / "bin"
        (self.site,) = (folder / "venv").glob("lib/python*/site-packages")
        self.empty = folder / "empty"
        self.empty.mkdir()
        self._libraries = self.site / "libraries.pth"
        # Lines of a .pth file are not site folders themselves: the editable installation of this checkout stays out.
        self._folders = "\n".join(folder for folder in sys.path if folder.endswith("-packages"))

    def pip(self, *arguments):
        self._libraries.unlink(missing_ok=True)
        pip("--python", self.bin / "python", *arguments)

    def run(self, *command) -> subprocess.CompletedProcess:
        """Run a command of this environment in an empty folder."""
        self._libraries.write_text(self._folders)
        program, *arguments = map(str, command)
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        variables |= {"PYTHONDONTWRITEBYTECODE": "1"}
        line = [str(self.bin / program), *arguments]
        return subprocess.run(line, cwd=self.empty, env=variables, capture_output=True, text=True, timeout=TIMEOUT)

    def output(self, *command) -> str:
        result = self.run(*command)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def files(self) -> set[str]:
        """Everything in site-packages."""
        found = (path.relative_to(self.site) for path in self.site.rglob("*") if path != self._libraries)
        return {str(path) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what git holds, because a build writes into its source folder."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "tree", ignore=NOT_SOURCE)


@pytest.fixture(scope="module")
def build(source, tmp_path_factory):
    """A function: "wheel" or "editable" -> our wheel of that kind, built without a network if setuptools is here."""
    try:
        new_enough = int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        new_enough = False
    python = sys.executable
    if not new_enough:
        builder = tmp_path_factory.mktemp("builder")
        venv.create(builder, symlinks=True)
        python = builder / "bin" / "python"
        pip("--python", python, "install", "-q", "setuptools>=77")

    def build_wheel(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
        result = subprocess.run([python, "-c", code], cwd=source, capture_output=True, text=True, timeout=TIMEOUT)
        assert result.returncode == 0, result.stderr
        (path,) = folder.iterdir()
        return path

    return build_wheel


@pytest.fixture(scope="module")
def wheel(build):
    return build("wheel")


@pytest.fixture(scope="module")
def their_wheel(tmp_path_factory):
    """A distribution with a top-level package `datasets`, as Hugging Face's has."""
    path = tmp_path_factory.mktemp("theirs") / "hf_stand_in-1.0-py3-none-any.whl"
    files = {
        "datasets/__init__.py": "from datasets.load import load_dataset\n",
        "datasets/load.py": "def load_dataset():\n    return 'theirs'\n",
        "hf_stand_in-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: hf-stand-in\nVersion: 1.0\n",
        "hf_stand_in-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "hf_stand_in-1.0.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_the_wheel_holds_one_package_with_code_and_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info = f"{NAME}-{geometry_aware_pose.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {NAME, info}
    tracked = {
        str(path.relative_to(ROOT))
        for folder in (*geometry_aware_pose.PACKAGES, "examples/weights", "examples/sample_set")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked <= {name.removeprefix(f"{NAME}/") for name in names}
    assert f"{NAME}/py.typed" in names and not [name for name in names if name.endswith(".pyc")]
    # Weights 32 MB (8 of them of several people), the detector 9, frames 1.
    assert wheel.stat().st_size < 44e6


def test_one_version():
    version = geometry_aware_pose.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == version


THEIRS = "import datasets; print(datasets.load_dataset())"

THEIRS_FIRST = "import datasets\nimport geometry_aware_pose"

OURS = """
import sys
import geometry_aware_pose
assert "torch" not in sys.modules
from datasets import MultiViewDataset
import models
from geometry_aware_pose.models import build_network
network = geometry_aware_pose.encode_decode(weights=None, inputDimension=64, encoderType="ResNet18")
sample_set = MultiViewDataset(geometry_aware_pose.ROOT / "examples" / "sample_set", keys=("img_crop",))
poses = geometry_aware_pose.pose_from_crop("wild128", device="cpu")(sample_set[0]["img_crop"])
print(build_network is models.build_network, network.size, poses.shape)
# what only trainings need, and seconds of a start
assert not {"ignite", "torchvision", "torch._dynamo", "matplotlib"} & set(sys.modules)

import torch
try:
    torch.hub.load(sys.argv[1], "encode_decode", source="local")
except ImportError as error:
    print(error)
"""


def test_install_use_both_uninstall(wheel, their_wheel, tmp_path):
    environment = Environment(tmp_path)
    environment.pip("install", "-q", "--no-deps", "--no-index", wheel)
    environment.pip("install", "-q", "--no-deps", "--no-index", their_wheel)
    installed = environment.files()

    assert environment.output("python", "-c", THEIRS) == "theirs\n"
    used, another_copy = environment.output("python", "-c", OURS, ROOT).splitlines()
    assert used == "True 64 (1, 17, 3)"
    assert another_copy.startswith("another copy of geometry_aware_pose is imported already")
    refused = environment.run("python", "-c", THEIRS_FIRST)
    assert refused.returncode == 1
    line = f"ImportError: another package 'datasets' is imported already, from '{environment.site}/datasets'"
    assert line in refused.stderr.splitlines()[-1]

    printed = environment.output("geometry-aware-pose", "test", "device=cpu", "num_workers=0")
    (table,) = environment.empty.rglob("evaluation.csv")
    assert table.relative_to(environment.empty).parts[0] == "output" and "N-MPJPE" in printed
    assert environment.files() == installed

    environment.pip("uninstall", "-q", "-y", "geometry-aware-pose")
    assert environment.output("python", "-c", THEIRS) == "theirs\n"
    left = {name.split("/")[0] for name in environment.files()}
    assert left == {"datasets", "hf_stand_in-1.0.dist-info"}
    assert not list(environment.bin.glob("geometry*"))


EDITABLE = f"""
from importlib.util import find_spec
print([name for name in {geometry_aware_pose.PACKAGES} if find_spec(name)])
import geometry_aware_pose, models
print(models.__file__)
"""


def test_an_editable_installation_adds_one_name_too(build, source, tmp_path):
    environment = Environment(tmp_path)
    environment.pip("install", "-q", "--no-deps", "--no-index", build("editable"))
    none, file = environment.output("python", "-c", EDITABLE).splitlines()
    assert none == "[]" and Path(file) == source / "models" / "__init__.py"
    assert environment.output("geometry-aware-pose", "--version").split()[1] == geometry_aware_pose.__version__
