"""How much labels are worth: errors on unseen subjects against the number of labels, with and without stage 1.

The paper's central claim: features learned without labels beat supervision where labels are few.
"""

# of stage 2, chosen on held-out sequences; features of a short stage 1 gain nothing by it (docs/results.md)
STAGE2 = {"augment_points": 0.5, "dropout_to3Dpose": 0.2}
METHOD = "features learned without labels + MLP (the method)"
SUPERVISED = "the same encoder trained on the labels alone"


def schedules(iterations: tuple[int, ...], rates: tuple[float, ...]) -> list[dict]:
    """Every number of iterations with every learning rate; the best of 16 networks along the way is kept."""
    return [
        {"num_training_iterations": n, "test_every": n // 16, "learning_rate": rate, "learning_rate_schedule": "cosine"}
        for n in iterations
        for rate in rates
    ]


suite = {
    "title": "3D pose of unseen subjects against the number of labels",
    # the budgets of later papers as far as the set goes, 1 % and 25 % of it
    "labels": [49, 0.01, 496, 2_500, 5_000, 0.25, 25_000],
    "stage2": {"label_subjects": None},
    "rows": {
        METHOD: {"stage2": STAGE2},
        SUPERVISED: {
            "stage1": None,
            "choices": {
                64: schedules((400, 2_000, 8_000), (5e-4, 2e-3)),
                128: schedules((2_000, 10_000, 50_000), (2e-4, 1e-3)),
            },
        },
        # a learning rate of 0 leaves the weights as they start, while batch norm sees the data: no straw man.
        # Random weights, or ImageNet's below a random head, as encoder_weights says
        "features before stage 1 + MLP": {
            "stage1": {"learning_rate": 0.0, "num_training_iterations": 200},
            "stage2": {**STAGE2, "augment_yaw": 0.0},  # these features do not turn with the person
        },
        "the method, encoder fine-tuned on the labels at the end": {
            "stage2": STAGE2,
            "finetune": {},
            "choices": {64: schedules((400, 4_000), (1e-4,)), 128: schedules((2_000, 20_000), (1e-4,))},
        },
    },
    "reference": SUPERVISED,
}
