"""Names to builders. A registry is a dictionary with a helpful KeyError, nothing more."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import Any

Builder = Callable[..., Any]


def hint(name: str, known: list[str]) -> str:
    """The end of an error message about an unknown name: the nearest known names, or all of them."""
    close = get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"


class Registry:
    """Builders by name."""

    def __init__(self, kind: str):
        self.kind = kind
        self._builders: dict[str, Builder] = {}

    def register(self, variants: Mapping[str, dict]) -> Callable[[Builder], Builder]:
        """Register one builder under several names, each with its own defaults."""

        def add(builder: Builder) -> Builder:
            for name, defaults in variants.items():
                if name in self._builders:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
                self._builders[name] = partial(builder, **defaults)
            return builder

        return add

    def create(self, name: str, **kwargs: Any) -> Any:
        """Call the builder called `name` with its defaults and the given keywords."""
        if name not in self._builders:
            raise KeyError(f"no {self.kind} named {name!r}; {hint(name, list(self._builders))}")
        return self._builders[name](**kwargs)

    def keywords(self, name: str) -> list[str]:
        """The names of the keywords that the builder called `name` takes."""
        return list(signature(self._builders[name]).parameters)

    def names(self) -> list[str]:
        return sorted(self._builders)


BACKBONES = Registry("backbone")
DECODERS = Registry("decoder")
register_backbone = BACKBONES.register
register_decoder = DECODERS.register
