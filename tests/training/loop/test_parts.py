"""A batch in parts, which threads of a CPU compute side by side."""

import threading

import pytest
import torch

from datasets import MultiViewDataset
from models.checkpoints import read_checkpoint
from tests.runs import Died, die_at, losses
from tests.synthetic import write_synthetic_layout
from tests.tiny import SIZE, tiny_config
from training.loop.parts import PartsOfBatch, split
from training.loop.threads import compute_threads, training_threads
from training.stages.novel_views import train_novel_views
from utils.errors import UserError

DIVIDED = {"batch_parts": 2, "latent_dropout": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_layout(tmp_path_factory.mktemp("data") / "train", size=SIZE, sequences_per_subject=3)


class Compare(torch.nn.Module):
    """Losses of a small network; with `norm`, of one that sees its batch as a whole."""

    def __init__(self, norm: bool):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4) if norm else torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3)
        )
        self.unused = torch.nn.Parameter(torch.ones(3))
        self.threads: set[tuple[str, int]] = set()

    def forward(self, inputs):
        self.threads.add((threading.current_thread().name, torch.get_num_threads()))
        shown = self.network(inputs["img_crop"])
        moved = shown[inputs["shuffled_pose"]] * shown[inputs["shuffled_appearance"]]
        return {"loss": moved.square().mean(), "size": moved.abs().mean()}


def batch(count: int = 8) -> dict:
    crops = torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    # Partners within pairs.
    partner = torch.arange(count) ^ 1
    return {"img_crop": crops, "shuffled_pose": partner, "shuffled_appearance": partner}


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_give_the_losses_and_gradients_of_the_whole_batch(parts):
    whole, divided = Compare(norm=False), Compare(norm=False)
    expected = whole(batch())
    expected["loss"].backward()
    found = PartsOfBatch(divided, parts, torch.enable_grad)(batch())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach())
    for ours, theirs in zip(gradients(divided), gradients(whole), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert divided.unused.grad is None


def test_batch_norm_sees_a_part_and_keeps_the_statistics_of_the_first():
    one_by_one, divided = Compare(norm=True), Compare(norm=True)
    parts = split(batch(), 2)
    sums = [torch.zeros_like(parameter) for parameter in one_by_one.parameters()]
    for number, part in enumerate(parts):
        module = one_by_one if number == 0 else Compare(norm=True)
        (module(part)["loss"] / 2).backward()
        for total, gradient in zip(sums, gradients(module), strict=True):
            total += 0 if gradient is None else gradient
    PartsOfBatch(divided, 2, torch.enable_grad)(batch())
    for ours, theirs in zip(gradients(divided), sums, strict=True):
        torch.testing.assert_close(torch.zeros_like(theirs) if ours is None else ours, theirs, rtol=0, atol=0)
    for ours, theirs in zip(divided.buffers(), one_by_one.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_steps_change_what_all_parts_compute_with():
    module = Compare(norm=False)
    compute, optimizer = PartsOfBatch(module, 2, torch.enable_grad), torch.optim.SGD(module.parameters(), lr=0.1)
    values = []
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        values.append(compute(batch())["loss"])
        optimizer.step()
    torch.testing.assert_close(compute(batch())["loss"], Compare.forward(module, batch())["loss"].detach())
    assert values[0] > values[1] > values[2]


def test_each_part_has_a_thread_of_its_own_with_the_threads_of_the_training():
    module = Compare(norm=False)
    # In copies for other parts are other sets of names.
    compute = PartsOfBatch(module, 2, torch.enable_grad)
    with compute_threads(2):
        compute(batch())
    seen = [module.threads, *(other.threads for other in compute.copies)]
    assert [len(names) for names in seen] == [1, 1] and seen[0] != seen[1]
    assert {count for names in seen for _, count in names} == {2}


def test_an_error_in_a_part_arrives():
    class Broken(Compare):
        def forward(self, inputs):
            if threading.current_thread() is not threading.main_thread():
                raise ValueError("broken")
            return super().forward(inputs)

    with pytest.raises(ValueError, match="broken"):
        PartsOfBatch(Broken(norm=False), 2, torch.enable_grad)(batch())


def test_a_training_in_parts_repeats_and_resumes(data, tmp_path, monkeypatch):
    whole = train_novel_views(tiny_config(data, tmp_path / "whole", **DIVIDED))
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, 5)
        train_novel_views(tiny_config(data, tmp_path / "killed", **DIVIDED))
    resumed = train_novel_views(tiny_config(data, tmp_path / "killed", **DIVIDED), resume=True)
    assert losses(resumed) == losses(whole)
    ours, theirs = (read_checkpoint(folder.last_network).weights for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # Batch norm makes it another training.
    undivided = train_novel_views(tiny_config(data, tmp_path / "whole", latent_dropout=0.0))
    assert losses(undivided) != losses(whole) and undivided.path != whole.path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_parts": 3}, "batch_size_train is 8; expected a multiple of 12, with 3 batch_parts"),
        ({"latent_dropout": 0.3}, "batch_parts is 2, and latent_dropout 0.3; expected no dropout, or one part"),
        ({"compile": "always"}, "compile is 'always'; expected auto or never on a CPU, with 2 batch_parts"),
        ({"dataset_folder_mixed": "MIXED"}, "batch_parts is 2; expected 1 with dataset_folder_mixed"),
    ],
)
def test_what_cannot_be_divided_is_refused(data, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(MultiViewDataset, "__getitems__", lambda *_: pytest.fail("images are read"))
    changes = {key: str(data) if value == "MIXED" else value for key, value in changes.items()}
    with pytest.raises(UserError, match=message):
        train_novel_views(tiny_config(data, tmp_path, **{**DIVIDED, **changes}))


@pytest.mark.parametrize(("parts", "size", "machine", "expected"), [(2, 64, 2, 1), (2, 128, 4, 2), (4, 64, 2, 1)])
def test_the_parts_share_the_threads(monkeypatch, parts, size, machine, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with compute_threads(machine):
        assert training_threads({"threads": None, "inputDimension": size}, parts) == expected


def test_crops_are_changed_before_they_are_divided(data, tmp_path):
    # Of four crops with other backgrounds one is lent: too few for two parts.
    run = train_novel_views(tiny_config(data, tmp_path, **DIVIDED, augment_background=0.6))
    assert losses(run)
