"""Renders a layout of full frames (version 2): scenes of several people, with exact labels and masks."""

from pathlib import Path

from tqdm import tqdm

from datasets.layout.arguments import check_at_least, check_split
from datasets.layout.frame_writer import FrameWriter
from datasets.layout.shards import Shard, claim_shard, finish_shard, is_made
from datasets.layout.workers import map_processes
from datasets.layout.writer import check_size
from datasets.people.body import load_body
from datasets.rendered.dataset import SET_FILE, check_world
from datasets.rendered.raycast import DEVICE, load_kernels
from datasets.rendered.scenes.planning import Scene, SceneSet, people_counts, plan_scenes
from datasets.rendered.scenes.rendering import SceneRenderer
from datasets.rendered.wild.sessions import FIRST_PERSON
from utils.errors import UserError
from utils.locks import writing

FRAME_SIZE = (128, 228)  # height, width


def render_frames(
    output: str | Path,
    frames: int,
    people_per_scene: str = "2",
    size: tuple[int, int] = FRAME_SIZE,
    seed: int = 0,
    split: str = "train",
    world: str = "room",
    people: int | None = None,
    kinds: tuple[str, ...] | None = None,
    instants: int | None = None,
    workers: int | None = None,
    device: str = DEVICE,
    progress: bool = True,
    shard: Shard | None = None,
) -> Path:
    """Render `frames` frames, rounded up to whole instants of all cameras, into the folder `output`.

    An interrupted call is resumed by the same call, and a finished set is left unchanged.

    Args:
        people_per_scene: numbers of people, as for `people_counts`. size: (height, width) of the frames, pixels.
        split: "train" or "test", which have different people. world: "room", always the same one, or "wild", whose
            interiors differ. people: number of people of the set; None: more in a large set.
        kinds: of procedural motion, beside walking; None: all `MOTIONS`. instants: of a scene, at most; fewer make more
            scenes. workers, device, shard: as for `render_dataset`.
    Returns:
        The folder that was written, or that of the finished set.
    Raises:
        UserError: bad arguments, missing packages, or a folder that holds something else.
    """
    job = SceneSet(frames, tuple(size), seed, split, str(people_per_scene), world, people, kinds, instants)
    _check(job, workers)
    output = Path(output)
    if is_made(output, SET_FILE, job.describe(), shard):
        return output
    place = shard.folder(output) if shard else output
    # On first use both fill a cache on disk. That happens here once, and not in several workers at a time.
    load_kernels(device), load_body(FIRST_PERSON[split])
    with writing(place):
        if claim_shard(output, SET_FILE, job.describe(), shard):
            return place
        scenes = plan_scenes(job)
        scenes = shard.take(scenes) if shard else scenes
        total = _count(scenes)
        writer = FrameWriter(place, job.size, total)
        todo = [scene for scene in scenes if not writer.has(scene.key)]
        done = total - _count(todo)
        with tqdm(total=total, initial=done, unit="frame", desc=f"render {split}", disable=not progress) as bar:
            for count in map_processes(_render_and_write, todo, workers, _start_worker, (job, place, device)):
                bar.update(count)
        finish_shard(writer, shard)
    return place


def _count(scenes: list[Scene]) -> int:
    return sum(scene.num_frames for scene in scenes)


_worker = None  # (renderer, writer) of this process


def _start_worker(job: SceneSet, output: Path, device: str) -> None:
    global _worker
    _worker = SceneRenderer(job, device), FrameWriter(output, job.size, threads=1)


def _render_and_write(scene: Scene) -> int:
    render, writer = _worker
    rendered = render(scene)
    writer.add(rendered.img, rendered.bg, rendered.rows, scene.key, rendered.mask)
    return scene.num_frames


def _check(job: SceneSet, workers: int | None) -> None:
    """Raises UserError for arguments out of range."""
    check_split(job.split, FIRST_PERSON)
    for side in job.size:
        check_size(side)
    check_at_least(0, seed=job.seed)
    check_at_least(1, crops=job.frames, people=job.people, workers=workers)
    largest = max(people_counts(job.people_per_scene))
    if job.people is not None and job.people < largest:
        raise UserError(f"people is {job.people}; expected {largest} or more, the most of a scene")
    check_world(job.world, job.kinds)
