"""Geometry-aware representation learning for 3D human pose: the one package that an installation adds.

    import geometry_aware_pose
    poses = geometry_aware_pose.pose_from_crop()("crop.png")  # (1,17,3), meters
    poses, roots, picture = geometry_aware_pose.pose_from_photo("photo.jpg")

The import puts the project's own `configs`, `datasets`, `models`, `training` and `utils` first on `sys.path`, so that
`from models import build_network` means them in this process. Installed, they are inside this package; in a checkout,
beside it. `geometry_aware_pose.models` is the same module as `models`.
"""

from typing import TYPE_CHECKING, Any

from geometry_aware_pose.hub import encode_decode, pose_from_crop, pose_from_photo
from geometry_aware_pose.own_packages import PACKAGES, ROOT, alias_packages, put_first

if TYPE_CHECKING:
    from geometry_aware_pose.hugging_face import PretrainedNetwork as PretrainedNetwork

# Without PretrainedNetwork, which `import *` would import, and with it huggingface_hub, which may not be installed.
__all__ = ["PACKAGES", "ROOT", "__version__", "encode_decode", "pose_from_crop", "pose_from_photo"]
__version__ = "0.2.0"

put_first()
alias_packages()


def __getattr__(name: str) -> Any:
    """`PretrainedNetwork`, which needs torch and huggingface_hub, is imported when it is asked for."""
    if name == "PretrainedNetwork":
        from geometry_aware_pose.hugging_face import PretrainedNetwork

        return PretrainedNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
