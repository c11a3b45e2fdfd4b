"""One file a family; importing a file registers its variants."""

from densevit.backbones import mit, pvt_v2
