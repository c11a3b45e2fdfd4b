"""Names to builders. A registry is a dictionary with a helpful KeyError, nothing more."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from densevit.quoting import shown

Builder = Callable[..., Any]
QUOTES = "'\""
OF_NETWORKS = ("monai", "dna", "smp", "transformers")  # integrations that have whole networks
INTEGRATIONS = ("mmseg", *OF_NETWORKS)  # whose names begin with theirs and a dot, once they are imported


def check_known(
    name: object, known: Iterable[str], *, what: str, prefix: str = "", error: type[Exception] = ValueError
) -> None:
    """Raise an error of one sentence unless `name` is one of the `known`: "no mode named 'slid'; did you mean slide".

    `what` begins the sentence, such as "no mode named"; `prefix` stands before the name: where in a config it is.
    """
    known = list(known)
    if name not in known:
        raise error(
            f"{what} {shown(f'{prefix}{name}' if prefix else name)}; {_hint(shown(name)[:100].strip(QUOTES), known)}"
        )


def _hint(name: str, known: list[str]) -> str:
    """The nearest known names, or all of them."""
    scope = name.partition(".")[0]
    if scope in INTEGRATIONS and not any(other.startswith(f"{scope}.") for other in known):
        module = f"densevit.integrations.{scope}"
        return (
            f"it comes with custom_imports = ['{module}'] in a config, --custom-imports {module}, or `import {module}`"
        )
    close = get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"


class Registry:
    """Builders by name.

    `scopes`: the module that registers the names which begin with a scope and a dot, imported when one is asked for.
    """

    def __init__(self, kind: str, scopes: Mapping[str, str] | None = None):
        self.kind = kind
        self._scopes = dict(scopes or {})
        self._builders: dict[str, Builder] = {}
        self._families: dict[str, Builder] = {}
        self._growing: list[Callable[[], None]] = []

    def register(self, variants: Mapping[str, dict]) -> Callable[[Builder], Builder]:
        """Register one builder under several names, each with its own defaults."""

        def add(builder: Builder) -> Builder:
            for name, defaults in variants.items():
                if name in self._builders:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
                self._builders[name] = partial(builder, **defaults)
                self._families[name] = builder
            return builder

        return add

    def follow(self, register_new: Callable[[], None]) -> None:
        """Call the function now and before names are looked up: it registers what has come to a registry elsewhere."""
        self._growing.append(register_new)
        register_new()

    def __contains__(self, name: object) -> bool:
        self._bring(name)
        return name in self._builders

    def create(self, name: str, **kwargs: Any) -> Any:
        """Call the builder called `name` with its defaults and the given keywords."""
        return self._find(name, self._builders)(**kwargs)

    def parameters(self, name: str) -> Mapping[str, Parameter]:
        """The keywords that the builder called `name` takes."""
        return signature(self._find(name, self._builders)).parameters

    def family(self, name: str) -> Builder:
        """The builder that `name` shares with the other variants of its family."""
        return self._find(name, self._families)

    def names(self) -> list[str]:
        for register_new in self._growing:
            register_new()
        return sorted(self._builders)

    def _find(self, name: str, builders: Mapping[str, Builder]) -> Builder:
        self._bring(name)
        check_known(name, builders, what=f"no {self.kind} named", error=KeyError)
        return builders[name]

    def _bring(self, name: object) -> None:
        for register_new in self._growing:
            register_new()
        home = self._scopes.get(str(name).partition(".")[0])
        if home is not None and name not in self._builders:
            import_module(home)


BACKBONES = Registry("backbone")
DECODERS = Registry("decoder")
NETWORKS = Registry(  # whole ones, of elsewhere
    "network", scopes={name: f"densevit.integrations.{name}.networks" for name in OF_NETWORKS}
)
register_backbone = BACKBONES.register
register_decoder = DECODERS.register
register_network = NETWORKS.register
