"""Every method has the interface that models/methods.py describes."""

import numpy as np
import pytest
import torch

from configs.config_train_encodeDecode import config_dict
from models import METHODS, build_network, method_of
from tests.networks import SMALL
from tests.scene_networks import SMALL as SMALL_SCENE
from tests.scene_networks import SMALL_POSE
from utils.config import TABLES, check_config
from utils.errors import UserError
from utils.keys import defaults


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_its_network_keys_and_names(name):
    method, keys = METHODS[name], TABLES[name]
    assert keys["method"].default == name
    assert set(method.POSE_DECODER_KEYS) < set(method.ARCHITECTURE_KEYS) <= set(keys)
    assert set(method.ENCODER_START_KEYS) <= set(keys)
    assert not method.is_published({})
    assert all(isinstance(part, str) for part in method.name_parts(defaults(keys)))


def test_the_table_of_keys_knows_the_methods():
    assert tuple(METHODS) == tuple(TABLES)
    assert all(table["method"].choices == (name,) for name, table in TABLES.items())


@pytest.mark.parametrize(("own", "other"), [("geometry_aware", "scene"), ("scene", "geometry_aware")])
def test_scripts_of_one_method_say_that_a_config_is_of_the_other(own, other):
    with pytest.raises(UserError, match=rf"'method' is '{other}'; expected '{own}'$"):
        check_config(defaults(TABLES[other]), TABLES[own])
    assert check_config(defaults(TABLES[own])) == defaults(TABLES[own])


@pytest.mark.parametrize("config", [SMALL, SMALL_POSE], ids=["geometry_aware", "scene"])
def test_pose_statistics_are_checked_before_they_are_stored(config):
    network, mean, std = build_network(config), np.linspace(-0.5, 0.5, 51), np.linspace(0.1, 0.5, 51)
    network.set_pose_statistics(mean, torch.from_numpy(std))
    stored = torch.tensor(mean).float(), torch.tensor(std).float()
    for bad, message in (
        ({"mean": np.full(51, np.nan)}, "pose_mean contains NaN"),
        ({"mean": torch.zeros(17, 3)}, r"pose_mean has shape \(17, 3\); expected \(51,\)"),
        ({"std": torch.ones(1)}, r"pose_std has shape \(1,\); expected \(51,\)"),
        ({"std": np.zeros(51)}, "pose_std is 0 at least; expected more than 0"),
        ({"std": -std}, "pose_std is -0.5 at least"),
        ({"mean": ["a"] * 51}, "pose_mean is no array"),
        ({"std": None}, "pose_std is no array"),
    ):
        with pytest.raises(UserError, match=message):
            network.set_pose_statistics(**{"mean": mean + 1, "std": std + 1, **bad})
        torch.testing.assert_close((network.pose_mean, network.pose_std), stored)
    network.set_pose_statistics(mean, np.where(np.arange(51) < 3, 0, std))
    assert not network.pose_std[:3].any()


def test_a_network_without_pose_decoder_has_no_pose_statistics():
    with pytest.raises(UserError, match="no pose decoder"):
        build_network(SMALL_SCENE).set_pose_statistics(torch.zeros(51), torch.ones(51))


def test_a_config_names_its_method():
    assert method_of({}) is METHODS["geometry_aware"]
    assert isinstance(build_network({**SMALL, "method": "geometry_aware"}), METHODS["geometry_aware"].Network)
    with pytest.raises(UserError, match="'method' is 'nerf'; expected 'geometry_aware' or 'scene'"):
        build_network({**SMALL, "method": "nerf"})


def test_architecture_keys_of_scenes_are_those_that_change_the_tensors():
    method, base = METHODS["scene"], build_network(SMALL_SCENE)
    changes = {
        **{"spatial_transformer_num": 1, "training_mode": "pose", "detector_width": 16, "masked_blending": False},
        **{"latent_3d": 63, "spatial_transformer": "Gauss", "match_crops": False, "similarity_bandwidth": 2.0},
    }
    shapes = [(name, tensor.shape) for name, tensor in base.state_dict().items()]
    for key, value in changes.items():
        config = {**SMALL_SCENE, "output_types": ["spatial_transformer"], key: value}
        other = [(name, tensor.shape) for name, tensor in build_network(config).state_dict().items()]
        assert (other != shapes) == (key in method.ARCHITECTURE_KEYS), key


def test_architecture_keys_are_those_that_change_the_tensors():
    method, base = METHODS["geometry_aware"], build_network(SMALL)
    changes = {
        **{"encoder_max_pool": False, "latent_3d": 63, "implicit_rotation": True, "color_by_appearance": True},
        **{"width_to3Dpose": 8, "n_hidden_to3Dpose": 1, "latent_dropout": 0.1, "shuffle_3d": False},
    }
    shapes = [(name, tensor.shape) for name, tensor in base.state_dict().items()]
    for key, value in changes.items():
        other = [(name, tensor.shape) for name, tensor in build_network({**SMALL, key: value}).state_dict().items()]
        assert (other != shapes) == (key in method.ARCHITECTURE_KEYS), key


def test_the_published_beginning_of_a_run_name():
    parts = METHODS["geometry_aware"].name_parts(config_dict)
    assert "_".join(parts[:3]) == "resL3_ResNet_layers4_implRFalse"
