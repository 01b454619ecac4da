"""How much labels are worth: errors on unseen subjects against the number of labels, with and without stage 1.

The paper's central claim: features learned without labels beat supervision where labels are few. At 64 px supervision
has Muon, as stage 1 of the better recipe: at its best rate held-out labels prefer it to Adam at its (docs/results.md).
"""

from configs.config_train_better import MUON
from configs.config_train_better_pose import DISTANCE

# Chosen on held-out sequences; with the features of a short stage 1 noise and dropout gain nothing (docs/results.md).
STAGE2 = {"augment_points": 0.5, "dropout_to3Dpose": 0.2, **DISTANCE}
# Encoders that few labels train for a short time are better by squares (docs/results.md).
SQUARED = {"pose_loss": "squared"}
METHOD = "features learned without labels + MLP (the method)"
SUPERVISED = "the same encoder trained on the labels alone"
FINE_TUNED = "the method, encoder fine-tuned on the labels at the end"


def schedules(iterations: tuple[int, ...], rates: tuple[float, ...], **changes: object) -> list[dict]:
    """Every number of iterations with every learning rate; the best of 16 networks along the way is kept."""
    return [
        {
            "num_training_iterations": n,
            "test_every": n // 16,
            "learning_rate": rate,
            "learning_rate_schedule": "cosine",
            **changes,
        }
        for n in iterations
        for rate in rates
    ]


def group(name: str, scale: int, rows: list[dict]) -> dict[str, dict]:
    """Rows of which the best one on held-out labels stands for all."""
    return {f"{name}, schedule {i} at {scale} px": {**row, "group": name, "scale": scale} for i, row in enumerate(rows)}


suite = {
    "title": "3D pose of unseen subjects against the number of labels",
    # The label budgets of later papers as far as this set goes, and 1 % and 25 % of it.
    "labels": [49, 0.01, 496, 2_500, 5_000, 0.25, 25_000],
    "stage2": {"label_subjects": None},
    "rows": {
        METHOD: {"stage2": STAGE2},
        **group(
            SUPERVISED,
            64,
            [
                {"stage1": None, "stage2": {**s, **loss}}
                for loss in (SQUARED, DISTANCE)
                for s in schedules((2_000, 8_000), (2e-3, 6e-3), **MUON)
            ],
        ),
        **group(
            SUPERVISED, 128, [{"stage1": None, "stage2": s} for s in schedules((2_000, 10_000, 50_000), (2e-4, 1e-3))]
        ),
        # A rate below the resolution of float32 keeps the initial weights, while batch norm adapts to the data. (A rate
        # of 0 is refused as a mistake.) The weights are random, or ImageNet's below a random head, as encoder_weights
        # says.
        "features before stage 1 + MLP": {
            "stage1": {"learning_rate": 1e-30, "num_training_iterations": 200},
            # These features do not rotate with the person, so that labels cannot be rotated with them.
            "stage2": {**STAGE2, "augment_yaw": 0.0},
        },
        **group(
            FINE_TUNED, 64, [{"stage2": STAGE2, "finetune": s} for s in schedules((400, 4_000), (1e-4,), **SQUARED)]
        ),
        **group(
            FINE_TUNED, 128, [{"stage2": STAGE2, "finetune": s} for s in schedules((2_000, 20_000), (1e-4,), **SQUARED)]
        ),
    },
    "reference": SUPERVISED,
    "method": METHOD,
}
