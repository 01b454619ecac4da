"""Make the project's packages the ones that their short names import, whatever else is installed."""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

PACKAGES = ("configs", "datasets", "models", "training", "utils")

_HERE = Path(__file__).resolve().parent
# A wheel carries the packages inside this one; in a checkout they are beside it.
ROOT = _HERE if (_HERE / "models").is_dir() else _HERE.parent


def put_first() -> None:
    """Put ROOT first on `sys.path`; ImportError if a foreign package with one of our names is imported already."""
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None and _folder(module) != ROOT / name:
            raise ImportError(
                f"another package {name!r} is imported already, from {str(_folder(module))!r}; import "
                "geometry_aware_pose before it, or in a process of its own"
            )
    root = str(ROOT)
    # Twice, because torch.hub.load removes one entry after loading, and our functions import more when they are called.
    sys.path[:] = [root, root, *(folder for folder in sys.path if folder != root)]


def alias_packages() -> None:
    """Let `geometry_aware_pose.models` and its kin, with their submodules, be the modules of the short names."""
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())


def _folder(module: ModuleType) -> Path | str:
    """The folder of a package; a package without one (a namespace, a built-in module) is described in words."""
    places = list(getattr(module, "__path__", [])) or [getattr(module, "__file__", None)]
    return Path(places[0]).resolve() if places[0] else "memory"


class _Alias(MetaPathFinder, Loader):
    """Finds `geometry_aware_pose.models.x` as `models.x`.

    Python would load a second copy of each file under the longer name, and an error raised by one copy would not be
    an instance of the other's class.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        ours = package == __package__ and name.partition(".")[0] in PACKAGES
        return spec_from_loader(fullname, self) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.name.partition(".")[2])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has given the module the alias's spec; its own one must stay.
        module.__spec__ = module.__spec__.loader_state
