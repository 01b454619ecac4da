"""Config dictionaries: every key known, typed, and changed from the command line."""

import importlib

import pytest

from configs.command_line import add_layout_arguments, script_parser
from configs.config_train_encodeDecode import config_dict, optional_keys
from utils.config import check_config, config_hash, load_config, parse_override, read_config_file
from utils.errors import UserError
from utils.paths import WORK

MODULES = [
    "config_train_encodeDecode",
    "config_train_encodeDecode_pose",
    "config_train_better",
    "config_train_better_pose",
    "config_test_encodeDecode",
    "config_demo",
    "config_demo_pose",
    "config_demo_supervised",
]


@pytest.mark.parametrize("name", MODULES)
def test_every_config_file_is_valid(name):
    module = importlib.import_module(f"configs.{name}")
    reference = importlib.import_module("configs.config_train_encodeDecode_pose").config_dict
    check_config(module.config_dict, reference, module.optional_keys)
    assert module.config_dict == read_config_file(module.__file__)


def test_published_hyper_parameters():
    published = {
        "encoderType": "ResNet",
        "latent_fg": 128,
        "latent_3d": 600,
        "feature_scale": 2,
        "batch_size_train": 32,
        "learning_rate": 1e-3,
        "loss_weight_rgb": 1.0,
        "loss_weight_imageNet": 2.0,
        "loss_weight_gradient": 0.0,
        "target_other_view": False,
        "augment_color": 0.0,
        "augment_rotation": 0.0,
        "augment_mirror": False,
        "sigmoid_bottleneck": True,
        "actor_subset": [1, 5, 6, 7, 8],
        "useCamBatches": 2,
        "test_every": 5000,
        "print_every": 100,
    }
    assert {key: config_dict[key] for key in published} == published


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_fgg": 3}, ["latent_fgg", "latent_fg"]),
        ({"latent_fg": "many"}, ["latent_fg", "'many'", "int"]),
        ({"latent_fg": True}, ["latent_fg", "True", "int"]),
        ({"latent_fg": None}, ["latent_fg", "None", "int"]),
        ({"MAE": 1}, ["MAE", "1", "bool"]),
        ({"actor_subset": 1}, ["actor_subset", "list or None"]),
        ({"seed": 0.5}, ["seed", "0.5", "int"]),
    ],
)
def test_unknown_keys_and_wrong_types_name_key_value_and_expectation(changes, words):
    with pytest.raises(UserError) as error:
        check_config({**config_dict, **changes}, config_dict, optional_keys)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_overrides_are_python_literals_or_text(tmp_path):
    assert parse_override("latent_fg=64") == ("latent_fg", 64)
    assert parse_override("actor_subset=[1,5]") == ("actor_subset", [1, 5])
    assert parse_override("encoder_weights=None") == ("encoder_weights", None)
    assert parse_override("network_path=/a=b/c") == ("network_path", "/a=b/c")
    with pytest.raises(UserError, match="key=value"):
        parse_override("latent_fg")


def test_left_out_keys_take_the_default_and_changed_ones_are_told(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("config_dict = {'latent_fg': 64, 'seed': 0}\n")
    config, said = load_config(path, ["learning_rate=1"], config_dict, optional_keys)
    assert config["latent_fg"] == 64 and config["latent_3d"] == config_dict["latent_3d"]
    assert config["learning_rate"] == 1.0 and isinstance(config["learning_rate"], float)
    assert said == {"latent_fg", "learning_rate"}


@pytest.mark.parametrize("text", ["x = 1\n", "config_dict = 3\n", "import nowhere_to_be_found\n", "config_dict = {\n"])
def test_a_broken_config_file_is_one_line(tmp_path, text):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_config_file(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_hash_depends_on_values_only():
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_help_keeps_line_breaks_and_shows_defaults(capsys):
    parser = script_parser("What it does.\n\nfirst line of usage\nsecond line: 100 % of it\n")
    parser.add_argument("--source", required=True, default="nowhere", help="where from")
    parser.add_argument("--cameras", type=int, nargs="+", default=[0, 2], help="which")
    parser.add_argument("--folder", default=str(WORK / "output"), help="where to")
    add_layout_arguments(parser, every=5, box_metres=2.0, background=True)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "\nfirst line of usage\nsecond line: 100 % of it\n" in shown
    for words in ("(default: 0 2)", "(default: output)", "(default: 5)", "(default: 128)", "(default: 2.0)"):
        assert words in shown
    assert "nowhere" not in shown and "True" not in shown and "None" not in shown
    given = parser.parse_args(["--source", "x", "--no-background", "--size", "64"])
    assert (given.background, given.size, given.every, given.workers) == (False, 64, 5, None)
