"""Configs of bundles as data: entries by name, references followed, components as names and arguments."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densevit.integrations.monai_bundle.expressions import REFERENCE, evaluate
from densevit.quoting import shown
from densevit.texts import parse_json, parse_yaml, read_text

TARGET = "_target_"
SPECIAL = (TARGET, "_desc_", "_disabled_", "_requires_", "_mode_")  # keys that are no arguments
DICTIONARY = re.compile(r"(.+)(d|D|Dict)")  # Spacingd, SpacingD and SpacingDict are one transform of MONAI's


@dataclass(frozen=True)
class BundleConfig:
    """One file of configs/; `content` is what it holds. Entries are read when they are asked for, and no others."""

    content: Mapping[str, Any]
    path: Path
    _following: list[str] = field(default_factory=list, repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def value(self, raw: Any, *, where: str) -> Any:
        """An entry with all references followed; ValueError, which says `where`, for code and for what is not there."""
        if isinstance(raw, Mapping):
            return {key: self.value(item, where=f"{where}#{key}") for key, item in raw.items()}
        if isinstance(raw, list):
            return [self.value(item, where=f"{where}#{i}") for i, item in enumerate(raw)]
        return self._text(raw, where) if isinstance(raw, str) else raw

    def component(self, raw: Any, *, where: str) -> "Component":
        """An entry that names a class or function, itself or by a reference."""
        raw = self._raw(raw, where)
        if not isinstance(raw, Mapping) or not isinstance(raw.get(TARGET), str):
            raise ValueError(f"{self.path}: {where} must name a class as {TARGET}, got {shown(raw)}")
        return Component(self, raw, where)

    def components(self, raw: Any, *, where: str) -> Iterator["Component"]:
        """Those of a list, or of a Compose of one, that are not disabled."""
        raw = self._raw(raw, where)
        items = raw
        if isinstance(raw, Mapping):
            outer = self.component(raw, where=where)
            if outer.name != "Compose":
                items = [raw]
            else:
                items = self._raw(outer.arguments.get("transforms", []), f"{where}#transforms")
        if isinstance(items, str) and items.startswith("$"):  # lists put one after another
            items = evaluate(items[1:], lambda name: self._raw(f"@{name}", where), where=f"{self.path}: {where}")
        if not isinstance(items, list):
            raise ValueError(f"{self.path}: {where} must be a list of transforms, got {shown(items)}")
        for number, item in enumerate(items):
            inner = self._raw(item, f"{where}#{number}")
            if isinstance(inner, Mapping) and str(inner.get(TARGET, "")).rpartition(".")[2] == "Compose":
                yield from self.components(inner, where=f"{where}#{number}")
                continue
            made = self.component(inner, where=f"{where}#{number}")
            if not made.is_disabled:
                yield made

    def _raw(self, raw: Any, where: str) -> Any:
        """An entry itself, or that which its reference leads to; nothing inside is read."""
        for _ in range(len(self.content) + 1):
            found = REFERENCE.fullmatch(raw) if isinstance(raw, str) else None
            if found is None:
                return raw
            raw = self._entry(found[1], where)
        raise ValueError(f"{self.path}: {where} refers to itself")

    def _text(self, text: str, where: str) -> Any:
        if text.startswith("$"):
            return evaluate(text[1:], lambda name: self._followed(name, where), where=f"{self.path}: {where}")
        if text.startswith(("@", "%")):
            return self._followed(text[1:], where)
        return text

    def _followed(self, name: str, where: str) -> Any:
        if name in self._following:
            raise ValueError(f"{self.path}: {where} refers to itself, by @{name}")
        self._following.append(name)
        try:
            return self.value(self._entry(name, where), where=name)
        finally:
            self._following.pop()

    def _entry(self, name: str, where: str) -> Any:
        """What stands under "a#b#0" or "a::b::0"."""
        entry: Any = self.content
        for part in re.split(r"#|::", name):
            inside = isinstance(entry, list) and part.isdecimal() and int(part) < len(entry)
            if not inside and not (isinstance(entry, Mapping) and part in entry):
                raise ValueError(f"{self.path}: {where} refers to @{name}, which is not in the file")
            entry = entry[int(part)] if inside else entry[part]
        return entry


@dataclass(frozen=True)
class Component:
    """A class that a config names, and its arguments, which are read one by one."""

    config: BundleConfig
    raw: Mapping[str, Any]
    where: str

    @property
    def target(self) -> str:
        """As the config writes it."""
        return self.raw[TARGET]

    @property
    def name(self) -> str:
        """Without its module."""
        return self.target.rpartition(".")[2]

    @property
    def transform(self) -> str:
        """The name of a transform of dictionaries without the ending that says so: "Spacing" of "Spacingd"."""
        found = DICTIONARY.fullmatch(self.name)
        return found[1] if found else self.name

    @property
    def arguments(self) -> dict[str, Any]:
        """As they are written."""
        return {key: value for key, value in self.raw.items() if key not in SPECIAL}

    @property
    def is_disabled(self) -> bool:
        disabled = self.raw.get("_disabled_", False)
        if isinstance(disabled, str) and disabled.strip().lower() in ("true", "false"):
            return disabled.strip().lower() == "true"
        return bool(self.config.value(disabled, where=f"{self.where}#_disabled_"))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of an argument."""
        if key not in self.raw:
            return default
        return self.config.value(self.raw[key], where=f"{self.where}#{key}")

    def refuse(self, why: str) -> ValueError:
        """The error that says why this component cannot be said by a checkpoint of ours."""
        return ValueError(f"{self.config.path}: {self.where} is {self.name}, {why}")

    def only(self, **values: Any) -> None:
        """ValueError for an argument that is given and is none of the `values` (one, or a tuple of several)."""
        for key, known in values.items():
            known = known if isinstance(known, tuple) else (known,)
            given = self.get(key, known[0])
            if not any(type(given) is type(each) and given == each for each in known):
                words = " or ".join(map(shown, known))
                raise self.refuse(f"whose {key} is {shown(given)}, and only {words} is known here")


def read_config(folder: Path, name: str) -> BundleConfig:
    """configs/NAME.json, .yaml or .yml of a bundle; FileNotFoundError where there is none."""
    for ending in ("json", "yaml", "yml"):
        path = folder / "configs" / f"{name}.{ending}"
        if path.is_file():
            content = (parse_json if ending == "json" else parse_yaml)(read_text(path), said_by=path)
            if not isinstance(content, dict):
                raise ValueError(f"{path} must hold entries by name, got {shown(content)}")
            return BundleConfig(content, path)
    raise FileNotFoundError(f"{folder} has no configs/{name}.json or .yaml; give the folder of a MONAI bundle")
