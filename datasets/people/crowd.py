"""People without end: the body, skin and hair of a person drawn from the person's number.

Numbers from `CROWD` on are drawn; those below are the fixed subjects of `body.py`.
"""

import numpy as np

CROWD = 1000

# sRGB of skin from the lightest to the darkest, between which tones are interpolated.
_SKIN = np.array([(0.95, 0.80, 0.71), (0.88, 0.69, 0.56), (0.77, 0.57, 0.42), (0.60, 0.41, 0.29), (0.42, 0.28, 0.20),
                  (0.27, 0.18, 0.14)])  # fmt: skip
_HAIR = np.array([(0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.30, 0.19, 0.11), (0.48, 0.30, 0.14), (0.76, 0.60, 0.36),
                  (0.60, 0.58, 0.56), (0.85, 0.84, 0.82), (0.52, 0.20, 0.08)])  # fmt: skip
_STYLES = ("short", "cropped", "receding", "bald", "bob", "long", "bun", "afro")
_MALE = (0.34, 0.24, 0.14, 0.12, 0.03, 0.05, 0.02, 0.06)
_FEMALE = (0.12, 0.05, 0.01, 0.01, 0.26, 0.33, 0.15, 0.07)


def drawn_shape(subject: int) -> dict[str, float]:
    """Stature in meters and anny's shape parameters of a person of the crowd."""
    rng = _of_person(subject, 0)
    gender = float(np.clip(rng.choice([0.07, 0.93]) + rng.normal(0, 0.06), 0, 1))
    return dict(
        stature=float(np.clip(rng.normal(1.78 - 0.13 * gender, 0.075), 1.48, 2.02)),
        gender=gender,
        age=float(rng.uniform(0.63, 0.92)),
        muscle=float(rng.uniform(0.2, 0.95)),
        weight=float(np.clip(rng.normal(0.5, 0.26), 0.1, 1.0)),
        proportions=float(rng.uniform(0.25, 0.8)),
    )


def drawn_head(subject: int) -> dict:
    """Skin, hair, beard and the marks of the skin of a person of the crowd, as `clothes.Wardrobe` reads them."""
    rng = _of_person(subject, 1)
    male = drawn_shape(subject)["gender"] < 0.5
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = np.stack([np.interp(tone, np.arange(len(_SKIN)), channel) for channel in _SKIN.T])
    # Dark skin seldom comes with fair hair; some of all people dye it.
    hair = _HAIR[rng.integers(len(_HAIR) if tone < 2 else 3)] * rng.uniform(0.8, 1.2)
    if rng.random() < 0.05:
        hair = rng.uniform(0.1, 0.9, 3)
    return dict(
        skin=skin,
        hair=np.clip(hair, 0.03, 0.95),
        style=str(rng.choice(_STYLES, p=_MALE if male else _FEMALE)),
        beard=float(rng.uniform(0.25, 0.9)) if male and rng.random() < 0.4 else 0.0,
        marks=float(rng.uniform(0.3, 1.0)),
        chest_hair=float(rng.uniform(0.1, 0.5)) if male and rng.random() < 0.3 else 0.0,
        # Faces are blurred in many recordings.
        faceless=bool(rng.random() < 0.2),
    )


def _of_person(subject: int, what: int) -> np.random.Generator:
    """The random numbers of a person: a stream of its own for body and head."""
    return np.random.default_rng([77, subject, what])
