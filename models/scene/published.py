"""How checkpoints of the published implementation name the tensors of this network, and the poses that they learned."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from models.parts.weights import renamed
from utils.errors import UserError

# our prefix -> published prefix; {} is our index plus one
_PREFIXES = (
    (r"detector\.to_map", "detector.toMap"),
    (r"encoder\.to_vector", "encoder.l4_reg_toVec"),
    (r"decoder\.from_points", "from_latent"),
    (r"decoder\.levels\.(\d+)", "decoder.upconv_{}_stage"),
    (r"decoder\.to_image", "decoder.final_stage"),
    (r"pose_decoder\.layers", "pose_decoder.fully_connected"),
)
# Which stage a checkpoint is of: a layer that each of its variants has, under a name that no network of ours has.
_STAGES = {
    "decoder": ("decoder.final_stage.weight", "stage 1 (novel views)"),
    "pose_decoder": ("pose_decoder.fully_connected.0.weight", "stage 2 (poses)"),
}

# Mean x, y, z and standard deviation of each joint, meters: of the poses that the released pose decoder learned. They
# were built into the release's reader of data, so that no file of its weights or labels holds them.
_JOINTS = np.array([
    (0, 0, 0, 1, 1, 1),
    (0.0016, 0.1304, 0.0262, 0.0589, 0.0183, 0.0572),
    (0.0055, 0.4796, 0.0955, 0.1663, 0.0472, 0.1629),
    (0.0090, 0.8197, 0.1632, 0.2464, 0.0792, 0.2453),
    (0.0013, 0.1265, 0.0255, 0.0628, 0.0189, 0.0616),
    (0.0057, 0.4444, 0.0895, 0.2051, 0.0638, 0.2033),
    (0.0103, 0.8180, 0.1644, 0.2584, 0.0767, 0.2561),
    (-0.0026, -0.2240, -0.0449, 0.0266, 0.0210, 0.0273),
    (-0.0047, -0.4046, -0.0810, 0.0518, 0.0402, 0.0531),
    (-0.0063, -0.5316, -0.1060, 0.0964, 0.0657, 0.0972),
    (-0.0080, -0.6843, -0.1362, 0.1418, 0.0904, 0.1419),
    (-0.0052, -0.4222, -0.0845, 0.1280, 0.0672, 0.1260),
    (-0.0027, -0.2450, -0.0489, 0.2343, 0.1073, 0.2314),
    (-0.0045, -0.3044, -0.0606, 0.2687, 0.1886, 0.2660),
    (-0.0044, -0.4119, -0.0825, 0.1372, 0.0640, 0.1356),
    (-0.0016, -0.2349, -0.0464, 0.2249, 0.0959, 0.2216),
    (-0.0022, -0.3627, -0.0711, 0.2460, 0.1514, 0.2442),
], np.float32)  # fmt: skip
POSE_STATISTICS = _JOINTS[:, :3].flatten(), _JOINTS[:, 3:].flatten()


def is_published(weights: Mapping[str, object]) -> bool:
    """Whether the keys are those of the published implementation."""
    return any(key in weights for key, _ in _STAGES.values())


def published_names(names: Iterable[str], keys: Collection[str]) -> dict[str, str]:
    """Our parameter names -> the published ones. UserError if the published `keys` are those of the other stage."""
    names = list(names)
    parts = {name.partition(".")[0] for name in names}
    # Without its pose decoder, a network of stage 2 starts from weights of stage 1.
    ours = "pose_decoder" if "pose_decoder" in parts else "decoder"
    (other,) = (part for part in _STAGES if part != ours)
    if _STAGES[ours][0] not in keys and _STAGES[other][0] in keys:
        raise UserError(f"published weights are of {_STAGES[other][1]}, expected those of {_STAGES[ours][1]}")
    return {name: renamed(name, _PREFIXES) for name in names}
