"""Mix Transformer (SegFormer): PVT v2 with plain FFN ratios. https://arxiv.org/abs/2105.15203

The paper's appendix prints FFN ratios 8, 8, 4, 4; its released weights and its own parameter counts have 4 everywhere.
"""

from functools import partial

from densevit.backbones.pvt_v2 import pvt_v2
from densevit.registry import BACKBONES

_WIDE = dict(dims=(64, 128, 320, 512))
VARIANTS = {
    "mit_b0": dict(dims=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "mit_b1": dict(**_WIDE, depths=(2, 2, 2, 2)),
    "mit_b2": dict(**_WIDE, depths=(3, 4, 6, 3)),
    "mit_b3": dict(**_WIDE, depths=(3, 4, 18, 3)),
    "mit_b4": dict(**_WIDE, depths=(3, 8, 27, 3)),
    "mit_b5": dict(**_WIDE, depths=(3, 6, 40, 3)),
}

BACKBONES.register(VARIANTS)(partial(pvt_v2, ffn_ratios=(4, 4, 4, 4)))
