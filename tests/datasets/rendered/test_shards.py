"""Sets in shards: merged, they have the bytes that one process writes; what does not belong together is refused."""

import json
import os
import shutil
import sys

import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from configs import render_dataset as script
from datasets.layout import shards as shards_module
from datasets.layout.shards import Shard, merge_shards, parse_shard
from datasets.rendered.dataset import SET_FILE, render_dataset
from datasets.rendered.scenes.dataset import render_frames
from utils.errors import UserError
from utils.locks import writing

CROPS = ["--crops", "32", "--size", "16", "--workers", "1"]
FRAMES = ["--crops", "8", "--frames", "--people-per-scene", "1,2", "--frame-size", "24x16", "--workers", "1"]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["render_dataset.py", *map(str, arguments)])
    script.main()


def contents(root):
    """The bytes of all files of a set."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a set that one process rendered."""
    return contents(render_dataset(tmp_path_factory.mktemp("whole") / "set", 32, 16, workers=1, progress=False))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the two shards of that set."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        for number in (2, 1):
            run(patch, "--output", folder / "set", *CROPS, "--shard", f"{number}/2")
    return folder


@pytest.fixture
def root(made, tmp_path):
    """The place of the set, beside a copy of its shards."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "set"


def test_merged_crops_have_the_bytes_of_one_process(root, whole, monkeypatch, capsys):
    assert not root.exists() and {path.name for path in root.with_name("set.shards").iterdir()} == {"1-of-2", "2-of-2"}
    run(monkeypatch, "--output", root, "--merge")
    assert "merged into" in capsys.readouterr().out
    assert contents(root) == whole and [path.name for path in root.parent.iterdir()] == ["set"]
    run(monkeypatch, "--output", root, "--merge")  # nothing is left to do
    assert contents(root) == whole
    run(monkeypatch, "--output", root, *CROPS, "--shard", "2/2")  # nor for a shard
    assert capsys.readouterr().out.endswith(f"shard 2/2 of 32 crops in {root}\n")
    assert contents(root) == whole and [path.name for path in root.parent.iterdir()] == ["set"]


def test_the_current_folder_is_an_output(root, whole, monkeypatch):
    root.mkdir()
    monkeypatch.chdir(root)
    run(monkeypatch, "--output", ".", "--merge")
    assert contents(root) == whole and [path.name for path in root.parent.iterdir()] == ["set"]


def test_merged_frames_have_the_bytes_of_one_process(tmp_path, monkeypatch):
    single = render_frames(tmp_path / "single", 8, "1,2", (16, 24), workers=1, progress=False)
    for number in (1, 2):
        run(monkeypatch, "--output", tmp_path / "set", *FRAMES, "--shard", f"{number}/2")
    run(monkeypatch, "--output", tmp_path / "set", "--merge")
    run(monkeypatch, "--output", tmp_path / "set", *FRAMES, "--shard", "1/2")
    assert not (tmp_path / "set.shards").exists()
    assert contents(tmp_path / "set") == contents(single)


@pytest.mark.parametrize("step", [1, 4, 9])
def test_an_interrupted_merge_goes_on(root, whole, monkeypatch, step):
    calls, replace = [], os.replace

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == step:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge_shards(root, SET_FILE)
    assert not (root / "labels.h5").exists()
    assert contents(merge_shards(root, SET_FILE)) == whole


def test_a_merge_that_ends_while_it_removes_the_shards_goes_on(root, whole, monkeypatch):
    remove = shutil.rmtree

    def interrupted(folder, **options):
        shards = [path for path in folder.iterdir() if "-of-" in path.name]
        remove(shards[0] if shards else folder, **options)
        if shards:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge_shards(root, SET_FILE)
    (root / ".lock").touch()  # of a call that was killed
    assert contents(merge_shards(root, SET_FILE)) == whole
    assert [path.name for path in root.parent.iterdir()] == ["set"] and not (root / ".lock").exists()


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        (SET_FILE, {"shard": "²/2"}, "shard is"),
        (SET_FILE, {"shard": [1, 2]}, "shard is"),
        (".parts/job.json", {"size": [32]}, r"size \[32\]"),
        (".parts/job.json", {"size": None}, "size None"),
        (".parts/job.json", {"size": 1}, "size is 1; expected"),
        (".parts/job.json", {"size": 32, "layout_version": 2}, "size 32; expected"),
    ],
)
def test_a_damaged_shard_is_one_line_that_names_its_file(root, file, changes, words):
    path = Shard(1, 2).folder(root) / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=f"1-of-2/{file}.*{words}"):
        merge_shards(root, SET_FILE)


def test_a_killed_shard_goes_on_and_is_not_done_before(root, whole, monkeypatch):
    shard = Shard(2, 2).folder(root)
    (shard / "shard.json").unlink()
    lost = sorted((shard / ".parts").glob("*.npz"))[0]
    lost.unlink()
    with pytest.raises(UserError, match="2-of-2 is not finished; run its command again"):
        merge_shards(root, SET_FILE)
    run(monkeypatch, "--output", root, *CROPS, "--shard", "2/2")
    assert lost.exists()
    assert contents(merge_shards(root, SET_FILE)) == whole


def test_what_does_not_belong_together_is_one_line_and_changes_nothing(root, monkeypatch):
    shards = root.with_name("set.shards")
    first, second = (Shard(number, 2).folder(root) for number in (1, 2))

    def refused(words):
        before = contents(root.parent)
        with pytest.raises(UserError, match=words):
            merge_shards(root, SET_FILE)
        assert contents(root.parent) == before and not root.exists()

    with pytest.raises(UserError, match=r"holds a set of .*'seed': 0.* expected .*'seed': 1"):
        run(monkeypatch, "--output", root, *CROPS, "--seed", "1", "--shard", "2/2")
    with writing(second):
        refused("2-of-2 is being written")
    part = sorted((second / ".parts").glob("*.npz"))[0]
    part.rename(part.with_name("kept"))
    refused(f"lacks its piece {part.stem}")
    part.with_name("kept").rename(part)
    (shards / "notes").mkdir()
    refused("notes is no shard of a set, it has no render.json; remove it")
    (shards / "notes").rmdir()
    mark = (second / SET_FILE).read_text()
    (second / SET_FILE).write_text(mark.replace('"seed": 0', '"seed": 5'))
    refused(r"2-of-2 is a shard of another set, of \{'seed': 5\}; expected \{'seed': 0\}, as in .*1-of-2")
    (second / SET_FILE).write_text(mark.replace("2/2", "1/2"))
    refused("2-of-2 holds shard 1/2, as .*1-of-2 does")
    shutil.rmtree(second)
    refused("lacks shard 2/2; render it with --shard, or copy it there")
    shutil.rmtree(first)
    refused("is empty; expected all shards")
    shards.rmdir()
    refused("there is no folder .*expected all shards")


def test_bad_options_are_one_line(root, monkeypatch):
    for text in ("3", "0/4", "5/4", "1/0", "x/2", "1/99999"):
        with pytest.raises(UserError, match=f"shard is '{text}'; expected"):
            parse_shard(text)
    with pytest.raises(UserError, match="--crops given with --merge"):
        run(monkeypatch, "--output", root, *CROPS, "--merge")
    with pytest.raises(UserError, match="preset 'none'"):
        run(monkeypatch, "--output", root, "--preset", "none", "--merge")
