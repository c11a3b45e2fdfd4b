"""One file a family; importing this package registers every variant in BACKBONES."""

from densevit.backbones import mit, mvit, pvt_v1, pvt_v2, swin, swin_unetr, vit
from densevit.registry import BACKBONES
