"""The table of keys: whatever it does not allow ends a script with one line and exit code 2, before any work."""

import importlib
import json
import math
import subprocess
import sys

import pytest

from configs.config_train_detect_encode_decode_pose import config_dict as scene_stage2
from configs.config_train_encodeDecode import config_dict as stage1
from models import build_network
from models.checkpoints import read_checkpoint
from tests.networks import SMALL
from tests.tiny import TIMEOUT
from training.loop.engine import OPTIMIZERS
from training.loop.hardware import Hardware
from training.stages.losses import ImageLoss
from training.stages.novel_views import train_novel_views
from training.stages.pose import train_pose
from utils.config import check_config, keys_text, load_config
from utils.errors import UserError, run_script
from utils.keys import ALIASES, GROUPS, KEYS, RETIRED, STAGE1_KEYS, UNREAD_IN_STAGE2, Key, defaults
from utils.paths import ROOT
from utils.scene_keys import SCENE_KEYS, SCENE_UNREAD_IN_STAGE2

WEIGHTS = ("benchmark64", "wild128")


def wrong_values(key: Key) -> list:
    """Values just outside of a key's limits, of other types, and outside of its choices."""
    if key.is_list:
        return [key.default[0], "1,5", [], [[key.default[0]]], [None], [math.pi], {}, *([] if key.optional else [None])]
    wrong = {
        bool: [0, 1, "true", 0.0],
        str: ["", 3, True, ["a"], "a\nb"],
        int: ["many", True, 0.5, math.nan, [1], 10**30, -(10**30)],
        float: ["much", True, math.nan, math.inf, -math.inf, [1.0], 10**400],
    }[key.type]
    if key.choices:
        wrong += ["no such choice", key.choices[-1] + (1 if key.type is int else "x")]
    if key.type in (int, float):
        wrong += [key.at_least - 1, key.above, key.at_most + 1, key.below, (key.default or 1) + key.multiple_of / 2]
    if key.type is float:
        wrong = [value for value in wrong if not key.accepts(value)]  # half a step aside is allowed there
        assert any(value == value and not isinstance(value, str) for value in wrong)
    return wrong if key.optional else [*wrong, None]


# as the issues name them: until 0.1.0 these ended in tracebacks or after minutes of work, or were not noticed
NAMED_IN_ISSUES = [
    "print_every=0", "test_every=0", "plot_every=0", "batch_size_test=0", "batch_size_train=0", "num_workers=-1",
    "learning_rate=0", "learning_rate=-1e-3", "learning_rate=nan", "learning_rate=1e400", "weight_decay=-0.1",
    "augment_mirror=1", "augment_color=-0.1", "augment_rotation=-30", "augment_yaw=-180", "augment_points=-1",
    "actor_subset=[[1]]", "actor_subset=[]", "actor_subset=1", "output_types=[]", "output_types=['pose']",
    "label_fraction=0", "label_fraction=1.5", "validation_fraction=0", "validation_fraction=1", "seed=-1", "seed=0.5",
    "num_training_iterations=0", "optimizer=sgd", "learning_rate_schedule=step", "compile=yes", "precision=float16",
    "crops_on_device=sometimes", "device=gpu", "device=cuda:x", "latent_3d=100", "latent_fg=-1", "feature_scale=3",
    "latent_dropout=1", "n_hidden_to3Dpose=-1", "num_encoding_layers=1", "encoderType=VGG", "name=a/b", "name=..",
    "pose_variance_floor=-1", "loss_weight_rgb=-1", "useCamBatches=True", "validation_crops=0", "every_nth_frame=0",
    "encoder_width=7", "training_set=a/b", "MAE=1", f"name={'n' * 256}",
]  # fmt: skip


def refused(monkeypatch, capsys, script: str, *arguments: str) -> str:
    """The one line with which a script refuses its command line."""
    monkeypatch.setattr("sys.argv", [f"{script}.py", *arguments])
    with pytest.raises(SystemExit) as end:
        run_script(importlib.import_module(f"configs.{script}").main)
    output = capsys.readouterr()
    assert end.value.code == 2 and output.out == "" and output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize("name", KEYS)
def test_every_key_refuses_what_the_table_does_not_allow(name, tmp_path, monkeypatch, capsys):
    for number, value in enumerate(wrong_values(KEYS[name])):
        file = tmp_path / f"value_{number}.py"
        file.write_text(f"from math import inf, nan\nconfig_dict = {{{name!r}: {value!r}}}\n")
        line = refused(monkeypatch, capsys, "train_encodeDecode_pose", "--config", str(file))
        assert line.startswith(f"error: config key {name!r} is "), value
        assert line.endswith(f"; expected {KEYS[name].expected()}\n"), value


@pytest.mark.parametrize("override", NAMED_IN_ISSUES)
def test_wrong_values_on_the_command_line_are_one_line(override, monkeypatch, capsys):
    name = override.partition("=")[0]
    line = refused(monkeypatch, capsys, "train_encodeDecode_pose", override)
    assert repr(name) in line and KEYS[name].expected() in line


@pytest.mark.parametrize("name", KEYS)
def test_every_key_has_a_default_that_it_accepts_and_a_comment(name):
    key = KEYS[name]
    assert key.accepts(key.default) and key.plain(key.default) == key.default and len(key.comment) > 10
    assert key.accepts(None) == key.optional
    for choice in key.choices:
        assert key.accepts([choice] if key.is_list else choice)
    for edge in (key.at_least, key.at_most):
        assert math.isinf(edge) or key.accepts([edge] if key.is_list else edge)


def test_every_key_stands_in_one_group():
    assert sum(map(len, GROUPS.values())) == len(KEYS) == len(set(KEYS)) and STAGE1_KEYS.keys() < KEYS.keys()
    assert not set(RETIRED) & set(KEYS) and set(ALIASES.values()) <= set(KEYS) and not set(ALIASES) & set(KEYS)


def test_keys_that_do_not_change_what_is_learned_name_no_run():
    assert {name for name, key in KEYS.items() if not key.names_run} == {
        "dataset_folder_test", "num_workers", "preload_images", "crops_on_device", "print_every", "plot_every",
        "device", "threads", "compile", "output_folder", "name", "tensorboard", "tracker", "visdom",
        "flip_test",
    }  # fmt: skip


def test_defaults_are_copies():
    defaults()["actor_subset"].append(9)
    assert KEYS["actor_subset"].default == [1, 5, 6, 7, 8]


def test_whole_numbers_stand_for_floats_and_tuples_for_lists():
    config = check_config({"learning_rate": 1, "actor_subset": (1, 5), "label_subjects": None})
    assert config == {"learning_rate": 1.0, "actor_subset": [1, 5], "label_subjects": None}
    assert isinstance(config["learning_rate"], float) and isinstance(config["actor_subset"], list)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("lr=0.1", "expected 'learning_rate'"),
        ("epochs=8", "expected 'num_training_iterations'"),
        ("batch_size=8", "expected 'batch_size_train'"),
        ("workers=2", "expected 'num_workers'"),
        ("GPU=0", "expected 'device'"),
        ("latent_fgg=3", "nearest known key is 'latent_fg'"),
        ("usecambatches=3", "nearest known key is 'useCamBatches'"),
        ("zzz=3", "--keys` lists all keys"),
        ("network_path=x", "'network_path'; it is a key of stage 2"),
        ("augment_yaw=3", "'augment_yaw'; it is a key of stage 2"),
        ("checkpoint=x", "expected 'network_path', a key of stage 2"),
    ],
)
def test_unknown_keys_get_a_hint_only_where_something_is_near(typed, words, monkeypatch, capsys):
    line = refused(monkeypatch, capsys, "train_encodeDecode", typed)
    assert words in line and "plot_every" not in line


@pytest.mark.parametrize(
    ("script", "typed", "words"),
    [
        ("train_encodeDecode", "method=scene", "'method' is 'scene'; expected 'geometry_aware'"),
        ("train_encodeDecode_pose", "method=scene", "'method' is 'scene'; expected 'geometry_aware'"),
        ("train_detect_encode_decode", "method=geometry_aware", "'method' is 'geometry_aware'; expected 'scene'"),
        ("train_detect_encode_decode_pose", "method=geometry_aware", "'method' is 'geometry_aware'; expected 'scene'"),
        ("train_detect_encode_decode", "network_path=x", "'network_path'; it is a key of stage 2"),
        ("train_detect_encode_decode", "skip_background=True", "it is a key of the method 'geometry_aware', expected"),
        ("train_encodeDecode", "square_boxes=True", "it is a key of the method 'scene', expected one of 'geom"),
        ("train_detect_encode_decode", "squareboxes=True", "nearest known key is 'square_boxes'"),
        ("train_detect_encode_decode", "zzz=3", "train_detect_encode_decode_pose.py --keys` lists all keys"),
        ("train_detect_encode_decode", "decoder_rate=0", "'decoder_rate' is 0; expected float"),
    ],
)
def test_scripts_of_both_methods_know_the_keys_of_either(script, typed, words, monkeypatch, capsys):
    assert words in refused(monkeypatch, capsys, script, typed)


def test_keys_of_scenes_are_printed_by_group():
    text = keys_text(scene_stage2)
    assert text.startswith("data\n") and "\nstage 2\n" in text
    assert all(f"  {name} = " in text for name in scene_stage2)


def test_stage_2_tells_what_a_command_line_gives_it_in_vain(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("training.stages.pose.train_pose", lambda *_: None)
    monkeypatch.setattr("training.stages.scene_pose.train_scene_pose", lambda *_: None)
    file = tmp_path / "mine.py"
    file.write_text("config_dict = {'loss_weight_rgb': 2.0}\n")
    for script, keys in (("encodeDecode", "MAE, flip_test"), ("detect_encode_decode", "decoder_rate, MAE")):
        typed = [f"{key}={'1' if key == 'decoder_rate' else 'True'}" for key in keys.split(", ")]
        module = importlib.import_module(f"configs.train_{script}_pose")
        for given, printed in ((typed, f"without effect in stage 2: {keys}\n"), (["seed=1", "pose_loss=distance"], "")):
            monkeypatch.setattr(sys, "argv", [script, "--config", str(file), *given])
            module.main()
            assert capsys.readouterr().out == printed
    assert KEYS.keys() > UNREAD_IN_STAGE2 and SCENE_KEYS.keys() > SCENE_UNREAD_IN_STAGE2


@pytest.mark.parametrize("name", RETIRED)
def test_retired_keys_are_ignored_where_they_did_nothing_and_refused_otherwise(name, monkeypatch, capsys):
    neutral, reason = RETIRED[name]
    assert load_config([], [f"{name}={neutral}"], stage1) == (stage1, set())
    line = refused(monkeypatch, capsys, "train_encodeDecode", f"{name}=0.5")
    assert name in line and reason in line and repr(neutral) in line


@pytest.mark.parametrize("weights", WEIGHTS)
def test_configs_stored_in_packaged_weights_are_valid(weights):
    config = read_checkpoint(ROOT / "examples" / "weights" / f"{weights}.safetensors").config
    # The older of the two was trained when these keys still were some.
    assert set(RETIRED) & set(config) == (set(RETIRED) if weights == "benchmark64" else set())
    checked = check_config(config)
    assert not set(RETIRED) & set(checked) and checked == {key: config[key] for key in checked}
    assert json.loads(json.dumps(checked)) == checked


def test_values_that_print_in_many_lines_are_one(monkeypatch, capsys, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import numpy as np\nconfig_dict = {'actor_subset': np.zeros((30, 30)), 'seed': 0}\n")
    line = refused(monkeypatch, capsys, "train_encodeDecode", "--config", str(file))
    assert "actor_subset" in line and "list of int" in line and len(line) < 400


def test_keys_that_are_no_text_are_one_line():
    with pytest.raises(UserError, match=r"^unknown config key 3; "):
        check_config({3: 4})


def test_training_checks_before_any_work_and_misses_no_key(tmp_path):
    config = {**stage1, "output_folder": str(tmp_path / "output"), "dataset_folder_train": str(tmp_path / "none")}
    for train, complete in ((train_novel_views, config), (train_pose, {**defaults(), **config})):
        with pytest.raises(UserError, match=r"'test_every' is 0; expected int \(at least 1\)"):
            train({**complete, "test_every": 0})
        with pytest.raises(UserError, match=r"'latent_fg' is missing; expected int \(at least 0\)"):
            train({key: value for key, value in complete.items() if key != "latent_fg"})
    assert not (tmp_path / "output").exists()


# Keys that this network and its losses do not read.
UNREAD = {"shuffle_fg", "target_other_view", "perceptual_weights", "freeze_encoder_stem", "sigmoid_bottleneck"} | {
    "loss_weight_3d", "loss_weight_agreement", "loss_weight_masks", "pose_loss",
    "pretrained_network_path", "encoder_side", "encoder_frozen_stages", "encoder_statistics",
}  # fmt: skip
READ = ({"useCamBatches"} | GROUPS["network"].keys() | GROUPS["loss"].keys()) - UNREAD


@pytest.mark.parametrize("name", sorted(READ))
def test_parts_that_are_built_without_a_script_check_their_keys(name):
    build = ImageLoss if name in GROUPS["loss"] else build_network
    with pytest.raises(UserError, match=rf"^config key '{name}' is <object .*; expected "):
        build({**SMALL, name: object()})


def test_the_optimizers_of_the_table_exist():
    assert KEYS["optimizer"].choices == tuple(OPTIMIZERS)


def test_hardware_checks_its_precision():
    with pytest.raises(
        UserError, match=r"^config key 'precision' is 'half'; expected 'auto', 'bfloat16' or 'float32'$"
    ):
        Hardware("cpu", "half")


def test_a_reader_that_stops_early_gets_no_traceback():
    command = f"{sys.executable} {ROOT / 'configs' / 'train_encodeDecode.py'} --keys | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=TIMEOUT)
    # 141, as every program that a closed pipe ends, where the reader is gone before all is written.
    assert result.returncode in (0, 141)
    assert (result.stdout, result.stderr) == ("data\n", "")
