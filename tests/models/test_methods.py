"""Every method has the interface that models/methods.py describes."""

import pytest

from configs.config_train_encodeDecode import config_dict
from models import METHODS, build_network, method_of
from tests.networks import SMALL
from utils.errors import UserError
from utils.keys import KEYS


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_gives_its_network_keys_and_names(method):
    assert set(method.POSE_DECODER_KEYS) < set(method.ARCHITECTURE_KEYS) <= set(config_dict)
    assert not method.is_published({})
    assert all(isinstance(part, str) for part in method.name_parts(config_dict))


def test_the_table_of_keys_knows_the_methods():
    assert KEYS["method"].choices == tuple(METHODS)


def test_a_config_names_its_method():
    assert method_of({}) is METHODS["geometry_aware"]
    assert isinstance(build_network({**SMALL, "method": "geometry_aware"}), METHODS["geometry_aware"].Network)
    with pytest.raises(UserError, match="'method' is 'nerf'; expected 'geometry_aware'"):
        build_network({**SMALL, "method": "nerf"})


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
