"""One file a family; importing this package imports every file in it, which registers its variants in BACKBONES."""

from importlib import import_module
from pkgutil import iter_modules

from densevit.registry import BACKBONES

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
