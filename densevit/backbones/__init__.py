"""One file a family; importing this package registers every variant in BACKBONES."""

from densevit.backbones import mit, pvt_v2
from densevit.registry import BACKBONES
