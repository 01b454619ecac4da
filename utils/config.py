"""Config dictionaries: reading them from Python files, changing keys from the command line, checking them."""

import ast
import difflib
import hashlib
import json
import os
import runpy
from pathlib import Path

from utils.errors import UserError
from utils.files import write_atomically


def read_config_file(path: str | os.PathLike, name: str = "config_dict") -> dict:
    """Return a copy of the dictionary `name` that the Python file at `path` defines."""
    if not Path(path).is_file():
        raise UserError(f"no config file {str(path)!r}; give a Python file that defines {name}")
    try:
        config = runpy.run_path(str(path)).get(name)
    except Exception as error:
        raise UserError(f"config file {str(path)!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"config file {str(path)!r} defines no dictionary named {name}")
    return dict(config)


def load_config(path: str | os.PathLike, overrides: list[str], reference: dict, optional: dict) -> tuple[dict, set]:
    """The dictionary in `path` with the command line's `key=value` pairs, checked against `reference`.

    `reference` holds every known key with a value of its type; `optional` names the keys that may
    be None and the type that they have otherwise. Keys that the file leaves out take the reference's
    value. Returns the config and the set of keys that differ from it because the user said so.
    """
    config = read_config_file(path)
    changed = {key for key, value in config.items() if key not in reference or value != reference[key]}
    for override in overrides:
        key, value = parse_override(override)
        config[key] = value
        changed.add(key)
    check_config(config, reference, optional)
    # a whole number stands for a float where a float is expected
    config = {k: float(v) if _expected(k, reference, optional) is float and v is not None else v
              for k, v in config.items()}  # fmt: skip
    return {**reference, **config}, changed


def parse_override(text: str) -> tuple[str, object]:
    """ "key=value" -> (key, value); the value is a Python literal, or the text itself."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UserError(f"argument {text!r} is not of the form key=value")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def check_config(config: dict, reference: dict, optional: dict) -> None:
    """Raise UserError for the first unknown key (naming the nearest) or value of a wrong type."""
    for key, value in config.items():
        if key not in reference:
            nearest = difflib.get_close_matches(key, reference, n=1, cutoff=0)
            raise UserError(f"unknown config key {key!r}; the nearest known key is {nearest[0]!r}")
        expected = _expected(key, reference, optional)
        if value is None and key in optional:
            continue
        if not _has_type(value, expected):
            none = " or None" if key in optional else ""
            raise UserError(f"config key {key!r} is {value!r}; expected {expected.__name__}{none}")


def _expected(key: str, reference: dict, optional: dict) -> type:
    return optional.get(key) or type(reference[key])


def _has_type(value: object, expected: type) -> bool:
    if isinstance(value, bool) or expected is bool:
        return isinstance(value, bool) and expected is bool
    if expected is float:
        return isinstance(value, (int, float))
    if expected in (list, tuple):
        return isinstance(value, (list, tuple))
    return isinstance(value, expected)


def write_config(path: str | os.PathLike, config: dict) -> None:
    """Write `config` as JSON, whole or not at all."""
    write_atomically(path, lambda part: part.write_text(json.dumps(config, indent=2) + "\n"))


def config_hash(config: dict) -> str:
    """Six hexadecimal digits that stand for every key and value of `config`."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:6]
