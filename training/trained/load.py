"""The one door to trained networks: a run folder, or a file of weights in our or the published format."""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from datasets import FrameDataset, MultiViewDataset
from models import (
    Checkpoint,
    EncodeDecode,
    build_network,
    load_pose_decoder,
    load_weights,
    method_of,
    network_of,
    read_checkpoint,
)
from models.parts.trust import TrustHead
from models.parts.weights import is_within, match_weights
from models.scene.network import DetectEncodeDecode
from training.loop.distributed import is_main
from training.loop.hardware import Hardware
from training.loop.identity import CONFIG_FILE, RECORD_FILE, network_file
from training.loop.latest import without_latest
from training.loop.loaders import open_frames, open_test_set
from utils.commands import METHOD_SCRIPTS, command_for
from utils.config import check_config, method_name
from utils.errors import UserError
from utils.paths import ROOT, WEIGHTS_FOLDER

# Exported weights name no test set, because they leave the machine that made them.
SAMPLE_SETS = {"geometry_aware": str(ROOT / "examples" / "sample_set"), "scene": str(ROOT / "examples" / "scenes")}

# In the config of a stage 2, no key of the table: False where it began with a network whose image decoder does not
# fit its encoder, which is that of supervision, or was trained on with the labels.
_VIEWS_TRAINED = "views_trained"
_VIEWS = {"img_crop", "img"}  # novel views, of crops and of frames


class Trained(NamedTuple):
    """A trained network in eval mode, on its hardware.

    `config` is the one to use it under. `trained_with` is the config of its training, None for a published file.
    """

    network: EncodeDecode | DetectEncodeDecode
    config: dict
    hardware: Hardware
    trained_with: dict | None


def open_network(config: dict, given: frozenset[str] = frozenset()) -> Trained:
    """The network at `network_path`, on the `device` and in the `precision` of `config`.

    Its architecture is that of its own training, and so are its test set (`dataset_folder_test`) and those of its
    `output_types` that were trained. `given` names the keys that the user gave: for the test set and the outputs they
    replace the stored values, for the architecture they must agree with them. A published file stores no config: it
    is loaded into the network that `config` describes. In the config that is returned, `network_path` is the run that
    `latest` led to.
    """
    config = check_config(config)
    if config.get("pretrained_network_path") and "pretrained_network_path" in given and "network_path" not in given:
        raise UserError(
            f"pretrained_network_path is {config['pretrained_network_path']!r}, with which a training begins; expected "
            "network_path, which names a trained network"
        )
    if config["network_path"] is None:
        raise UserError("network_path is None; expected a run folder of a training, or a file of weights")
    config["network_path"] = without_latest(config["network_path"])
    hardware = Hardware(config["device"], config["precision"])
    file = weights_file(config["network_path"])
    checkpoint = read_checkpoint(file)
    stored = checkpoint.config
    _check_method(config, checkpoint)
    method = method_of(stored or config)
    config = _agreed(config, checkpoint, given, ("method", *method.ARCHITECTURE_KEYS))
    # What the user gave is an experiment with a trained network.
    config |= {key: stored[key] for key in method.BEHAVIOR_KEYS if key in (stored or {}) and key not in given}
    if stored is not None and "dataset_folder_test" not in given:
        config = {**config, "dataset_folder_test": stored.get("dataset_folder_test", SAMPLE_SETS[method_name(stored)])}
    # Pretrained weights would be downloaded only to be overwritten.
    network = network_of(checkpoint, {**config, "encoder_weights": None})
    load_weights(network, checkpoint)
    if checkpoint.trust is not None:
        network.trust = TrustHead(checkpoint.trust)
    if stored is not None:
        network.output_types = _outputs_of(checkpoint, network.output_types, "output_types" in given)
    return Trained(hardware.place(network.eval()), config, hardware, stored)


def open_test_frames(trained: Trained) -> FrameDataset:
    """All that the test set of `trained`, of full frames, has."""
    return open_frames(trained.config, None, "dataset_folder_test")


def open_test_data(trained: Trained, keys: tuple[str, ...], masks: bool = False, **changes: Any) -> MultiViewDataset:
    """`keys` of the test set of `trained`, and what of the set are `masks`, under its config with `changes`.

    A published network that is to give poses takes the set's statistics of them.
    """
    dataset = open_test_set({**trained.config, **changes}, keys, masks)
    if trained.trained_with is None and "3D" in trained.network.output_types:
        # A published file holds none, and the published test set holds those of the training poses.
        trained.network.set_pose_statistics(dataset.pose_mean, dataset.pose_std)
    return dataset


def _check_method(config: dict, checkpoint: Checkpoint) -> None:
    """UserError where a checkpoint is of another method than the one that `config` is for."""
    wanted, found = method_name(config), checkpoint.config and method_name(checkpoint.config)
    if found not in (None, wanted):
        script = METHOD_SCRIPTS[found].test
        raise UserError(
            f"{checkpoint.source} is a network of the method {found!r}, expected {wanted!r} ({command_for(script)} "
            "opens it)"
        )


def open_for_views(
    config: dict, given: frozenset[str] = frozenset(), for_poses: bool = False
) -> tuple[EncodeDecode, dict, bool]:
    """A network for stage 1 to train, that of `pretrained_network_path` or a new one, and its config.

    `for_poses`: for supervision; where that network has no pose decoder, it gets a new one. Also returns whether its
    pose decoder is a trained one, which means something only with its own pose statistics.
    """
    if config["pretrained_network_path"] is None:
        return build_network(config), config, False
    file = weights_file(config["pretrained_network_path"], "pretrained_network_path")
    checkpoint = read_checkpoint(file)
    mode, method = config.get("training_mode"), method_of(checkpoint.config or config)
    new_decoder = for_poses and not any(is_within(name, method.POSE_DECODER) for name in checkpoint.weights)
    config = _inherited(config, checkpoint, given, _taken_over(method.ARCHITECTURE_KEYS, method, not new_decoder))
    config = _behaving(config, checkpoint, given, method.KEPT_IN_STAGE1)
    if mode == "NVS" and config["training_mode"] == "pose":
        raise UserError(f"{checkpoint.source} was trained with training_mode 'pose'; expected 'NVS' or 'both'")
    network = build_network(config, load=False) if new_decoder else network_of(checkpoint, config, load=False)
    _load_for_pose(network, checkpoint, method, not new_decoder)
    return network, config, _has_poses(checkpoint)


def start_from_crops(network: DetectEncodeDecode, config: dict) -> None:
    """Load encoder and image decoder of the network of one person at `pretrained_crops_path`, where that is given.

    UserError where it has other ones, by the first tensor that differs, is missing or has no place.
    """
    if config["pretrained_crops_path"] is None:
        return
    checkpoint = read_checkpoint(weights_file(config["pretrained_crops_path"], "pretrained_crops_path"))
    _check_method({"method": "geometry_aware"}, checkpoint)
    for name, part in (("encoder", network.encoder), ("decoder", network.decoder)):
        matched = match_weights(part, checkpoint.weights, checkpoint.source, f"{name}.{{}}".format)
        for theirs in checkpoint.weights:
            if is_within(theirs, name) and theirs.removeprefix(f"{name}.") not in matched:
                raise UserError(
                    f"{checkpoint.source}: {theirs!r} has no place in this network; expected a network of one person "
                    "with the same encoder and image decoder"
                )
        part.load_state_dict(matched)


def open_for_pose(config: dict, given: frozenset[str] = frozenset()) -> tuple[EncodeDecode, dict, bool]:
    """A network for stage 2 to train: the one at `network_path` with a new pose decoder, or a new one altogether.

    With `pretrained_network_path` the pose decoder is the one there, unless the encoder trains, too, and the network
    has a trained one. Returns what `open_for_views` does.
    """
    # Without stage 1 this is the supervised baseline, which trains its encoder on the labels.
    if config["network_path"] is None:
        if config["freeze_encoder"]:
            raise UserError("network_path is None, but freeze_encoder is True; expected the run folder of a stage 1")
        _check_views(config)
        return open_for_views(config, given, for_poses=True)
    file = weights_file(config["network_path"])
    checkpoint = read_checkpoint(file)
    # A new pose decoder would spoil the features of an encoder that trains too, before it has learned anything.
    keep_decoder = not config["freeze_encoder"] and _has_poses(checkpoint)
    method = method_of(checkpoint.config or config)
    config = _inherited(config, checkpoint, given, _taken_over(method.ARCHITECTURE_KEYS, method, keep_decoder))
    config = _behaving(config, checkpoint, given, _taken_over(method.BEHAVIOR_KEYS, method, keep_decoder))
    if checkpoint.config is not None and not _VIEWS & _trained_outputs(checkpoint.config):
        config = {**config, _VIEWS_TRAINED: False}
    _check_views(config)
    if keep_decoder and config["pretrained_network_path"] is not None and is_main():
        print(
            f"pretrained_network_path {config['pretrained_network_path']!r} is not used: {checkpoint.source} has a "
            "trained pose decoder, which trains on"
        )
    decoder = None if keep_decoder else _pretrained_decoder(config["pretrained_network_path"])
    if decoder is not None:
        config = _agreed(config, decoder, given, method.POSE_DECODER_KEYS)
    network = build_network(config, load=False)
    _load_for_pose(network, checkpoint, method, keep_decoder)
    if decoder is not None:
        load_pose_decoder(network, decoder)
    return network, config, keep_decoder or decoder is not None


def _taken_over(keys: Iterable[str], method: ModuleType, keep_decoder: bool) -> list[str]:
    """Those of `keys` of a trained network that stage 2 takes over; all with `keep_decoder`, its trained decoder."""
    left = () if keep_decoder else (*method.POSE_DECODER_KEYS, *method.STAGE1_ONLY)
    return [key for key in keys if key not in left]


def _load_for_pose(network: torch.nn.Module, checkpoint: Checkpoint, method: ModuleType, keep_decoder: bool) -> None:
    """Load `checkpoint`; without `keep_decoder`, all but the pose decoder and the parts that `network` does without."""
    left = () if keep_decoder else [part for part in method.STAGE1_ONLY if getattr(network, part, None) is None]
    load_weights(network, _without(checkpoint, left), keep=None if keep_decoder else method.POSE_DECODER)


def _without(checkpoint: Checkpoint, parts: Iterable[str]) -> Checkpoint:
    """`checkpoint` without its weights of `parts`; a published one as it is, of which unused ones are reported."""
    if checkpoint.config is None:
        return checkpoint
    weights = checkpoint.weights.items()
    kept = {name: tensor for name, tensor in weights if not any(is_within(name, part) for part in parts)}
    return checkpoint._replace(weights=kept)


def _pretrained_decoder(path: str | None) -> Checkpoint | None:
    """The checkpoint at `path`, if it has a trained pose decoder."""
    if path is None:
        return None
    checkpoint = read_checkpoint(weights_file(path, "pretrained_network_path"))
    if not _has_poses(checkpoint):
        print(f"pretrained_network_path {path!r} has no trained pose decoder: a new one is trained")
        return None
    return checkpoint


def weights_file(path: str, key: str = "network_path") -> Path:
    """The file of weights that `path` (a run folder, or the file itself) means; `key`: its config key, for errors."""
    file = network_file(path)
    if not file.is_file():
        packaged = ", ".join(sorted(repr(weights.stem) for weights in WEIGHTS_FOLDER.glob("*.safetensors")))
        raise UserError(
            f"{key} {path!r} has no network ({str(file)!r} is missing); "
            f"expected a run folder of a training, a file of weights, or the name of packaged ones: {packaged}"
        )
    return file


def run_of(file: Path) -> Path | None:
    """The run folder that a file of weights is in; None for a file by itself, also in a folder named as a run's is."""
    folder = file.parent.parent
    is_run = file.parent.name == "models" and any((folder / name).is_file() for name in (RECORD_FILE, CONFIG_FILE))
    return folder if is_run else None


def _inherited(config: dict, checkpoint: Checkpoint, given: frozenset[str], architecture: Iterable[str]) -> dict:
    """`config` with the `architecture` of the checkpoint and, where nothing is given, how its encoder trains on."""
    stored = checkpoint.config or {}
    _check_method(config, checkpoint)
    config = _agreed(config, checkpoint, given, architecture)
    return config | {
        key: stored[key] for key in method_of(config).ENCODER_START_KEYS if key in stored and key not in given
    }


def _behaving(config: dict, checkpoint: Checkpoint, given: frozenset[str], keys: Iterable[str]) -> dict:
    """`config` with the checkpoint's values of `keys`, but for those that the user gave; a line for each of these that
    differs.
    """
    # It sees and renders as it was taught to, unless the user asks for something else.
    stored = checkpoint.config or {}
    behavior = {key: stored[key] for key in keys if key in stored}
    config = config | {key: value for key, value in behavior.items() if key not in given}
    for key, value in behavior.items():
        if config[key] != value and is_main():
            print(f"{key} is {config[key]!r}, where {checkpoint.source} was trained with {value!r}")
    return config


def _has_poses(checkpoint: Checkpoint) -> bool:
    """Whether its pose decoder is trained; False for a published file, which holds no pose statistics."""
    return "3D" in (checkpoint.config or {}).get("output_types", ())


def _outputs_of(checkpoint: Checkpoint, wanted: tuple[str, ...], given: bool) -> tuple[str, ...]:
    """Those of the outputs `wanted` that were trained. UserError for untrained views or poses that the user gave."""
    stored = checkpoint.config
    trained = _trained_outputs(stored)
    if not given:
        return tuple(name for name in wanted if name in trained)
    untrained = [name for name in ("img_crop", "3D") if name in wanted and name not in trained]
    if untrained:
        raise UserError(
            f"output_types has {untrained[0]}, but {checkpoint.source} was trained for {stored['output_types']} only"
        )
    return wanted


def _trained_outputs(stored: dict) -> set[str]:
    """The outputs that a network was trained for, here or in the stage before, by its `stored` config."""
    return {*stored["output_types"], *(("img_crop",) if _keeps_views(stored) else ())}


def _keeps_views(config: dict) -> bool:
    """Whether `config` is of a stage 2 that leaves the image decoder as stage 1 trained it, for an encoder that stays,
    too.
    """
    return bool(config.get("network_path") and config.get("freeze_encoder", True) and config.get(_VIEWS_TRAINED, True))


def _check_views(config: dict) -> None:
    """UserError where `config`, of a stage 2, has views among its outputs, and its network will have none."""
    views = [name for name in config["output_types"] if name in _VIEWS]
    if views and not _keeps_views(config):
        raise UserError(
            f"output_types is {config['output_types']}, but {views[0]} needs a frozen encoder whose views were "
            "trained; expected 3D alone"
        )


def _agreed(config: dict, checkpoint: Checkpoint, given: frozenset[str], keys: Iterable[str]) -> dict:
    """`config` with the checkpoint's values of `keys`; UserError where one that the user gave differs."""
    stored = checkpoint.config or {}
    taken = {key: stored[key] for key in keys if key in stored}
    for key, value in taken.items():
        if key in given and config[key] != value:
            raise UserError(
                f"{key} is {config[key]!r}, but {checkpoint.source} was trained with {value!r}; leave the key out"
            )
    return {**config, **taken}
