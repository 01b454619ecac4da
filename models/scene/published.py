"""How checkpoints of the published implementation name the tensors of this network."""

from collections.abc import Collection, Iterable, Mapping

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
