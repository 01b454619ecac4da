"""The learning rate of an iteration: its schedule, and how it grows with the batch."""

import pytest

from configs.config_train_encodeDecode import config_dict as stage1
from configs.config_train_encodeDecode_pose import config_dict as stage2
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.engine import PUBLISHED_BATCH_SIZE, learning_rate
from training.stages.novel_views import train_novel_views
from utils.errors import UserError


def test_cosine_schedule_warms_up_and_ends_at_zero():
    config = {**stage1, "learning_rate": 1.0, "learning_rate_schedule": "cosine", "num_training_iterations": 1000}
    rates = [learning_rate(config, i) for i in range(1, 1001)]
    assert rates[0] < 0.1 and max(rates) == pytest.approx(1, abs=1e-3) and rates[-1] == pytest.approx(0)
    assert learning_rate({**config, "learning_rate_schedule": "constant"}, 999) == 1.0
    with pytest.raises(UserError, match="learning_rate_schedule"):
        learning_rate({**config, "learning_rate_schedule": "step"}, 1)


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("sqrt", 2.0), ("linear", 4.0)])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate_grows_with_the_batch_by_the_rule(rule, factor, schedule):
    config = {**stage1, "learning_rate_rule": rule, "learning_rate_schedule": schedule}
    larger = {**config, "batch_size_train": 4 * PUBLISHED_BATCH_SIZE}
    for iteration in (1, 8_000, 200_000):
        published = learning_rate({**config, "learning_rate_rule": "none"}, iteration)
        assert learning_rate(config, iteration) == published > 0  # at the published batch every rule is the same
        assert learning_rate(larger, iteration) == pytest.approx(factor * published)


def test_both_stages_have_the_published_batch_and_no_rule():
    for config in (stage1, stage2):
        assert config["batch_size_train"] == PUBLISHED_BATCH_SIZE and config["learning_rate_rule"] == "none"


def test_an_unknown_rule_is_one_line_before_anything_is_written(tmp_path):
    data = write_synthetic_layout(tmp_path / "train", size=SIZE, subjects=(1, 5), sequences_per_subject=3, instants=4)
    with pytest.raises(UserError, match=r"^learning_rate_rule 'linaer' is unknown; the nearest .* is 'linear'$"):
        train_novel_views(tiny_config(data, tmp_path / "output", learning_rate_rule="linaer"))
    assert not (tmp_path / "output").exists()
