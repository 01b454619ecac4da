"""The appearance of a subject: skin, face, hair and clothes, as colors on the body's triangles.

Every triangle has a small grid of texels in barycentric coordinates, so that patterns and hems are finer than the mesh.
Garments are laid out in the body's neutral stance (body frame: x forward, y left, z up, meters). Arms and legs hang
straight down there, so that a height is a place along a limb, and an angle is a place around it.
"""

from typing import NamedTuple

import numpy as np

from datasets.people.body import BONE_INDEX, Body
from datasets.people.crowd import CROWD, drawn_head
from datasets.people.patterns import PATTERNS, cloth_colors, ripples

TEXELS_PER_EDGE = 4  # of a triangle, which has 4 + 3 + 2 + 1 texels
_ARM = ("upper_arm", "forearm", "forearm_twist", "hand")
_LEG = ("thigh", "shin", "foot", "toes")

# Per subject: sRGB of skin and of hair (also eyebrows), hair style, opacity of the beard.
_HEADS = {
    1: dict(skin=(0.87, 0.68, 0.57), hair=(0.25, 0.16, 0.10), style="short", beard=0.0),
    5: dict(skin=(0.93, 0.76, 0.66), hair=(0.78, 0.60, 0.33), style="long", beard=0.0),
    6: dict(skin=(0.45, 0.30, 0.22), hair=(0.07, 0.06, 0.06), style="cropped", beard=0.6),
    7: dict(skin=(0.76, 0.57, 0.43), hair=(0.12, 0.08, 0.07), style="bob", beard=0.0),
    8: dict(skin=(0.90, 0.70, 0.61), hair=(0.55, 0.53, 0.51), style="receding", beard=0.35),
    9: dict(skin=(0.63, 0.45, 0.33), hair=(0.15, 0.10, 0.07), style="short", beard=0.45),
    11: dict(skin=(0.90, 0.72, 0.60), hair=(0.45, 0.20, 0.10), style="bob", beard=0.0),
}
# Per hair style: hairline at the forehead and at the nape (0 chin .. 1 crown), thickness in meters.
_STYLES = {
    "short": (0.83, 0.22, 0.018),
    "cropped": (0.85, 0.25, 0.008),
    "receding": (0.95, 0.25, 0.012),
    "bob": (0.82, 0.02, 0.030),
    "long": (0.82, -0.70, 0.028),
    "bald": (2.0, 2.0, 0.0),
    "bun": (0.86, 0.20, 0.014),
    "afro": (0.80, 0.08, 0.055),
}
# Headgear covers the hair: lines like those of a hair style, thickness.
_HEADGEAR = {
    "cap": (0.72, 0.45, 0.022),
    "beanie": (0.70, 0.30, 0.014),
    "swim cap": (0.74, 0.28, 0.006),
    "scarf": (0.80, -0.9, 0.014),
    "hood": (0.84, -0.9, 0.03),
}


class Outfit(NamedTuple):
    """A dressed body. colors: (F,10,3) float32 linear albedo; thickness: (V,) float32 meters of hair, cloth, soles."""

    colors: np.ndarray
    thickness: np.ndarray


class BodyCoordinates(NamedTuple):
    """Positions of P points relative to the parts of a body; arrays (P,), except `point` (P,3).

    point: in the neutral stance, meters. around: meters around trunk or limb.
    arm: 0 shoulder .. 1 wrist, -1 off the arms. leg: 0 hip .. 1 ankle, negative above, -9 on the arms.
    face: 0 chin .. 1 crown on the head, -9 elsewhere. forward: 0 back .. 1 tip of the nose, on the head.
    trunk: meters above the root of the neck. foot: bool.
    """

    point: np.ndarray
    around: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    face: np.ndarray
    forward: np.ndarray
    trunk: np.ndarray
    foot: np.ndarray


class Wardrobe:
    """Dresses one subject. Face and hair are the subject's own; every call of `dress` samples other clothes.

    Subjects of the crowd (`CROWD` and above) also wear few clothes, skirts, coats and headgear.
    """

    def __init__(self, body: Body, subject: int):
        self.body, self.head = body, _HEADS.get(subject) or drawn_head(subject)
        self._sample = sample_clothes if subject < CROWD else sample_wardrobe
        self.vertices = _coordinates_of_vertices(body)
        self.texels = _coordinates_of_texels(body, self.vertices)
        self.skin, self.hair = _skin(self.texels, self.head, body), _hair(self.texels, self.head["style"])

    def dress(self, rng: np.random.Generator) -> Outfit:
        """Sample a set of clothes: colors, patterns, lengths."""
        clothes = self._sample(rng)
        colors = self._texel_colors(clothes, rng)
        # Squaring converts sRGB to linear albedo. `tone_map` of the renderer takes the root again.
        np.clip(colors, 0.01, 0.98, out=colors)
        linear = np.square(colors, out=colors).astype(np.float32)
        return Outfit(linear.reshape(len(self.body.faces), -1, 3), self._thickness(self.vertices, clothes))

    def _texel_colors(self, clothes: dict, rng: np.random.Generator) -> np.ndarray:
        """sRGB colors (P,3) of the texels."""
        at, colors = self.texels, self.skin.copy()
        bottom, top, shoes, socks = _covered(at, clothes)
        # From the skin outwards: later garments cover earlier ones.
        layers = [(socks, "socks"), (bottom, "bottom"), (shoes, "shoes"), (top, "top")]
        if clothes["top"]["opening"]:
            layers.append((top & _jacket_opening(at), "shirt"))
        for mask, garment in layers:
            cloth, covered = clothes[garment], np.flatnonzero(mask)
            if cloth["pattern"] == "plain":
                colors[covered] = cloth["colors"][0]
            else:
                colors[covered] = cloth_colors(cloth, at.point[covered], at.around[covered], rng)
        colors[self.hair] = self.head["hair"]
        if clothes.get("headgear"):
            colors[_above_line(at, _HEADGEAR[clothes["headgear"]])] = clothes["headgear_color"]
        covered = np.flatnonzero(bottom | top)
        colors[covered] *= 1 + 0.10 * ripples(at.point[covered], 0.09, rng)[:, None]
        return colors

    def _thickness(self, at: BodyCoordinates, clothes: dict) -> np.ndarray:
        bottom, top, shoes, _ = _covered(at, clothes)
        thickness = np.zeros(len(at.arm))
        thickness[bottom] = clothes["bottom"]["loose"]
        thickness[top] = np.maximum(thickness[top], clothes["top"]["loose"])
        thickness[shoes] = clothes["shoes"].get("loose", 0.010)
        hair = _hair(at, self.head["style"])
        thickness[hair] = _STYLES[self.head["style"]][2]
        if clothes.get("headgear"):
            gear = _HEADGEAR[clothes["headgear"]]
            thickness[_above_line(at, gear)] = gear[2]
        return thickness.astype(np.float32)


def sample_clothes(rng: np.random.Generator) -> dict:
    """Random clothes: pattern and colors (sRGB) of each garment, and the cut of top and bottom."""
    # Ends of sleeves and trousers, as `BodyCoordinates.arm` and `leg`: short, medium or long, with some spread.
    sleeve = rng.choice([0.02, 0.30, 0.55, 0.99], p=[0.1, 0.35, 0.15, 0.4]) + rng.uniform(-0.02, 0.04)
    trousers = rng.choice([0.36, 0.72, 0.99], p=[0.3, 0.15, 0.55]) + rng.uniform(-0.04, 0.02)
    top, bottom, shoes, socks, shirt = (_sample_cloth(rng) for _ in range(5))
    top.update(sleeve=sleeve, hem=rng.uniform(-0.12, 0.06), neckline=rng.choice([0.0, 0.12]))
    top.update(loose=rng.uniform(0.005, 0.018), opening=bool(rng.random() < 0.2))
    bottom.update(length=trousers, loose=rng.uniform(0.005, 0.015))
    if rng.random() < 0.6:
        bottom["pattern"] = "denim" if rng.random() < 0.4 else "plain"
    shoes["pattern"] = socks["pattern"] = shirt["pattern"] = "plain"
    return dict(top=top, bottom=bottom, shoes=shoes, socks=socks, shirt=shirt)


def sample_wardrobe(rng: np.random.Generator) -> dict:
    """Clothes as `sample_clothes` gives them, but of a wider range: from swimwear to a long coat."""
    clothes = sample_clothes(rng)
    top, bottom, shoes, socks = (clothes[name] for name in ("top", "bottom", "shoes", "socks"))
    for garment in (top, bottom):
        # Most real clothes have one color, often a dull one.
        garment["colors"] = np.stack([_sample_dull(rng) if rng.random() < 0.65 else c for c in garment["colors"]])
        garment["pattern"] = "plain" if rng.random() < 0.6 else garment["pattern"]
    kind = rng.choice(("usual", "bare", "coat", "dress", "tank", "suit"), p=(0.46, 0.2, 0.08, 0.1, 0.1, 0.06))
    if kind == "bare":
        top["bare"], bottom["length"] = True, rng.choice([0.06, 0.25, 0.45, 0.99]) + rng.uniform(-0.04, 0.06)
    elif kind == "coat":
        top.update(hem=rng.uniform(0.25, 0.8), sleeve=0.99, loose=rng.uniform(0.02, 0.035), neckline=0.0)
    elif kind == "dress":
        # Its lower half is a skirt of the same cloth.
        top.update(hem=rng.uniform(0.25, 0.75), loose=rng.uniform(0.01, 0.03), opening=False)
        bottom["length"] = top["hem"] if rng.random() < 0.7 else 0.97
    elif kind == "tank":
        top.update(sleeve=rng.uniform(-0.4, 0.03), neckline=0.14, loose=0.004, opening=False)
        bottom["length"] = rng.choice([0.1, 0.3, 0.97])
    elif kind == "suit":
        bottom["colors"], bottom["pattern"] = top["colors"], top["pattern"]
        top["sleeve"] = bottom["length"] = 0.98
    bottom["loose"] = rng.choice([0.003, 0.010, 0.022])
    foot = rng.random()
    if foot < 0.25:
        shoes["bare"], socks["top"] = True, 9.0
    elif foot < 0.35:
        shoes.update(loose=0.003, colors=socks["colors"])
    elif foot < 0.45:
        shoes["top"] = rng.uniform(0.6, 0.85)
    elif foot < 0.7:
        shoes["colors"] = np.tile(_sample_dull(rng), (2, 1))
        socks["top"] = rng.choice([0.7, 0.87, 9.0])
    if rng.random() < 0.25:
        clothes["headgear"] = str(rng.choice(tuple(_HEADGEAR)))
        clothes["headgear_color"] = _sample_dull(rng) if rng.random() < 0.5 else _sample_color(rng)
    return clothes


def _sample_dull(rng: np.random.Generator) -> np.ndarray:
    """sRGB of black, gray, navy, khaki, brown, white: the colors of most clothes."""
    base = [(0.08, 0.08, 0.09), (0.25, 0.25, 0.27), (0.5, 0.5, 0.51), (0.9, 0.9, 0.88), (0.12, 0.15, 0.27),
            (0.25, 0.33, 0.45), (0.55, 0.5, 0.38), (0.35, 0.25, 0.18), (0.4, 0.12, 0.13), (0.2, 0.28, 0.2)]  # fmt: skip
    return np.clip(np.asarray(base[rng.integers(len(base))]) * rng.uniform(0.75, 1.25) + rng.normal(0, 0.015, 3), 0, 1)


def _sample_cloth(rng: np.random.Generator) -> dict:
    # In the order of PATTERNS. The last, denim, is chosen for trousers only.
    pattern = rng.choice(PATTERNS, p=[0.26, 0.12, 0.14, 0.12, 0.12, 0.08, 0.08, 0.08, 0.0])
    return dict(
        pattern=str(pattern), colors=np.stack([_sample_color(rng) for _ in range(2)]), scale=rng.uniform(0.8, 1.5)
    )


def _sample_color(rng: np.random.Generator) -> np.ndarray:
    """sRGB: mostly saturated colors of any hue, sometimes white, gray or black."""
    hue, value = rng.random(), rng.uniform(0.25, 0.95)
    saturation = rng.uniform(0.45, 0.95) if rng.random() < 0.7 else rng.uniform(0.0, 0.15)
    wave = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - wave))


def _covered(at: BodyCoordinates, clothes: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Masks (P,) of the points that bottom, top, shoes and socks cover."""
    top, bottom = clothes["top"], clothes["bottom"]
    legs = (at.leg > -0.17) & ~at.foot
    neckline = -0.01 - np.clip(top["neckline"] - 0.9 * np.abs(at.point[:, 1]), 0, None) * (at.point[:, 0] > 0)
    trunk = (not top.get("bare")) & (at.leg < top["hem"]) & (at.leg > -9) & (at.trunk < neckline) & (at.face < -1)
    sleeves = (not top.get("bare")) & (at.arm > -0.5) & (at.arm < top["sleeve"])
    # Boots reach up the leg; bare feet have neither shoes nor socks.
    shoes = (at.foot | (at.leg > clothes["shoes"].get("top", 9.0))) & (not clothes["shoes"].get("bare"))
    socks = (at.leg > clothes["socks"].get("top", 0.87)) & ~at.foot
    return legs & (at.leg < bottom["length"]), trunk | sleeves, shoes, socks


def _jacket_opening(at: BodyCoordinates) -> np.ndarray:
    """Mask (P,) of the points where an open jacket shows the shirt."""
    width = 0.015 + 0.10 * np.clip(at.trunk + 0.45, 0, None)
    return (np.abs(at.point[:, 1]) < width) & (at.point[:, 0] > 0.02) & (at.arm < 0)


def _skin(at: BodyCoordinates, head: dict, body: Body) -> np.ndarray:
    """sRGB colors (P,3) of bare skin with a face: eyes, brows, lips, beard."""
    colors = np.tile(np.asarray(head["skin"], dtype=np.float64), (len(at.arm), 1))
    # All bodies have the same topology and nearly the same face, so features are placed in meters from the nose.
    nose = body.neutral_joints[9]
    x, y, z = (at.point - nose).T
    _mark_skin(colors, at, head, body)
    if head.get("faceless"):
        return colors
    front = (at.face > -1) & (x > -0.055)
    side = np.abs(y)
    shade = np.asarray(head["hair"])
    if head["beard"]:
        jaw = front & (z < -0.018) | (at.face > -1) & (at.face < 0.30) & (at.forward > 0.45)
        colors[jaw] += head["beard"] * (shade - colors[jaw])
    lips = front & (np.abs(z + 0.038) < 0.009) & (side < 0.026)
    colors[lips] = 0.55 * colors[lips] + 0.45 * np.array([0.65, 0.20, 0.20])
    eyes = front & (((side - 0.032) / 0.016) ** 2 + ((z - 0.036) / 0.009) ** 2 < 1)
    colors[eyes] = (0.92, 0.92, 0.90)
    colors[front & (((side - 0.032) / 0.007) ** 2 + ((z - 0.036) / 0.008) ** 2 < 1)] = (0.12, 0.09, 0.08)
    brows = front & (np.abs(z - 0.056 + 0.1 * np.abs(side - 0.035)) < 0.005) & (np.abs(side - 0.034) < 0.020)
    colors[brows] = 0.8 * shade
    return colors


def _mark_skin(colors: np.ndarray, at: BodyCoordinates, head: dict, body: Body) -> None:
    """Color what tells the front of bare skin from its back: nipples, navel, hair of the chest, the spine, palms."""
    marks = head.get("marks", 0.0)
    if not marks:
        return
    x, y, z = at.point.T
    chest = (at.leg > -9) & (at.arm < 0) & (at.face < -1)
    front, back = chest & (x > 0.02), chest & (x < 0)
    shoulder, hip = body.neutral_joints[11, 2], body.neutral_joints[4, 2]
    colors[front & (np.hypot(np.abs(y) - 0.10, z - shoulder + 0.155) < 0.016)] *= 1 - 0.4 * marks
    colors[front & (np.hypot(y, z - hip - 0.12) < 0.012)] *= 1 - 0.5 * marks
    colors[back & (np.abs(y) < 0.012) & (z > hip)] *= 1 - 0.15 * marks
    # Creases below the chest and between the muscles of the belly.
    crease = np.abs(z - shoulder + 0.20 + 0.3 * np.abs(np.abs(y) - 0.09)) < 0.012
    colors[front & (crease | (np.abs(y) < 0.008) & (z > hip))] *= 1 - 0.15 * marks
    hairy = front & (z > shoulder - 0.25) & (np.abs(y) < 0.12)
    colors[hairy] += head["chest_hair"] * (np.asarray(head["hair"]) - colors[hairy])


def _hair(at: BodyCoordinates, style: str) -> np.ndarray:
    """Mask (P,) of the points above the hairline."""
    return _above_line(at, _STYLES[style])


def _above_line(at: BodyCoordinates, line: tuple[float, float, float]) -> np.ndarray:
    """Mask (P,) of the points of the head above a line from the forehead to the nape, as in `_STYLES`."""
    front, nape, _ = line
    # 0 behind the ears .. 1 at the temples: there the hairline rises from the nape to the forehead.
    rise = np.clip((at.forward - 0.30) / 0.32, 0, 1)
    sides = nape + (min(0.42, front) - nape) * rise
    line = np.where(at.forward > 0.60, front, sides)
    return (at.face > -1) & (at.face > line)


def _coordinates_of_vertices(body: Body) -> BodyCoordinates:
    point = body.neutral_vertices.astype(np.float64)
    joints = body.neutral_joints.astype(np.float64)
    bone = body.vertex_bone
    left = point[:, 1] > 0
    arms, legs = (_members(bone, names) for names in (_ARM, _LEG))
    head, feet = bone == BONE_INDEX["head"], _members(bone, ("foot", "toes"))
    height = point[:, 2]
    shoulder, wrist, hip, ankle = (joints[j, 2] for j in (11, 13, 4, 6))
    center = np.zeros((len(point), 2))
    for mask, right_joint, left_joint in ((arms, 14, 11), (legs, 1, 4)):
        center[mask] = np.where(left[mask, None], joints[left_joint, :2], joints[right_joint, :2])
    offset = point[:, :2] - center
    # Fixed radii convert angles to meters, so that a pattern keeps its period all around a limb.
    radius = np.where(arms, 0.05, np.where(legs, 0.08, 0.15))
    chin, crown = height[head].min(), height[head].max()
    back = point[head, 0].min()
    return BodyCoordinates(
        point=point,
        around=np.arctan2(offset[:, 1], offset[:, 0]) * radius,
        arm=np.where(arms, np.clip((shoulder - height) / (shoulder - wrist), 0, None), -1.0),
        leg=np.where(arms, -9.0, (hip - height) / (hip - ankle)),
        face=np.where(head, (height - chin) / (crown - chin), -9.0),
        forward=(point[:, 0] - back) / (joints[9, 0] - back),
        trunk=height - joints[8, 2],
        foot=feet,
    )


def _members(bone: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.isin(bone, [BONE_INDEX[f"{name}_{side}"] for name in names for side in ("left", "right")])


def _coordinates_of_texels(body: Body, vertices: BodyCoordinates) -> BodyCoordinates:
    """Coordinates of the centers of all texels, (F*10,), interpolated. A triangle belongs to one limb entirely."""
    i, j = np.array([(i, j) for i in range(TEXELS_PER_EDGE) for j in range(TEXELS_PER_EDGE - i)]).T
    u, v = (i + 1 / 3) / TEXELS_PER_EDGE, (j + 1 / 3) / TEXELS_PER_EDGE
    weights = np.stack([u, v, 1 - u - v], axis=-1)

    def interpolate(values: np.ndarray) -> np.ndarray:
        return np.einsum("kc,fc...->fk...", weights, values[body.faces]).reshape(-1, *values.shape[1:])

    # -1 and -9 mark other limbs and must not be interpolated: the majority of a triangle's corners decides.
    def majority(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.median(values[body.faces].astype(np.float64), axis=1), len(weights))

    return vertices._replace(
        point=interpolate(vertices.point),
        around=interpolate(vertices.around),
        arm=np.where(majority(vertices.arm) > -0.5, np.maximum(interpolate(vertices.arm), 0), -1.0),
        leg=np.where(majority(vertices.leg) > -5, np.maximum(interpolate(vertices.leg), -4), -9.0),
        face=np.where(majority(vertices.face) > -5, interpolate(vertices.face), -9.0),
        forward=interpolate(vertices.forward),
        trunk=interpolate(vertices.trunk),
        foot=majority(vertices.foot) > 0.5,
    )
