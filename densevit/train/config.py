"""Config files, read with mmengine's `Config`, to a checked `RunConfig`: keys, types and names, once, before all else.

Only .py files run code. YAML and JSON are data: mmengine's own loader would run what they carry
(docs/decisions/config_loader.md).
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densevit.files import write_text
from densevit.imports import import_modules
from densevit.options import fit, read_options
from densevit.quoting import in_docstring, shown
from densevit.texts import parse_json, parse_literal, parse_yaml, read_text
from densevit.train.schema import RunConfig
from densevit.train.task import kind_of

WORDS = {"true": True, "false": False, "none": None, "null": None}
LIST, WORD_BEFORE_BRACKET = re.compile(r"[\[(]|.*,"), re.compile(r"[^\[\](),\s]\s*[\[(]")
NONE_IS_A_WORD = (".dataset.ignore_index", ".dataset.labels")  # where None is for what the files say
BASE = "_base_"
DATA_SUFFIXES = (".json", ".yaml", ".yml")


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a config file and its parent, apply `overrides` (dotted key -> value), and check it.

    Raises ValueError with one sentence that names the file, what is wrong, and the nearest known name.
    """
    path = Path(path)
    config = read_config(path)
    for key, value in (overrides or {}).items():
        _override(config, key, value, path)
    return check_config(config, path=path)


def check_config(config: RunConfig | Mapping[str, Any], *, path: str | Path | None = None) -> RunConfig:
    """The config with defaults filled in; ValueError for unknown keys, wrong types and unknown names.

    What was checked before is returned as it is. `path` is the file that errors and the config's name speak of.
    """
    if isinstance(config, RunConfig):
        return config
    if not isinstance(config, Mapping | Config):
        raise ValueError(f"{path or 'the config'} must be a dict of sections such as model, got {shown(config)}")
    plain = config.to_dict() if isinstance(config, Config) else dict(config)
    try:
        named = fit(plain.get("custom_imports", ()), tuple[str, ...], where="custom_imports")
        if named:  # beside the config, beside its parents, or in the current folder
            files = _check_parents(Path(path)) if path is not None and Path(path).suffix == ".py" else []
            named = import_modules(named, folders=[*dict.fromkeys(file.parent for file in files), Path()])
        plain["custom_imports"] = named
        if path is not None:
            plain = {"name": Path(path).stem, **plain}
        kind = kind_of(plain.get("task", "segment")).config
        return read_options(kind, {**plain, **_with_augment(plain, kind.augments)})
    except ValueError as error:
        raise ValueError(f"{path or 'the config'}: {error}") from None


def _with_augment(plain: Mapping[str, Any], kinds: Mapping[int | str, type]) -> dict[str, Any]:
    """The section `train_data` with the augmentation of the model's rank, as far as it is there."""
    section, model = plain.get("train_data"), plain.get("model")
    if not isinstance(section, Mapping) or not isinstance(model, Mapping) or "augment" not in section:
        return {}
    rank, dataset = model.get("spatial_dims", 2), section.get("dataset")
    rank = dataset["type"] if isinstance(dataset, Mapping) and dataset.get("type") in kinds else rank
    known = rank if isinstance(rank, int | str) and rank in kinds else 2  # another one is refused with the model
    augment = read_options(kinds[known], section["augment"], where="train_data.augment")
    return {"train_data": {**section, "augment": augment}}


def replace_options(config: Any, changes: Mapping[str, Any]) -> Any:
    """A checked config, or a section of it, with other values at dotted names, as {"train_data.batch_size": 4}."""
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        is_dict = isinstance(config, Mapping)
        if rest:
            value = replace_options(config[name] if is_dict else getattr(config, name), {rest: value})
        config = {**config, name: value} if is_dict else replace(config, **{name: value})
    return config


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


def _check_parents(path: Path) -> list[Path]:
    """The file and its parents; several, missing, circular and other ones are refused, before mmengine follows them."""
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            raise ValueError(f"{path}: the chain of {BASE} files comes back to {current}; break the circle")
        seen.append(current.resolve())
        current = _parent(current)
    return seen


def _parent(path: Path) -> Path | None:
    try:
        tree = ast.parse(read_text(path))
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}; a config is a Python file") from None
    except (RecursionError, MemoryError):
        raise ValueError(f"{path}: its brackets lie too deep in one another; a config is a Python file") from None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == BASE for t in node.targets):
            named = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
            name = named[0].value if len(named) == 1 and isinstance(named[0], ast.Constant) else None
            if not isinstance(name, str):
                raise ValueError(f"{path}: {BASE} must be the path of one parent, got {ast.unparse(node.value)}")
            parent = path.parent / name
            if parent.suffix != ".py" or not parent.is_file():
                raise ValueError(f"{path}: {BASE} must be a .py file relative to this one, and {parent} is not")
            return parent
    return None


def _read_data(path: Path) -> Config:
    text, parse = read_text(path), parse_json if path.suffix == ".json" else parse_yaml
    try:
        data = parse(text, said_by="it")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; only .py configs hold code") from None
    if not isinstance(data, dict) or BASE in data:
        raise ValueError(f"{path}: a {path.suffix[1:].upper()} config is one mapping without {BASE}; use a .py config")
    if data.get("custom_imports"):
        raise ValueError(f"{path}: custom_imports runs code, which only .py configs hold; use a .py config")
    return Config(data, cfg_text=" ", format_python_code=False)


def parse_overrides(options: Sequence[str]) -> dict[str, Any]:
    """`["train_cfg.max_iters=4", "inference.roi_size=(512, 512)"]` -> `{"train_cfg.max_iters": 4, ...}`.

    Values are read as Python would: numbers, True, None, "quoted", (1, 2), [1, 2], {"a": 1}; `[a,b]` and `a,b` are
    lists of words as in OpenMMLab's tools, and anything else is a string. ValueError for an option without `=`. The
    word none is None, but for keys of data sets in which it says that there is none.
    """
    overrides: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            raise ValueError(f"--cfg-options takes key=value pairs such as train_cfg.max_iters=4, got {option!r}")
        says_none = text.strip().lower() == "none" and key.strip().endswith(NONE_IS_A_WORD)
        overrides[key.strip()] = "none" if says_none else _parse_value(text.strip())
    return overrides


def _parse_value(text: str) -> Any:
    """One value: `"4"` -> 4, `"[a,b]"` -> ["a", "b"], `"data/city"` -> "data/city"."""
    try:
        return parse_literal(text)
    except ValueError:
        if not LIST.match(text) or WORD_BEFORE_BRACKET.search(text):
            return WORDS.get(text.lower(), text)
    # Quote what is no value by itself; mmengine's DictAction would drop the spaces within words.
    quoted = re.sub(r"[^\[\](),\s][^\[\](),]*", lambda match: repr(_parse_value(match[0].strip())), text)
    try:
        value = parse_literal(quoted)
    except ValueError:
        return text
    return list(value) if isinstance(value, tuple) and text[0] not in "([" else value


def _override(config: Config, key: str, value: Any, path: Path) -> None:
    """As mmengine merges it: the keys of a dict are added to those there, unless it holds `_delete_=True`."""
    try:
        config.merge_from_dict({key: value}, allow_list_keys=True)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: cannot apply the option {key}={value} ({error})") from None
    if value == {} and reduce(lambda at, name: at[int(name) if isinstance(at, list) else name], key.split("."), config):
        raise ValueError(
            f"{path}: the option {key}={{}} changes nothing, because a dict is merged into the one that is there; "
            f"write \"{key}={{'_delete_': True}}\" to empty it"
        )


def dump_config(config: RunConfig, path: Path) -> None:
    """Write a config that reads back to the same values: one flat Python file, no parent."""
    lines = [f"{key} = {value!r}\n" for key, value in config.to_dict().items()]
    head = f'"""{in_docstring(config.name)} with its parent, its options and all defaults."""\n'
    write_text(path, head + "".join(lines))
