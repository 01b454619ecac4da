"""How a subject looks: skin, face, hair and clothes, as colours on the body's triangles.

Every triangle carries a small grid of texels in barycentric coordinates, so that patterns and hems are finer than
the mesh. Garments are laid out in the body's neutral stance (body frame: x forward, y left, z up, metres), where
arms and legs hang straight down: a height is then a place along a limb, and an angle a place around it.
"""

from typing import NamedTuple

import numpy as np

from datasets.people.body import BONE_INDEX, Body
from datasets.people.patterns import PATTERNS, paint, ripples

GRID = 4  # texels along the edge of a triangle; the kernels' GRID
_ARM = ("upper_arm", "forearm", "forearm_twist", "hand")
_LEG = ("thigh", "shin", "foot", "toes")

# sRGB skin, hair and eyes' brows; style of hair; part of the jaw that a beard covers
_HEADS = {
    1: dict(skin=(0.87, 0.68, 0.57), hair=(0.25, 0.16, 0.10), style="short", beard=0.0),
    5: dict(skin=(0.93, 0.76, 0.66), hair=(0.78, 0.60, 0.33), style="long", beard=0.0),
    6: dict(skin=(0.45, 0.30, 0.22), hair=(0.07, 0.06, 0.06), style="cropped", beard=0.6),
    7: dict(skin=(0.76, 0.57, 0.43), hair=(0.12, 0.08, 0.07), style="bob", beard=0.0),
    8: dict(skin=(0.90, 0.70, 0.61), hair=(0.55, 0.53, 0.51), style="receding", beard=0.35),
    9: dict(skin=(0.63, 0.45, 0.33), hair=(0.15, 0.10, 0.07), style="short", beard=0.45),
    11: dict(skin=(0.90, 0.72, 0.60), hair=(0.45, 0.20, 0.10), style="bob", beard=0.0),
}
# of each style: hairline at the forehead and at the nape (0 chin .. 1 crown), thickness in metres
_STYLES = {
    "short": (0.83, 0.22, 0.018),
    "cropped": (0.85, 0.25, 0.008),
    "receding": (0.95, 0.25, 0.012),
    "bob": (0.82, 0.02, 0.030),
    "long": (0.82, -0.70, 0.028),
}


class Look(NamedTuple):
    """colours: (F,10,3) float32 linear albedo. thickness: (V,) float32 metres of hair, cloth and soles."""

    colours: np.ndarray
    thickness: np.ndarray


class Places(NamedTuple):
    """Where points of a body are, in terms that a tailor uses; arrays of equal length (P,) except `point` (P,3).

    point: neutral stance. around: metres around trunk or limb. arm: 0 shoulder .. 1 wrist, -1 off the arms.
    leg: 0 hip .. 1 ankle, negative above, -9 on the arms. face: 0 chin .. 1 crown on the head, -9 elsewhere.
    forward: 0 back .. 1 tip of the nose, on the head. trunk: metres above the neck's root. foot: bool.
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
    """Dresses one subject. The head stays; every call to `dress` draws other clothes."""

    def __init__(self, body: Body, subject: int):
        self.body, self.head = body, _HEADS[subject]
        self.vertices = _places_of_vertices(body)
        self.texels = _places_of_texels(body, self.vertices)
        self.skin, self.hair = _skin(self.texels, self.head, body), _hair(self.texels, self.head["style"])

    def dress(self, rng: np.random.Generator) -> Look:
        """A new set of clothes: colours, patterns, lengths."""
        clothes = draw_clothes(rng)
        colours = self._colour(clothes, rng)
        linear = np.clip(colours, 0.01, 0.98) ** 2
        return Look(
            linear.reshape(len(self.body.faces), -1, 3).astype(np.float32), self._thickness(self.vertices, clothes)
        )

    def _colour(self, clothes: dict, rng: np.random.Generator) -> np.ndarray:
        """sRGB colours (P,3) of the texels, from the skin outwards."""
        places, colours = self.texels, self.skin.copy()
        bottom, top, shoes, socks = _cover(places, clothes)
        layers = (socks, "socks"), (bottom, "bottom"), (shoes, "shoes"), (top, "top")
        for mask, garment in (*layers, (_opening(places, clothes), "shirt")):
            part = Places(*(values[mask] for values in places))
            colours[mask] = paint(clothes[garment], part.point, part.around, rng)
        colours[self.hair] = self.head["hair"]
        cloth = bottom | top
        colours[cloth] *= 1 + 0.10 * ripples(places.point[cloth], 0.09, rng)[:, None]
        return colours

    def _thickness(self, places: Places, clothes: dict) -> np.ndarray:
        bottom, top, shoes, _ = _cover(places, clothes)
        thickness = np.zeros(len(places.arm))
        thickness[bottom] = clothes["bottom"]["loose"]
        thickness[top] = np.maximum(thickness[top], clothes["top"]["loose"])
        thickness[shoes] = 0.010
        hair = _hair(places, self.head["style"])
        thickness[hair] = _STYLES[self.head["style"]][2]
        return thickness.astype(np.float32)


def draw_clothes(rng: np.random.Generator) -> dict:
    """Random clothes: for each garment its pattern, colours (sRGB), and for top and bottom their cut."""
    sleeve = rng.choice([0.02, 0.30, 0.55, 0.99], p=[0.1, 0.35, 0.15, 0.4]) + rng.uniform(-0.02, 0.04)
    trousers = rng.choice([0.36, 0.72, 0.99], p=[0.3, 0.15, 0.55]) + rng.uniform(-0.04, 0.02)
    top, bottom, shoes, socks, shirt = (_draw_cloth(rng) for _ in range(5))
    top.update(sleeve=sleeve, hem=rng.uniform(-0.12, 0.06), neckline=rng.choice([0.0, 0.12]))
    top.update(loose=rng.uniform(0.005, 0.018), opening=bool(rng.random() < 0.2))
    bottom.update(length=trousers, loose=rng.uniform(0.005, 0.015))
    if rng.random() < 0.6:
        bottom["pattern"] = "denim" if rng.random() < 0.4 else "plain"
    shoes["pattern"] = socks["pattern"] = shirt["pattern"] = "plain"
    return dict(top=top, bottom=bottom, shoes=shoes, socks=socks, shirt=shirt)


def _draw_cloth(rng: np.random.Generator) -> dict:
    pattern = rng.choice(PATTERNS, p=[0.26, 0.12, 0.14, 0.12, 0.12, 0.08, 0.08, 0.08, 0.0])
    return dict(
        pattern=str(pattern), colours=np.stack([_draw_colour(rng) for _ in range(2)]), scale=rng.uniform(0.8, 1.5)
    )


def _draw_colour(rng: np.random.Generator) -> np.ndarray:
    """sRGB: mostly strong hues all around the circle, sometimes white, grey or black."""
    hue, value = rng.random(), rng.uniform(0.25, 0.95)
    saturation = rng.uniform(0.45, 0.95) if rng.random() < 0.7 else rng.uniform(0.0, 0.15)
    wave = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - wave))


def _cover(places: Places, clothes: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which points bottom, top, shoes and socks cover."""
    top, bottom = clothes["top"], clothes["bottom"]
    legs = (places.leg > -0.17) & ~places.foot
    neckline = -0.01 - np.clip(top["neckline"] - 0.9 * np.abs(places.point[:, 1]), 0, None) * (places.point[:, 0] > 0)
    trunk = (places.leg < top["hem"]) & (places.leg > -9) & (places.trunk < neckline) & (places.face < -1)
    sleeves = (places.arm > -0.5) & (places.arm < top["sleeve"])
    shoes = places.foot
    socks = (places.leg > 0.87) & ~places.foot
    return legs & (places.leg < bottom["length"]), trunk | sleeves, shoes, socks


def _opening(places: Places, clothes: dict) -> np.ndarray:
    """Where an open jacket shows the shirt."""
    _, top, _, _ = _cover(places, clothes)
    width = 0.015 + 0.10 * np.clip(places.trunk + 0.45, 0, None)
    strip = (np.abs(places.point[:, 1]) < width) & (places.point[:, 0] > 0.02) & (places.arm < 0)
    return clothes["top"]["opening"] & top & strip


def _skin(places: Places, head: dict, body: Body) -> np.ndarray:
    """Bare skin with a face: eyes, brows, lips, beard."""
    colours = np.tile(np.asarray(head["skin"], dtype=np.float64), (len(places.arm), 1))
    nose = body.neutral_joints[9]
    x, y, z = (places.point - nose).T
    front = (places.face > -1) & (x > -0.055)
    side = np.abs(y)
    shade = np.asarray(head["hair"])
    if head["beard"]:
        jaw = front & (z < -0.018) | (places.face > -1) & (places.face < 0.30) & (places.forward > 0.45)
        colours[jaw] += head["beard"] * (shade - colours[jaw])
    lips = front & (np.abs(z + 0.038) < 0.009) & (side < 0.026)
    colours[lips] = 0.55 * colours[lips] + 0.45 * np.array([0.65, 0.20, 0.20])
    eyes = front & (((side - 0.032) / 0.016) ** 2 + ((z - 0.036) / 0.009) ** 2 < 1)
    colours[eyes] = (0.92, 0.92, 0.90)
    colours[front & (((side - 0.032) / 0.007) ** 2 + ((z - 0.036) / 0.008) ** 2 < 1)] = (0.12, 0.09, 0.08)
    brows = front & (np.abs(z - 0.056 + 0.1 * np.abs(side - 0.035)) < 0.005) & (np.abs(side - 0.034) < 0.020)
    colours[brows] = 0.8 * shade
    return colours


def _hair(places: Places, style: str) -> np.ndarray:
    front, nape, _ = _STYLES[style]
    down = np.clip((places.forward - 0.30) / 0.32, 0, 1)  # from behind the ears to the temples
    sides = nape + (min(0.42, front) - nape) * down
    line = np.where(places.forward > 0.60, front, sides)
    return (places.face > -1) & (places.face > line)


def _places_of_vertices(body: Body) -> Places:
    point = body.neutral_vertices.astype(np.float64)
    joints = body.neutral_joints.astype(np.float64)
    bone = body.vertex_bone
    left = point[:, 1] > 0
    arms, legs = (_members(bone, names) for names in (_ARM, _LEG))
    head, feet = bone == BONE_INDEX["head"], _members(bone, ("foot", "toes"))
    height = point[:, 2]
    shoulder, wrist, hip, ankle = (joints[j, 2] for j in (11, 13, 4, 6))
    centre = np.zeros((len(point), 2))
    for mask, right_joint, left_joint in ((arms, 14, 11), (legs, 1, 4)):
        centre[mask] = np.where(left[mask, None], joints[left_joint, :2], joints[right_joint, :2])
    offset = point[:, :2] - centre
    radius = np.where(arms, 0.05, np.where(legs, 0.08, 0.15))
    chin, crown = height[head].min(), height[head].max()
    back = point[head, 0].min()
    return Places(
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


def _places_of_texels(body: Body, vertices: Places) -> Places:
    """Places at the texels' centres, (F*10,): interpolated, but a triangle belongs to one limb as a whole."""
    i, j = np.array([(i, j) for i in range(GRID) for j in range(GRID - i)]).T
    u, v = (i + 1 / 3) / GRID, (j + 1 / 3) / GRID
    weights = np.stack([u, v, 1 - u - v], axis=-1)

    def mix(values: np.ndarray) -> np.ndarray:
        return np.einsum("kc,fc...->fk...", weights, values[body.faces]).reshape(-1, *values.shape[1:])

    def most(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.median(values[body.faces].astype(np.float64), axis=1), len(weights))

    return vertices._replace(
        point=mix(vertices.point),
        around=mix(vertices.around),
        arm=np.where(most(vertices.arm) > -0.5, np.maximum(mix(vertices.arm), 0), -1.0),
        leg=np.where(most(vertices.leg) > -5, np.maximum(mix(vertices.leg), -4), -9.0),
        face=np.where(most(vertices.face) > -5, mix(vertices.face), -9.0),
        forward=mix(vertices.forward),
        trunk=mix(vertices.trunk),
        foot=most(vertices.foot) > 0.5,
    )
