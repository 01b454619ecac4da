"""Who may import whom: the map of docs/structure.md, checked on the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("configs", "datasets", "models", "training", "utils", "benchmarks")

# room -> rooms that it may import, besides itself and utils
ALLOWED = {
    "utils": set(),
    "datasets.cameras": set(),
    "datasets.layout": set(),
    "datasets.people": set(),
    "datasets.video": {"datasets.cameras", "datasets.layout"},
    "datasets.detection": set(),
    "datasets.triangulation": {"datasets.cameras", "datasets.detection"},
    "datasets.motion": {"datasets.people"},
    "datasets.reader": {"datasets.layout"},
    "datasets.frames": {"datasets.reader", "datasets.layout"},
    "datasets.sampler": {"datasets.layout"},
    "datasets.joined": {"datasets.reader"},
    "datasets.coverage": {"datasets.layout"},
    "datasets.validation": {"datasets.layout", "datasets.cameras"},
    "datasets.rendered": {"datasets.motion", "datasets.people", "datasets.cameras", "datasets.layout"},
    "datasets.sources.human36m": {"datasets.video", "datasets.cameras", "datasets.layout"},
    "datasets.sources.mpi_inf_3dhp": {"datasets.video", "datasets.cameras", "datasets.layout"},
    "datasets.sources.own_videos": {
        "datasets.video",
        "datasets.cameras",
        "datasets.layout",
        "datasets.detection",
        "datasets.triangulation",
    },
    "datasets.sources.ski": {"datasets.video", "datasets.cameras", "datasets.layout"},
    # the face: what notebooks import
    "datasets": {
        "datasets.cameras",
        "datasets.layout",
        "datasets.reader",
        "datasets.frames",
        "datasets.sampler",
        "datasets.validation",
    },
    "models.parts": set(),
    "models.geometry_aware": {"models.parts"},
    "models.scene": {"models.parts"},
    "models": {"models.parts", "models.geometry_aware", "models.scene"},
    "training": {
        "datasets",
        "datasets.reader",
        "datasets.sampler",
        "datasets.joined",
        "datasets.layout.labels",
        "models",
    },
    "training.estimation": {
        "datasets.cameras",
        "datasets.layout",
        "datasets.video",
        "datasets.detection",
        "datasets.triangulation",
        "datasets.sources.own_videos",
        "models",
        "training.exports",
        "training.trained",
    },
}
ROOMS_OF_TRAINING = {
    "training.loop": {"training.metrics"},
    "training.metrics": set(),
    "training.scene_metrics": set(),
    "training.silhouettes": set(),
    "training.stages": {
        "training.loop",
        "training.trained",
        "training.metrics",
        "training.scene_metrics",
        "training.silhouettes",
    },
    "training.trained": {
        "training.loop",
        "training.stages",
        "training.exports",
        "training.metrics",
        "training.scene_metrics",
        "training.silhouettes",
    },
    "training.exports": set(),
    "training.estimation": {
        "training.trained",
        "training.exports",
        "datasets.cameras",
        "datasets.video",
        "datasets.detection",
        "datasets.triangulation",
        "datasets.sources.own_videos",
    },
    "training.experiments": {"training.loop", "training.stages", "training.trained", "training.metrics"},
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


MODULES = {module_name(path) for path in sources(*PACKAGES)}


def imports(path: Path) -> set[str]:
    """Names of the project's modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from datasets.rendered import kernels` imports a module, `from datasets import validate` a name
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def is_inside(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(name: str, rooms: dict[str, set[str]]) -> str:
    """The innermost room that holds a module."""
    inside = [room for room in rooms if is_inside(name, room)]
    assert inside, f"{name} is in no room: add it to the map"
    return max(inside, key=len)


def forbidden(rooms: dict[str, set[str]], packages: tuple[str, ...]) -> list[str]:
    wrong = []
    for path in sources(*packages):
        name = module_name(path)
        room = room_of(name, rooms)
        for target in imports(path):
            own = is_inside(target, room) and room_of(target, rooms) == room
            # a room that is a single name, such as "datasets", allows the face alone, not all that lies below
            allowed = any(
                target == other if other in ("datasets", "models.checkpoints") else is_inside(target, other)
                for other in {*rooms[room], "utils"}
            )
            if not own and not allowed:
                wrong.append(f"{name} imports {target}")
    return wrong


def test_imports_run_one_way():
    packages = ("utils", "datasets", "models", "training")
    assert forbidden(ALLOWED, packages) == []


@pytest.mark.parametrize("room", ROOMS_OF_TRAINING)
def test_rooms_of_training(room):
    others = {
        name: {
            *allowed,
            "datasets",
            "datasets.reader",
            "datasets.sampler",
            "datasets.joined",
            "datasets.layout",
            "models",
        }
        for name, allowed in ROOMS_OF_TRAINING.items()
    }
    wrong = forbidden({**others, "training": set()}, ("training",))
    assert [line for line in wrong if is_inside(line.split()[0], room)] == []


def test_no_circle_between_modules():
    """Every module can be imported first: no chain of imports at the top of files leads back."""
    graph = {module_name(path): imports_at_top(path) for path in sources(*PACKAGES)}
    seen, path = set(), []

    def visit(name: str) -> None:
        assert name not in path, f"circle: {' -> '.join([*path, name])}"
        if name not in seen:
            path.append(name)
            for target in sorted(graph.get(name, ())):
                visit(target)
            path.pop()
            seen.add(name)

    for name in sorted(graph):
        visit(name)


def imports_at_top(path: Path) -> set[str]:
    """As `imports`, of the statements that run when the module is imported."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = set()
    for node in tree.body:
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" if f"{node.module}.{name}" in MODULES else node.module for name in names]
        found |= {name for name in names if name in MODULES}
    return found - {module_name(path)}


def test_no_folder_is_named_as_one_of_hugging_faces_datasets():
    """So that a mixture of both packages, as an editable install of old made it, can never import the wrong one."""
    taken = {"io", "utils", "features", "download", "formatting", "parallel", "table", "load", "splits", "builder"}
    assert not taken & {path.stem for path in (ROOT / "datasets").iterdir()}
