"""Finds the joints of a person in a captured skeleton by the names that the usual tools give them."""

import re
from collections import Counter

import numpy as np

from datasets.motion.captured.bvh import END, BvhClip
from datasets.motion.footsteps import SIDES
from utils.errors import UserError

# Per bone: the joint that starts it, and that joint's names without the side. The first name is Poser's (lShin), then
# come MotionBuilder's (LeftLeg), which Mixamo, HumanIK and others share, and those of further tools: 3ds Max's Biped
# and Reallusion (Calf), Motive (LUArm), VRoid and Xsens (LowerArm), Rigify (upper_arm.L), Daz (lThighBend), MakeHuman
# (upperarm01.L), Unreal (lowerarm_l), CMU (lfemur), SMPL and Kinect (L_Knee). The order matters: "Shoulder" is the
# clavicle in MotionBuilder, which also has an "Arm", but the upper arm in SMPL.
JOINTS = {
    "thigh": ("hip", ("Thigh", "UpLeg", "UpperLeg", "ThighBend", "UpperLeg01", "Femur", "Hip")),
    "shin": ("knee", ("Shin", "Leg", "LowLeg", "LowerLeg", "LowerLeg01", "Tibia", "Calf", "Knee")),
    "foot": ("ankle", ("Ankle", "Foot")),
    "upper_arm": (
        "shoulder", ("Shldr", "Arm", "UpArm", "UpperArm", "UArm", "ShldrBend", "UpperArm01", "Humerus", "Shoulder"),
    ),
    "forearm": (
        "elbow", ("ForeArm", "LowArm", "LowerArm", "FArm", "ForeArmBend", "LowerArm01", "Radius", "Elbow"),
    ),
    "hand": ("wrist", ("Wrist", "Hand")),
}  # fmt: skip
_HEAD_NAMES = ("Head", "Head1", "Spine006", "Neck1", "Neck")  # the last of Rigify's spine is the head
_SIDE_MARKS = {"left": ("left", "l", "lft", "lt"), "right": ("right", "r", "rgt", "rt")}
# Words of names that tell tools and kinds of bones, but not which joint it is.
_NOISE = re.compile(
    r"mixamorig\d*|valve|biped\d*|bip\d*|character\d*|cc|base|rl|j|c|b|def|org|bone|bn|jnt|joint|skel|rig"
)
_SHARED = 0.8  # of all joints have a prefix that is no part of their names


def find_joints(clip: BvhClip, file: str) -> dict[str, int]:
    """Index of the joint that starts each bone: those of `JOINTS` with `_left` and `_right`, toes, chest, pelvis, head.

    There are no toes of a foot without a child at another place, or with a heel alone. Raises UserError, which names
    the missing joint.
    """
    plain = plain_names(clip.joints)
    found = {}
    for bone, (joint, cores) in JOINTS.items():
        for side in SIDES:
            names = [form for core in cores for form in _forms(core.lower(), side)]
            found[f"{bone}_{side}"] = _first(plain, names, f"{side} {joint}", _examples(cores, side), clip, file)
    found["head"] = _first(plain, [name.lower() for name in _HEAD_NAMES], "head", _HEAD_NAMES, clip, file)
    for side in SIDES:
        toes = _find_toes(clip, plain, found[f"foot_{side}"])
        found |= {} if toes is None else {f"toes_{side}": toes}
    found["pelvis"] = _common_ancestor(clip.parents, found["thigh_left"], found["thigh_right"])
    found["chest"] = _common_ancestor(clip.parents, found["upper_arm_left"], found["upper_arm_right"])
    return found


def _find_toes(clip: BvhClip, plain: list[str], foot: int) -> int | None:
    """The child of a foot that is named as toes are; else the farthest from the ankle that is not named as a heel."""
    # Some tools end a foot with an End Site at the ankle.
    children = [j for j, parent in enumerate(clip.parents) if parent == foot and clip.translations[:, j].any()]
    named = [joint for joint in children if re.search("toe|ball", plain[joint])]
    others = [joint for joint in children if "heel" not in plain[joint]]
    farthest = max(others, key=lambda joint: np.linalg.norm(clip.translations[:, joint], axis=1).mean(), default=None)
    return named[0] if named else farthest


def plain_names(names: tuple[str, ...]) -> list[str]:
    """Names without namespaces, a prefix that nearly all share, the words of tools, and punctuation; in lower case."""
    names = [re.split(r"[:|]", name)[-1] for name in names]
    prefix = _shared_prefix([name for name in names if END not in name])
    names = [name.removeprefix(prefix) for name in names]
    return [_plain(name) for name in names]


def _plain(name: str) -> str:
    # A name of noise only, such as a joint "Base", keeps it.
    words = [word.lower() for word in re.findall(r"[A-Z]+[a-z]*\d*|[a-z]+\d*|\d+|[^\W_]+", name)]
    telling = [word for word in words if not _NOISE.fullmatch(word)]
    return "".join(telling or words)


def _shared_prefix(names: list[str]) -> str:
    """The longest prefix that ends at the end of a word and that nearly all names have; "" for none."""
    # Not of all names: often the root, or what hangs on the skeleton, has no prefix.
    ends = Counter(
        name[: match.end()] for name in names for match in re.finditer(r"[\W_]+(?=[^\W_])|(?<=[a-z0-9])(?=[A-Z])", name)
    )
    shared = [prefix for prefix, count in ends.items() if count >= max(_SHARED * len(names), 4)]
    return max(shared, key=len, default="")


def _forms(core: str, side: str) -> list[str]:
    """A name with its side, as tools write it: leftleg, legleft, lleg, legl."""
    return [form for mark in _SIDE_MARKS[side] for form in (mark + core, core + mark)]


def _examples(cores: tuple[str, ...], side: str) -> list[str]:
    """Names to suggest to the user: lShin, LeftLeg, ..."""
    return [side[0] + cores[0]] + [side.capitalize() + core for core in cores[1:]]


def _first(plain, names, what: str, examples, clip: BvhClip, file: str) -> int:
    """Index of the first of the names that the clip has."""
    for name in names:
        if name in plain:
            return plain.index(name)
    has = ", ".join(joint for joint in clip.joints if END not in joint)
    raise UserError(f"{file}: no joint for {what!r}; expected one of {', '.join(examples)}; the file has {has}")


def _common_ancestor(parents, first: int, second: int) -> int:
    above = []
    while first >= 0:
        first = parents[first]
        above.append(first)
    while second not in above:
        second = parents[second]
    return second
