"""Runs the parity tests and writes down by how much each model differs from its references.

A comparison counts when its test passed and it is in single precision. The tests bound what they hold to be equal by
1e-5, so one that is further apart than FAR of the largest value, in a test that passed, asserts a difference.
Which model a test compares is seen from what it builds, and which reference from its name or from what it imports.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from inspect import Parameter, signature
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn

import densevit
from densevit.registry import BACKBONES, DECODERS, Registry
from densevit.segmentor import Segmentor
from tools import peers
from tools.peers import common

REPOSITORY = Path(__file__).parents[2]
FAR = 1e-3
GIVEN = ("in_channels", "in_strides", "image_channels", "drop_path", "dropout")  # options that make no other form
# Word of a test's name or name of a module -> package on the index.
PACKAGES = {
    "timm": "timm",
    "transformers": "transformers",
    "mmsegmentation": "mmsegmentation",
    "mmseg": "mmsegmentation",
    "monai": "monai",
    "torchvision": "torchvision",
    "smp": "segmentation-models-pytorch",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
}


@dataclass
class Comparison:
    """Largest difference of two tensors, absolute and relative to the largest value of the reference's."""

    error: float
    relative: float


@dataclass
class Seen:
    """What one test did."""

    comparisons: list[Comparison] = field(default_factory=list)
    built: list[tuple[str, str]] = field(default_factory=list)  # model, what was changed in it for the test
    packages: list[str] = field(default_factory=list)


class Recorder:
    """A pytest plugin: after the run, `results` holds model -> list of what it was compared with."""

    def __init__(self) -> None:
        self.names: WeakKeyDictionary[nn.Module, tuple[str, str]] = WeakKeyDictionary()
        self.seen = Seen()
        self.passed: list[tuple[str, str, Seen]] = []  # file, name of the test, what it did
        self.packages_of_file: dict[str, list[str]] = defaultdict(list)

    def watch(self) -> None:
        """Look over the shoulder of the functions that the tests use; before the tests are imported."""
        for registry in (BACKBONES, DECODERS):
            registry.create = self._naming(registry)
        densevit.create_segmentor = self._naming_segmentor(densevit.create_segmentor)
        common.largest_difference = self._noting(common.largest_difference)
        for name in ("import_peer", "import_mmseg"):
            importing = self._importing(getattr(peers, name))
            setattr(peers, name, importing)
            setattr(common, name, importing)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.seen = Seen()
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, _, name = report.nodeid.partition("::")
        if report.when == "setup":
            self.packages_of_file[file] += self.seen.packages
        if report.when == "call":
            self.packages_of_file[file] += self.seen.packages
            if report.passed:
                self.passed.append((file, name, self.seen))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        in_fixtures = [name for value in item.funcargs.values() for name in self._names_in(value)]
        self.seen.built = in_fixtures or self.seen.built
        self.seen.comparisons.clear()
        return (yield)

    def results(self) -> dict[str, list[dict]]:
        """Model -> one entry a reference, with the largest errors of all its tests."""
        groups: dict[tuple[str, str, str, str], list[Comparison]] = defaultdict(list)
        for file, name, seen in self.passed:
            near = [comparison for comparison in seen.comparisons if comparison.relative <= FAR]
            for model, changes in dict.fromkeys(seen.built if near else []):
                groups[model, self._reference(file, name, seen), changes, file] += near
        found: dict[str, list[dict]] = defaultdict(list)
        for (model, reference, changes, file), comparisons in sorted(groups.items()):
            found[model].append(
                dict(
                    reference=f"{reference}, with {changes}" if changes else reference,
                    max_error=max(c.error for c in comparisons),
                    relative_error=max(c.relative for c in comparisons),
                    comparisons=len(comparisons),
                    test=file,
                )
            )
        return dict(found)

    def _reference(self, file: str, name: str, seen: Seen) -> str:
        words = set(name.partition("[")[0].split("_"))
        told = [package for word, package in PACKAGES.items() if word in words]
        packages = dict.fromkeys(told or seen.packages or self.packages_of_file[file])
        return ", ".join(f"{package} {version(package)}" for package in packages) or "a formula in the test"

    def _names_in(self, value: object) -> list[tuple[str, str]]:
        if isinstance(value, tuple | list):
            return [name for part in value for name in self._names_in(part)]
        return [self.names[value]] if isinstance(value, nn.Module) and value in self.names else []

    def _naming(self, registry: Registry) -> Callable:
        create = registry.create

        @wraps(create)
        def wrapper(name: str, **options: object) -> nn.Module:
            module, usual = create(name, **options), signature(registry._builders[name]).parameters
            told = {key: value for key, value in options.items() if key not in GIVEN}
            changed = [
                f"{key}={value}" for key, value in told.items() if usual[key].default not in (value, Parameter.empty)
            ]
            self.names[module] = (name, ", ".join(changed))
            self.seen.built.append(self.names[module])
            return module

        return wrapper

    def _naming_segmentor(self, create: Callable) -> Callable:
        @wraps(create)
        def wrapper(*arguments: object, **options: object) -> Segmentor:
            before = list(self.seen.built)
            model = create(*arguments, **options)
            parts = [self.names.get(part, (type(part).__name__, "")) for part in (model.backbone, model.decoder)]
            (backbone, first), (decoder, second) = parts
            self.names[model] = (f"{backbone} + {decoder}", ", ".join(filter(None, (first, second))))
            self.seen.built = [*before, self.names[model]]
            return model

        return wrapper

    def _noting(self, compare: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor], float]:
        @wraps(compare)
        def wrapper(a: Tensor, b: Tensor) -> float:
            error = compare(a, b)
            if b.dtype == torch.float32:
                self.seen.comparisons.append(Comparison(error, error / max(b.abs().max().item(), 1e-30)))
            return error

        return wrapper

    def _importing(self, import_: Callable) -> Callable:
        @wraps(import_)
        def wrapper(name: str = "mmseg") -> object:
            package = name.partition(".")[0]
            self.seen.packages.append(PACKAGES.get(package, package))
            return import_(name) if import_.__name__ == "import_peer" else import_()

        return wrapper


def record(files: list[str]) -> dict[str, list[dict]]:
    """Run these test files, or all of the parity tests, and return what they found; SystemExit where one fails."""
    recorder = Recorder()
    recorder.watch()
    arguments = [*(files or ["tests/parity"]), "-m", "parity", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    status = pytest.main(arguments, plugins=[recorder])
    if status:
        sys.exit(f"the parity tests ended with status {int(status)}; nothing was written down")
    return recorder.results()
