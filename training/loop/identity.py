"""What makes a run the run that it is, and the name of its folder that follows from it.

A run is what its config changes against the defaults of the table of keys: a key that is added later, with a neutral
default, renames nothing. Data and weights count by what they contain, so that folders may move.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.layout.labels import STATISTIC_KEYS, Labels, fingerprint
from models.methods import method_of
from utils.config import config_hash, table_of
from utils.keys import KEYS, RETIRED, Key
from utils.paths import packaged_weights
from utils.photographs import PACKAGES, photograph_files

BEST_NETWORK = "models/network_best_val_t1.pth"
CONFIG_FILE, RECORD_FILE = "config.json", "run.json"
MAX_NAME = 99  # characters
# Their values name files of weights, or what stands for one.
WEIGHTS_KEYS = (
    "network_path",
    "pretrained_network_path",
    "pretrained_crops_path",
    "encoder_weights",
    "perceptual_weights",
)
_PHOTOGRAPHS = "photographs"  # no key of a config: the pictures of `augment_background_folder`
_CONTENT_KEYS = ("dataset_folder_train", "dataset_folder_mixed", *WEIGHTS_KEYS, _PHOTOGRAPHS)


def run_identity(config: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What names the run of `config`: its stage and its keys that differ from the defaults, as JSON values.

    Keys that say where, how fast or how verbosely a run runs are left out. In the place of `dataset_folder_train` is
    a fingerprint of its labels, in that of a file of weights a digest of it. Raises UserError without labels.
    """
    contents = {key: weights_digest(config[key]) for key in WEIGHTS_KEYS if _differs(config, key)}
    contents["dataset_folder_train"] = labels_fingerprint(config["dataset_folder_train"])
    if _differs(config, "dataset_folder_mixed"):
        contents["dataset_folder_mixed"] = labels_fingerprint(config["dataset_folder_mixed"])
    return {"stage": stage, **_changed_keys(config), **contents}


def photographs_identity(config: Mapping[str, Any]) -> dict[str, str]:
    """What adds to the identity of a run that draws backgrounds from a folder of the user's: a digest of its pictures.

    Of their names and sizes. It is no part of the name, because older runs have none.
    """
    folder = config.get("augment_background_folder")
    if not config.get("augment_background") or folder in (None, PACKAGES) or not Path(folder).is_dir():
        return {}
    files = [[str(file.relative_to(folder)), file.stat().st_size] for file in photograph_files(folder)]
    return {_PHOTOGRAPHS: hashlib.blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()}


def run_name(config: Mapping[str, Any], stage: str) -> str:
    """The folder name of a run: `name` where the config has one, else made of the config, at most 99 characters.

    Such a name has the published beginning "<stage>_resL3_ResNet_layers4_...", as much of it as there is room for,
    the name of the training set, and six hexadecimal digits that stand for `run_identity`.
    """
    if config.get("name") is not None:
        return config["name"]
    training_set = re.sub(r"[^\w.-]", "-", config["training_set"], flags=re.ASCII)[:20]
    end = [training_set, config_hash(run_identity(config, stage))]
    parts = [stage, *method_of(config).name_parts(config)]
    # The name shows what fits. What it does not show is in the digits, and in config.json.
    while len("_".join(parts + end)) > MAX_NAME:
        parts.pop()
    return "_".join(parts + end)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, one phrase for each key; a key that an identity lacks has its default.

    Photographs that one of them does not tell may be the same.
    """
    phrases, table = [], table_of(ours)
    untold = {_PHOTOGRAPHS} - (ours.keys() & theirs.keys())
    for key in sorted((ours.keys() | theirs.keys()) - untold):
        mine, other = (identity.get(key, _default(key, table)) for identity in (ours, theirs))
        if mine != other:
            phrases.append(
                f"{key} (other contents)" if key in _CONTENT_KEYS else f"{key} ({other!r} there, {mine!r} here)"
            )
    return phrases


def identity_of_old_run(config: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run that has recorded none, from its config.json.

    Its stage, and what its data and weights contained, are not known, and taken from `ours`.
    """
    unknown = {key: ours[key] for key in ("stage", *_CONTENT_KEYS) if key in ours}
    # A retired key that did something makes another run, which nothing can continue.
    retired = {key: config[key] for key, about in RETIRED.items() if config.get(key, about.neutral) != about.neutral}
    return {**_changed_keys(config), **retired, **unknown}


def _changed_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    table = table_of(config)
    keys = [key for key, about in table.items() if about.names_run and key not in _CONTENT_KEYS]
    # By way of JSON, as the identity is stored: there, tuples are lists.
    return json.loads(json.dumps({key: table[key].plain(config[key]) for key in keys if _differs(config, key)}))


def _differs(config: Mapping[str, Any], key: str) -> bool:
    default = _default(key, table_of(config))
    return config.get(key, default) != default


def _default(key: str, table: Mapping[str, Key]) -> Any:
    if key in RETIRED:
        return RETIRED[key].neutral
    # What names no method is of the first one.
    table = KEYS if key == "method" else table
    return table[key].default if key in table else None


def network_file(network_path: str) -> Path:
    """The file of weights that `network_path` names.

    That of a run folder's best network; packaged weights, by their name, where no run and no file has it; or the path
    itself.
    """
    path = Path(network_path)
    if is_packaged_name(network_path):
        return packaged_weights(network_path)
    return path / BEST_NETWORK if path.is_dir() else path


def is_packaged_name(network_path: str) -> bool:
    """Whether `network_path` is the name of packaged weights, and no run or file has it. A folder of data may."""
    path = Path(network_path)
    packaged = path.name == network_path and packaged_weights(network_path).is_file()
    return packaged and not (path.is_file() or (path / "models").is_dir())


def labels_fingerprint(folder: str) -> str:
    """A fingerprint of all labels of the set in `folder`; they are read again only when their file has changed."""
    return _fingerprint_of(folder, *_version(Labels(folder).path))


# Suites of experiments ask for hundreds of names, and labels or weights may be hundreds of megabytes.
@functools.lru_cache
def _fingerprint_of(folder: str, *version: int) -> str:
    labels = Labels(folder)
    return fingerprint(labels, [key for key in (*labels.row_shapes, *STATISTIC_KEYS) if key in labels])


def weights_digest(value: str | None) -> str | None:
    """A digest of the file of weights, or of the best network of the run folder, at `value`.

    What is no file stands for itself, such as "imagenet".
    """
    if value is None:
        return None
    file = network_file(value)
    return _digest_of(str(file), *_version(file)) if file.is_file() else value


@functools.lru_cache
def _digest_of(file: str, *version: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _version(file: Path) -> tuple[int, int]:
    """What changes when a file is written again."""
    about = file.stat()
    return about.st_mtime_ns, about.st_size
