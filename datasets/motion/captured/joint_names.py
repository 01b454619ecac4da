"""Finds the joints of a person in a captured skeleton by the names that the usual tools give them."""

from datasets.motion.captured.bvh import END, BvhClip
from datasets.motion.footsteps import SIDES
from utils.errors import UserError

# Per bone: the joint that starts it, and that joint's names without the side. The first name is Poser's (lShin), then
# come MotionBuilder's (LeftLeg) and others. The order matters: "Shoulder" is the clavicle in MotionBuilder, which
# also has an "Arm", but the upper arm in SMPL.
JOINTS = {
    "thigh": ("hip", ("Thigh", "UpLeg", "UpperLeg", "Femur", "Hip")),
    "shin": ("knee", ("Shin", "Leg", "LowLeg", "LowerLeg", "Tibia", "Calf", "Knee")),
    "foot": ("ankle", ("Ankle", "Foot")),
    "upper_arm": ("shoulder", ("Shldr", "Arm", "UpArm", "UpperArm", "Humerus", "Shoulder")),
    "forearm": ("elbow", ("ForeArm", "LowArm", "LowerArm", "Radius", "Elbow")),
    "hand": ("wrist", ("Wrist", "Hand")),
}
_HEAD_NAMES = ("Head", "Neck1", "Neck")


def find_joints(clip: BvhClip, file: str) -> dict[str, int]:
    """Index of the joint that starts each bone: those of `JOINTS` with `_left` and `_right`, toes, chest, pelvis, head.

    Toes are -1 if the foot has no child. Raises UserError, which names the missing joint.
    """
    plain = [_plain(name) for name in clip.joints]
    found = {}
    for bone, (joint, cores) in JOINTS.items():
        for side in SIDES:
            names = [form for core in cores for form in _forms(core.lower(), side)]
            found[f"{bone}_{side}"] = _first(plain, names, f"{side} {joint}", _examples(cores, side), clip, file)
    found["head"] = _first(plain, [name.lower() for name in _HEAD_NAMES], "head", _HEAD_NAMES, clip, file)
    for side in SIDES:
        found[f"toes_{side}"] = (
            clip.parents.index(found[f"foot_{side}"]) if found[f"foot_{side}"] in clip.parents else -1
        )
    found["pelvis"] = _common_ancestor(clip.parents, found["thigh_left"], found["thigh_right"])
    found["chest"] = _common_ancestor(clip.parents, found["upper_arm_left"], found["upper_arm_right"])
    return found


def _plain(name: str) -> str:
    """A name without namespace, the tool's prefix and punctuation, in lower case."""
    name = name.split(":")[-1].lower()
    for prefix in ("mixamorig", "bip01"):
        name = name.removeprefix(prefix)
    return "".join(letter for letter in name if letter.isalnum())


def _forms(core: str, side: str) -> list[str]:
    """A name with its side, as tools write it: leftleg, legleft, lleg, legl."""
    return [form for mark in (side, side[0]) for form in (mark + core, core + mark)]


def _examples(cores: tuple[str, ...], side: str) -> list[str]:
    """Names to suggest to the user: lShin, LeftLeg, ..."""
    return [side[0] + cores[0]] + [side.capitalize() + core for core in cores[1:]]


def _first(plain, names, what: str, examples, clip: BvhClip, file: str) -> int:
    """Index of the first of the names that the clip has."""
    for name in names:
        if name in plain:
            return plain.index(name)
    has = ", ".join(joint for joint in clip.joints if not joint.endswith(END))
    raise UserError(f"{file}: no joint for {what!r}; expected one of {', '.join(examples)}; the file has {has}")


def _common_ancestor(parents, first: int, second: int) -> int:
    above = []
    while first >= 0:
        first = parents[first]
        above.append(first)
    while second not in above:
        second = parents[second]
    return second
