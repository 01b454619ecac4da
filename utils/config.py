"""Config dictionaries: reading them from Python files, changing keys from the command line, checking them."""

import ast
import difflib
import hashlib
import json
import os
import runpy
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from utils.commands import METHOD_SCRIPTS, command_for
from utils.errors import UserError
from utils.files import write_text
from utils.keys import ALIASES, GROUPS, KEYS, RETIRED, Key
from utils.readers import reason
from utils.scene_keys import SCENE_GROUPS, SCENE_KEYS

TABLES = {"geometry_aware": KEYS, "scene": SCENE_KEYS}
_GROUPS = {"geometry_aware": GROUPS, "scene": SCENE_GROUPS}


def read_config_file(path: str | os.PathLike, name: str = "config_dict") -> dict:
    """Return a copy of the dictionary `name` that the Python file at `path` defines."""
    if not Path(path).is_file():
        raise UserError(f"no config file {str(path)!r}; give a Python file that defines {name}")
    try:
        config = runpy.run_path(str(path)).get(name)
    # A file that ends its process, as scripts do, is no config either.
    except (Exception, SystemExit) as error:
        raise UserError(f"config file {str(path)!r} failed: {type(error).__name__}: {reason(error)}") from error
    if not isinstance(config, dict):
        raise UserError(f"config file {str(path)!r} defines no dictionary named {name}")
    return dict(config)


def load_config(
    files: Sequence[str | os.PathLike], overrides: Sequence[str], defaults: Mapping[str, Any]
) -> tuple[dict, set]:
    """The checked config of `files`, later ones first, then of the command line's `key=value` pairs.

    Known are the keys of `defaults`, whose values stand where neither file nor pair gives one. Returns the config
    and the set of keys that the user gave. A file with every key, of stage 1 at least, gives those that it changes.
    """
    table, stage2 = table_of(defaults), _GROUPS[method_name(defaults)]["stage 2"]
    keys, config, given = {key: table[key] for key in defaults}, dict(defaults), set()
    for file in files:
        changes = check_config(read_config_file(file), keys)
        # A file that has every key was made from a whole config: what it does not change is not its own choice,
        # and must not undo the file before it. In a partial one a default is a choice.
        if defaults.keys() - stage2.keys() <= changes.keys():
            changes = {key: value for key, value in changes.items() if value != defaults[key]}
        config |= changes
        given |= changes.keys()
    changes = check_config(dict(parse_override(text, keys) for text in overrides), keys)
    return check_config(config | changes, keys), given | changes.keys()


def parse_override(text: str, keys: Mapping[str, Key] = MappingProxyType({})) -> tuple[str, object]:
    """ "key=value" -> (key, value); the value is a Python literal, or the text itself.

    A literal that a key of text in `keys` does not allow is text, too: 2024 may be a name.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UserError(f"argument {text!r} is not of the form key=value")
    # Shells make quotes inside of quotes a nuisance: what is no literal is text.
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return key, value
    about = keys.get(key)
    of_text = about is not None and about.type is str and not about.is_list and not about.is_dict
    is_text = of_text and literal is not None and not isinstance(literal, str) and not about.accepts(literal)
    return key, value if is_text else literal


def check_config(
    config: Mapping[str, Any], keys: Mapping[str, Key] | None = None, complete: bool = False
) -> dict[str, Any]:
    """Check `config` by the table `keys`; return it without retired keys, and with floats for whole numbers.

    `keys` None: the table of the method that `config` names. Raises UserError, one line, for the first key that is
    unknown, retired, of a wrong type, out of its limits, or, with `complete`, missing. What ties two keys together is
    checked where it matters.
    """
    checked = {}
    keys = table_of(config) if keys is None else keys
    # First, because the keys of another method are unknown here.
    if "method" in keys and "method" in config:
        check_value("method", config["method"], keys)
    for key, value in config.items():
        if key in keys:
            checked[key] = check_value(key, value, keys)
        else:
            _check_retired(key, value, keys)
    missing = [key for key in keys if key not in config] if complete else []
    if missing:
        raise UserError(f"config key {missing[0]!r} is missing; expected {keys[missing[0]].expected()}")
    return checked


def check_value(key: str, value: Any, keys: Mapping[str, Key] = KEYS) -> Any:
    """`value` of the known key `key`, in the type of the table; UserError where the table does not allow it."""
    if isinstance(value, str) and value.startswith("~/"):
        value = os.path.expanduser(value)
    if not keys[key].accepts(value):
        raise UserError(f"config key {key!r} is {_shown(value)}; expected {keys[key].expected()}")
    return keys[key].plain(value)


def method_name(config: Mapping[str, Any]) -> str:
    """The method that `config` names. UserError for an unknown one."""
    # The first configs had no such key, because there was one method only.
    method = config.get("method", KEYS["method"].default)
    if not isinstance(method, str) or method not in TABLES:
        expected = " or ".join(map(repr, TABLES))
        raise UserError(f"config key 'method' is {_shown(method)}; expected {expected}")
    return method


def table_of(config: Mapping[str, Any]) -> Mapping[str, Key]:
    """The table of keys of the method that `config` names. UserError for an unknown one."""
    return TABLES[method_name(config)]


def _check_retired(key: str, value: Any, keys: Mapping[str, Key]) -> None:
    """Raise UserError for a key outside of the table, unless it is retired and does nothing."""
    if key not in RETIRED:
        raise UserError(f"unknown config key {key!r}; {_hint(str(key), keys)}")
    neutral, reason = RETIRED[key]
    if value != neutral:
        raise UserError(
            f"config key {key!r} is {_shown(value)}, but the option is retired ({reason}, docs/results.md); "
            f"expected {neutral!r}, or leave the key out"
        )


def _hint(key: str, keys: Mapping[str, Key]) -> str:
    """What the user may have meant by `key`."""
    method = keys["method"].default if "method" in keys else KEYS["method"].default
    table = TABLES[method]
    if key in table:
        return f"it is a key of {_group(key, method)}"
    others = [name for name, keys_of in TABLES.items() if key in keys_of]
    if others:
        return f"it is a key of the method {others[0]!r}, expected one of {method!r}"
    alias = ALIASES.get(key.lower())
    if alias in table:
        return f"expected {alias!r}" + ("" if alias in keys else f", a key of {_group(alias, method)}")
    names, every_key = {name.lower(): name for name in keys}, command_for(METHOD_SCRIPTS[method].stage2) + " --keys"
    nearest = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.6)
    return f"the nearest known key is {names[nearest[0]]!r}" if nearest else f"`{every_key}` lists all keys"


def _group(key: str, method: str) -> str:
    return next(name for name, members in _GROUPS[method].items() if key in members)


def _shown(value: Any) -> str:
    """`value` in one line, shortened."""
    text = repr(value)
    return text if len(text) < 200 and "\n" not in text else textwrap.shorten(text, 200, placeholder=" ...")


def keys_text(config: Mapping[str, Any]) -> str:
    """The table of the keys of `config`, by group: value in `config`, what is allowed, meaning."""
    lines = []
    for group, members in _GROUPS[method_name(config)].items():
        shown = [key for key in members if key in config]
        lines += [f"\n{group}"] if shown else []
        for key in shown:
            lines.append(f"  {key} = {config[key]!r}    [{members[key].expected()}]\n      {members[key].comment}")
    return "\n".join(lines).lstrip("\n")


def config_text(config: Mapping[str, Any]) -> str:
    """`config` as a Python file that `--config` reads."""
    return "config_dict = {\n" + "".join(f"    {key!r}: {value!r},\n" for key, value in config.items()) + "}"


def write_config(path: str | os.PathLike, config: dict) -> None:
    """Write `config` as JSON, atomically."""
    write_text(path, json.dumps(config, indent=2) + "\n")


def config_hash(config: dict) -> str:
    """Six hexadecimal digits that stand for every key and value of `config`."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:6]
