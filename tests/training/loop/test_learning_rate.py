"""The learning rate of an iteration."""

import pytest

from configs.config_train_encodeDecode import config_dict as stage1
from configs.config_train_encodeDecode_pose import config_dict as stage2
from training.loop.engine import learning_rate


def test_cosine_schedule_warms_up_and_ends_at_zero():
    config = {**stage1, "learning_rate": 1.0, "learning_rate_schedule": "cosine", "num_training_iterations": 1000}
    rates = [learning_rate(config, i) for i in range(1, 1001)]
    assert rates[0] < 0.1 and max(rates) == pytest.approx(1, abs=1e-3) and rates[-1] == pytest.approx(0)
    assert learning_rate({**config, "learning_rate_schedule": "constant"}, 999) == 1.0


def test_both_stages_have_the_published_batch():
    for config in (stage1, stage2):
        assert config["batch_size_train"] == 32
