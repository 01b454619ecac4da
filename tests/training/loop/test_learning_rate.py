"""The learning rate of an iteration."""

import pytest

from configs.config_train_encodeDecode import config_dict as stage1
from configs.config_train_encodeDecode_pose import config_dict as stage2
from training.loop.engine import learning_rate


@pytest.mark.parametrize(("schedule", "halfway", "late"), [("cosine", 0.5, 0.0245), ("linear", 0.5, 0.1)])
def test_schedules_warm_up_and_end_at_zero(schedule, halfway, late):
    config = {**stage1, "learning_rate": 2.0, "learning_rate_schedule": schedule, "num_training_iterations": 1000}
    rates = [learning_rate(config, i) / 2 for i in range(1, 1001)]
    assert rates[:20] == pytest.approx([i / 20 for i in range(1, 21)]) and max(rates) == rates[19] == 1
    assert rates[509] == pytest.approx(halfway) and rates[901] == pytest.approx(late, abs=1e-4) and rates[-1] == 0


def test_the_published_rate_is_constant():
    config = {**stage1, "learning_rate": 1.0, "num_training_iterations": 1000}
    assert [learning_rate(config, i) for i in (1, 500, 1000)] == [1.0] * 3


def test_both_stages_have_the_published_batch():
    for config in (stage1, stage2):
        assert config["batch_size_train"] == 32
