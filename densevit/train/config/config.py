"""Config files to a checked mmengine `Config`: every key and type, and every name, before anything starts.

Only .py files run code. YAML and JSON are data: mmengine's own loader would run what they carry
(docs/decisions/config_loader.md).
"""

import ast
import json
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from densevit.data.augment.options import AUGMENTS, read_augment
from densevit.files import write_text
from densevit.train.config.conform import conform
from densevit.train.config.names import check_names
from densevit.train.config.schema import ConfigFile

BASE = "_base_"
DATA_SUFFIXES = (".json", ".yaml", ".yml")


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config file and its parent, apply `overrides` (dotted key -> value), check it, and fill in the defaults.

    Raises ValueError with one sentence that names the file, what is wrong, and the nearest known name.
    """
    path = Path(path)
    config = read_config(path)
    if overrides:
        _override(config, overrides, path)
    return check_config(config, path=path)


def check_config(config: Config | Mapping[str, Any], *, path: str | Path | None = None) -> Config:
    """The config with defaults filled in; ValueError for unknown keys, wrong types and unknown names."""
    plain = config.to_dict() if isinstance(config, Config) else dict(config)
    try:
        checked = conform(plain, ConfigFile)
        for name in checked["custom_imports"]:
            _import(name)
        section = checked["train_data"]
        rank = checked["model"]["spatial_dims"] if checked["model"]["spatial_dims"] in AUGMENTS else 2
        section["augment"] = vars(read_augment(section["augment"], spatial_dims=rank, where="train_data.augment"))
        check_names(checked)
    except (ValueError, KeyError) as error:
        message = error.args[0] if error.args else str(error)
        raise ValueError(f"{path or 'the config'}: {message}") from None
    # cfg_text: Config would read the file again to keep its text.
    return Config(checked, filename=None if path is None else str(path), cfg_text=" ", format_python_code=False)


def _import(name: str) -> None:
    try:
        import_module(name)
    except ImportError as error:
        raise ValueError(f"custom_imports: cannot import {name!r} ({error}); is it installed?") from None


def read_config(path: Path) -> Config:
    """The file and its chain of single parents merged, unchecked; `_delete_=True` in a dict drops the parent's."""
    if not path.is_file():
        raise ValueError(f"config file {path} not found; see configs/ for the ones that come with the project")
    if path.suffix in DATA_SUFFIXES:
        return _read_data(path)
    if path.suffix != ".py":
        raise ValueError(f"{path}: a config is a .py, .json, .yaml or .yml file, got {path.suffix or 'no suffix'!r}")
    _check_parents(path)
    try:
        return Config.fromfile(
            str(path),
            use_predefined_variables=False,
            import_custom_modules=False,
            use_environment_variables=False,
            lazy_import=False,
            format_python_code=False,
        )
    except Exception as error:  # a config is code, so reading it may raise anything
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error


def docstring(path: Path) -> str:
    """The docstring of a .py config: its command, time and expected score."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _check_parents(path: Path) -> None:
    """Refuse, before mmengine follows them, parents that are several, missing, circular, or not .py files."""
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            raise ValueError(f"{path}: the chain of {BASE} files comes back to {current}; break the circle")
        seen.append(current.resolve())
        current = _parent(current)


def _parent(path: Path) -> Path | None:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}; a config is a Python file") from None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == BASE for t in node.targets):
            names = _literal(node.value)
            names = names if isinstance(names, (list, tuple)) else [names]
            if len(names) != 1 or not isinstance(names[0], str):
                raise ValueError(f"{path}: {BASE} must be the path of one parent, got {ast.unparse(node.value)}")
            parent = path.parent / names[0]
            if parent.suffix != ".py" or not parent.is_file():
                raise ValueError(f"{path}: {BASE} must be a .py file relative to this one, and {parent} is not")
            return parent
    return None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _read_data(path: Path) -> Config:
    text = path.read_text(encoding="utf-8")
    try:
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: not plain {path.suffix[1:].upper()} data ({reason}); only .py configs hold code"
        ) from None
    if not isinstance(data, dict) or BASE in data:
        raise ValueError(f"{path}: a {path.suffix[1:].upper()} config is one mapping without {BASE}; use a .py config")
    if data.get("custom_imports"):
        raise ValueError(f"{path}: custom_imports runs code, which only .py configs hold; use a .py config")
    return Config(data, cfg_text=" ", format_python_code=False)


def _override(config: Config, overrides: Mapping[str, Any], path: Path) -> None:
    try:
        config.merge_from_dict(dict(overrides), allow_list_keys=True)
    except (KeyError, TypeError, AttributeError) as error:
        given = ", ".join(f"{key}={value}" for key, value in overrides.items())
        raise ValueError(f"{path}: cannot apply the options {given} ({error})") from None


def dump_config(config: Config, path: Path) -> None:
    """Write a config that reads back to the same values: one flat Python file, no parent."""
    lines = [f"{key} = {value!r}" for key, value in config.to_dict().items()]
    source = f"Read from {os.path.basename(config.filename)}" if config.filename else "Made in memory"
    write_text(
        path, f'"""{source}, with its parent, its options and the defaults filled in."""\n' + "\n".join(lines) + "\n"
    )
