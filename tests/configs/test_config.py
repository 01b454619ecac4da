"""Config dictionaries: the published values, reading files, changing keys, what command lines print."""

import importlib

import pytest

from configs.command_line import add_layout_arguments, script_parser
from configs.config_train_encodeDecode import config_dict
from configs.config_train_encodeDecode_pose import config_dict as stage2_dict
from models import METHODS
from utils.config import check_config, config_hash, load_config, parse_override, read_config_file
from utils.errors import UserError
from utils.keys import KEYS, STAGE1_KEYS, defaults
from utils.paths import WORK
from utils.scene_keys import SCENE_KEYS, SCENE_STAGE1_KEYS

STAGE1_MODULES = [
    "config_train_encodeDecode",
    "config_train_better",
    "config_demo",
    "config_64px",
    "config_scene_crops",
    "config_adapt",
    "config_wild",
]
STAGE2_MODULES = [
    "config_train_encodeDecode_pose",
    "config_train_better_pose",
    "config_test_encodeDecode",
    "config_demo_pose",
    "config_adapt_pose",
    "config_64px_pose",
    "config_demo_supervised",
]


@pytest.mark.parametrize("name", [*STAGE1_MODULES, *STAGE2_MODULES])
def test_every_config_file_is_valid_and_complete(name):
    module = importlib.import_module(f"configs.{name}")
    keys = STAGE1_KEYS if name in STAGE1_MODULES else KEYS
    assert check_config(module.config_dict, keys, complete=True) == module.config_dict
    assert module.config_dict == read_config_file(module.__file__)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("config_train_detect_encode_decode", SCENE_STAGE1_KEYS),
        ("config_scene_boxes", SCENE_STAGE1_KEYS),
        ("config_scene_small", SCENE_STAGE1_KEYS),
        ("config_scene_depths", SCENE_STAGE1_KEYS),
        ("config_scene_small_pose", SCENE_KEYS),
        ("config_scene_small_supervised", SCENE_KEYS),
        ("config_train_detect_encode_decode_pose", SCENE_KEYS),
        ("config_test_detect_encode_decode", SCENE_KEYS),
    ],
)
def test_every_config_file_of_scenes_is_valid_and_complete(name, keys):
    module = importlib.import_module(f"configs.{name}")
    assert (
        check_config(module.config_dict, keys, complete=True) == module.config_dict == read_config_file(module.__file__)
    )


@pytest.mark.parametrize("name", SCENE_KEYS)
def test_every_key_of_scenes_has_a_default_that_it_accepts_and_a_comment(name):
    key = SCENE_KEYS[name]
    assert key.accepts(key.default) and key.plain(key.default) == key.default and len(key.comment) > 10
    assert key.accepts(None) == key.optional
    for choice in key.choices:
        assert key.accepts([choice] if key.is_list else choice)


@pytest.mark.parametrize("name", ["config_adapt", "config_adapt_pose"])
def test_an_adaptation_leaves_the_architecture_to_its_weights(name):
    # A file that changes such a key asks for it, and is refused by weights that differ.
    config = importlib.import_module(f"configs.{name}").config_dict
    keys = METHODS["geometry_aware"].ARCHITECTURE_KEYS
    assert {key: config[key] for key in keys} == {key: KEYS[key].default for key in keys}


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


def test_overrides_are_python_literals_or_text():
    assert parse_override("latent_fg=64") == ("latent_fg", 64)
    assert parse_override("actor_subset=[1,5]") == ("actor_subset", [1, 5])
    assert parse_override("encoder_weights=None") == ("encoder_weights", None)
    assert parse_override("network_path=/a=b/c") == ("network_path", "/a=b/c")
    assert parse_override("name={[]: 1}") == ("name", "{[]: 1}")
    text, given = load_config([], ["name=2024", "dataset_folder_train=2024_10", "network_path=None"], defaults(KEYS))
    assert [text[key] for key in ("name", "dataset_folder_train", "network_path")] == ["2024", "2024_10", None]
    assert given == {"name", "dataset_folder_train", "network_path"}
    for wrong in ("training_set=None", "optimizer=3", "latent_fg=x"):
        with pytest.raises(UserError, match=f"'{wrong.partition('=')[0]}' is "):
            load_config([], [wrong], defaults(KEYS))
    for broken in ("latent_fg", "=3"):
        with pytest.raises(UserError, match="key=value"):
            parse_override(broken)


def write(path, text):
    path.write_text(text)
    return path


def test_left_out_keys_take_the_default_and_given_ones_are_told(tmp_path):
    mine = write(tmp_path / "mine.py", "config_dict = {'latent_fg': 64, 'seed': 0}\n")
    config, given = load_config([mine], ["learning_rate=1"], config_dict)
    assert config["latent_fg"] == 64 and config["latent_3d"] == config_dict["latent_3d"]
    assert config["learning_rate"] == 1.0 and isinstance(config["learning_rate"], float)
    assert given == {"latent_fg", "seed", "learning_rate"}, "a default that the file has is a choice, too"


def test_files_are_merged_from_left_to_right(tmp_path):
    one = write(tmp_path / "one.py", "config_dict = {'latent_fg': 64, 'seed': 1}\n")
    two = write(tmp_path / "two.py", "config_dict = {'latent_fg': 128, 'latent_3d': 30}\n")
    config, given = load_config([one, two], [], config_dict)
    assert (config["latent_fg"], config["latent_3d"], config["seed"]) == (128, 30, 1)
    assert config == load_config([one, two], ["seed=1"], config_dict)[0]
    assert load_config([two, one], ["seed=2"], config_dict)[0] == {**config, "latent_fg": 64, "seed": 2}
    assert {"latent_fg", "latent_3d", "seed"} == given


def test_a_file_with_every_key_undoes_nothing_that_it_does_not_change(tmp_path):
    whole = write(
        tmp_path / "whole.py",
        "from configs.config_train_encodeDecode import config_dict as published\n"
        "config_dict = {**published, 'dataset_folder_train': 'mine'}\n",
    )
    demo = importlib.import_module("configs.config_demo")
    config, _ = load_config([demo.__file__, whole], [], config_dict)
    assert config == {**demo.config_dict, "dataset_folder_train": "mine"}
    for defaults_of_script in (config_dict, defaults(KEYS)):
        assert load_config([whole], [], defaults_of_script)[1] == {"dataset_folder_train"}


@pytest.mark.parametrize("text", ["x = 1\n", "config_dict = 3\n", "import nowhere_to_be_found\n", "config_dict = {\n"])
def test_a_broken_config_file_is_one_line(tmp_path, text):
    path = write(tmp_path / "broken.py", text)
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
    add_layout_arguments(parser, size=128, every=5, box_metres=2.0, background=True)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "\nfirst line of usage\nsecond line: 100 % of it\n" in shown
    for words in ("(default: 0 2)", "(default: output)", "(default: 5)", "(default: 128)", "(default: 2.0)"):
        assert words in shown
    assert "nowhere" not in shown and "True" not in shown and "None" not in shown
    given = parser.parse_args(["--source", "x", "--no-background", "--size", "64"])
    assert (given.background, given.size, given.every, given.workers) == (False, 64, 5, None)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--size", "x"], "error: --size is 'x'; expected a whole number"),
        (["--box-metres=1,5"], "error: --box-metres is '1,5'; expected a number"),
        (["--nonsense"], "error: unrecognized arguments: --nonsense; expected what --help lists"),
        (["--size"], "error: --size: expected one argument"),
        (["--siz", "64"], "error: unrecognized arguments: --siz 64; expected what --help lists"),
    ],
)
def test_wrong_options_are_one_line(words, line, capsys):
    parser = script_parser("What it does.")
    add_layout_arguments(parser, size=128, box_metres=2.0)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(words)
    assert (end.value.code, capsys.readouterr().err) == (2, f"{line}\n")


def test_home_folder_in_options(monkeypatch):
    monkeypatch.setenv("HOME", "/home/a"), monkeypatch.setenv("USERPROFILE", "/home/a")
    parser = script_parser("What it does.")
    parser.add_argument("--output"), parser.add_argument("--offsets"), parser.add_argument("folders", nargs="*")
    given = parser.parse_args(["--output=~/x", "--offsets=left=~/3", "~/d", "a~/b"])
    assert vars(given) == {"output": "/home/a/x", "offsets": "left=~/3", "folders": ["/home/a/d", "a~/b"]}


def run(monkeypatch, capsys, script, *arguments):
    """Standard output of a script's main() that is to print and end."""
    monkeypatch.setattr("sys.argv", [f"{script}.py", *arguments])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"configs.{script}").main()
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("script", ["train_encodeDecode", "train_encodeDecode_pose", "test_encodeDecode"])
def test_every_script_lists_its_keys_with_default_and_meaning(monkeypatch, capsys, script):
    shown = run(monkeypatch, capsys, script, "--keys")
    defaults = importlib.import_module(f"configs.config_{script}").config_dict
    for key, value in defaults.items():
        assert f"  {key} = {value!r}    [{KEYS[key].expected()}]\n      {KEYS[key].comment}" in shown
    assert ("stage 2" in shown.splitlines()) == (script != "train_encodeDecode")


def test_keys_are_listed_where_an_option_is_missing(monkeypatch, capsys):
    assert "latent_3d" in run(monkeypatch, capsys, "export_weights", "--keys")


def test_the_printed_config_is_a_config_file(monkeypatch, capsys, tmp_path):
    demo = importlib.import_module("configs.config_demo_pose")
    arguments = ("--config", demo.__file__, "label_fraction=1", "--device", "cpu", "name=mine")
    printed = run(monkeypatch, capsys, "train_encodeDecode_pose", *arguments, "--print-config")
    config = read_config_file(write(tmp_path / "printed.py", printed))
    assert config == {**demo.config_dict, "label_fraction": 1.0, "device": "cpu", "name": "mine"}
    again = run(
        monkeypatch, capsys, "train_encodeDecode_pose", "--config", str(tmp_path / "printed.py"), "--print-config"
    )
    assert again == printed


def test_config_may_be_given_several_times(monkeypatch, capsys, tmp_path):
    files = [write(tmp_path / f"{n}.py", f"config_dict = {{'seed': {n}, 'latent_fg': {n}}}\n") for n in (1, 2)]
    last = write(tmp_path / "last.py", "config_dict = {'latent_fg': 3}\n")
    options = [word for file in (*files, last) for word in ("--config", str(file))]
    printed = run(monkeypatch, capsys, "train_encodeDecode", *options, "latent_3d=30", "--print-config")
    config = read_config_file(write(tmp_path / "printed.py", printed))
    assert config == {**config_dict, "seed": 2, "latent_fg": 3, "latent_3d": 30}


def test_stage_2_differs_from_the_table_in_published_values_only():
    changed = {key: value for key, value in stage2_dict.items() if value != KEYS[key].default}
    assert changed == {
        "output_types": ["3D"],
        "shuffle_fg": False,
        "shuffle_3d": False,
        "latent_dropout": 0.0,
        "num_training_iterations": 100_000,
        "test_every": 1000,
    }
