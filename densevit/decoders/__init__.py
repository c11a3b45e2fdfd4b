"""One file a decoder; importing this package registers them all in DECODERS."""

from densevit.decoders import all_mlp, fpn, linear, mask_clip, patch_decode, unetr, uper, vt_fpn
from densevit.decoders.base import Decoder, DenseMap, FirstMap, Output
from densevit.registry import DECODERS
