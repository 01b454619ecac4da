"""A set in shards, made by several processes or machines, and merged into the bytes that one process writes.

<root>.shards/3-of-16/         what shard 3 holds: its pieces, as in an unfinished set, and when it is done shard.json
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from datasets.layout.frame_writer import FrameWriter
from datasets.layout.job import claim_folder, holds_set
from datasets.layout.labels import CROPS, LAYOUT_VERSION, PARTS_FOLDER, is_finished
from datasets.layout.pieces import PieceWriter
from datasets.layout.writer import LayoutWriter
from utils.errors import UserError
from utils.files import write_text
from utils.locks import LOCK_FILE, writing
from utils.readers import read_json

SHARD_FILE = "shard.json"  # {"pieces": [key, ...]}, written last
MAX_SHARDS = 10_000
_SHARD = "shard"  # the key of a shard's job that says which one it is


class Shard(NamedTuple):
    """Shard `number` of `count`, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def take(self, groups: Sequence) -> list:
        """Those of all groups of pieces that this shard makes: every `count`-th one."""
        return list(groups[self.number - 1 :: self.count])

    def folder(self, root: Path) -> Path:
        """Where this shard of the set `root` is written."""
        return shards_folder(root) / f"{self.number}-of-{self.count}"


def parse_shard(text: str) -> Shard:
    """A shard such as "3/16". Raises UserError for anything else."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    shard = Shard(*map(int, match.groups())) if match else None
    if shard is None or not 1 <= shard.number <= shard.count <= MAX_SHARDS:
        raise UserError(f"shard is {text!r}; expected a number and how many there are, such as 3/16, from 1/16 on")
    return shard


def shards_folder(root: Path) -> Path:
    """The folder of the shards of the set `root`, beside it."""
    # A path such as "." has no name.
    root = Path(os.path.abspath(root))
    return root.with_name(f"{root.name}.shards")


def is_made(root: Path, file: str, job: dict[str, Any], shard: Shard | None) -> bool:
    """Whether the set `root` is finished, so that nothing is to be made of it, nor of a shard that was merged into it.

    Raises UserError where the folder holds something else.
    """
    # What a killed call has left in a finished set, `claim_folder` removes; a shard is not written there.
    litter = shard is None and (root / PARTS_FOLDER).exists()
    return holds_set(root, file, job) and not litter


def claim_shard(root: Path, file: str, job: dict[str, Any], shard: Shard | None) -> bool:
    """`claim_folder` for the whole set (None), or for one of its shards. Returns whether it is finished already."""
    if shard is None:
        return claim_folder(root, file, job)
    folder = shard.folder(root)
    return claim_folder(folder, file, {**job, _SHARD: str(shard)}) or (folder / SHARD_FILE).exists()


def finish_shard(writer: PieceWriter, shard: Shard | None) -> None:
    """Finish the whole set (None), or mark the shard that `writer` wrote as done."""
    if shard is None:
        writer.finish()
    else:
        done = json.dumps({"pieces": writer.finished_keys})
        write_text(writer.root / SHARD_FILE, done)


def merge_shards(root: str | Path, file: str) -> Path:
    """Make the set `root` of all its shards, which are removed at the end; an interrupted call is resumed by the same.

    file: the name of what marks a folder as a job's. Raises UserError where a shard is missing, not done or being
    written, or belongs to another set; nothing is changed then.
    """
    root = Path(root)
    shards = shards_folder(root)
    with writing(root), ExitStack() as locks:
        merged = root / PARTS_FOLDER
        if not shards.is_dir():
            if not is_finished(root):
                raise UserError(f"there is no folder {str(shards)!r}; expected all shards of the set in it")
            shutil.rmtree(merged, ignore_errors=True)
            return root
        job, folders = _read_shards(shards, file)
        for folder in folders:
            locks.enter_context(writing(folder))
        pieces = [_pieces(folder, root) for folder in folders]
        if not claim_folder(root, file, job):
            writer = _writer(root, folders[0])
            for folder, keys in zip(folders, pieces, strict=True):
                _move_pieces(folder, root, keys)
            writer.finish()
        # In one step: of shards that are removed one by one, a call that goes on would miss some.
        os.replace(shards, merged)
        shutil.rmtree(merged)
    return root


def _read_shards(shards: Path, file: str) -> tuple[dict, list[Path]]:
    """The job of a set, and the folders of all its shards in order."""
    found: dict[Shard, Path] = {}
    first: tuple[Path, dict, int] | None = None
    for folder in sorted(path for path in shards.iterdir() if path.is_dir()):
        if not (folder / file).is_file():
            raise UserError(f"{folder} is no shard of a set, it has no {file}; remove it")
        job = read_json(folder / file, dict)
        try:
            shard = parse_shard(str(job.pop(_SHARD, "")))
        except UserError as error:
            raise UserError(f"{folder / file}: {error}") from error
        first = first or (folder, job, shard.count)
        if (job, shard.count) != first[1:]:
            ours, theirs = ({**j, "shards": n} for j, n in ((first[1], first[2]), (job, shard.count)))
            differ = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
            ours, theirs = ({key: side.get(key) for key in differ} for side in (ours, theirs))
            raise UserError(f"{folder} is a shard of another set, of {theirs}; expected {ours}, as in {first[0]}")
        if shard in found:
            raise UserError(f"{folder} holds shard {shard}, as {found[shard]} does; remove one of them")
        found[shard] = folder
    if first is None:
        raise UserError(f"{shards} is empty; expected all shards of the set in it")
    all_shards = [Shard(number, first[2]) for number in range(1, first[2] + 1)]
    if missing := [str(shard) for shard in all_shards if shard not in found]:
        some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(f"{shards} lacks shard {some}; render it with --shard, or copy it there")
    return first[1], [found[shard] for shard in all_shards]


def _pieces(folder: Path, root: Path) -> list[str]:
    """The keys of the pieces of a shard that is done. UserError where it is not, or lacks one."""
    if not (folder / SHARD_FILE).exists():
        raise UserError(f"{folder} is not finished; run its command again to go on")
    keys = read_json(folder / SHARD_FILE, dict).get("pieces")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UserError(f"{folder / SHARD_FILE} names no pieces; remove it, and run the shard's command again")
    for key in [] if is_finished(root) else keys:
        # An interrupted call has moved some.
        if not any((place / PARTS_FOLDER / f"{key}.npz").exists() for place in (folder, root)):
            raise UserError(f"{folder} lacks its piece {key}; remove {SHARD_FILE} in it, and run its command again")
    return keys


def _writer(root: Path, shard: Path) -> PieceWriter:
    file = shard / PARTS_FOLDER / "job.json"
    job = read_json(file, dict)
    crops, size = job.get(LAYOUT_VERSION, CROPS) == CROPS, job.get("size")
    sides = [size] if crops else size
    if not isinstance(sides, list) or [*map(type, sides)] != [int] * (1 if crops else 2):
        raise UserError(f"{file} says that images have the size {size!r}; expected whole numbers, as in other shards")
    try:
        return LayoutWriter(root, size) if crops else FrameWriter(root, size)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _move_pieces(folder: Path, root: Path, keys: list[str]) -> None:
    kept = {PARTS_FOLDER, LOCK_FILE}
    for images in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in kept):
        _move(images, root / images.name)
    # The part files come last, as when a piece is written.
    for key in keys:
        part = folder / PARTS_FOLDER / f"{key}.npz"
        if part.exists():
            os.replace(part, root / PARTS_FOLDER / part.name)


def _move(source: Path, target: Path) -> None:
    """Move a file or a folder; a folder that exists takes in what the other one holds."""
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)
        source.rmdir()
    else:
        os.replace(source, target)
