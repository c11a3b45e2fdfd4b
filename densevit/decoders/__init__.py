"""One file a decoder; importing this package registers them all in DECODERS."""

from densevit.decoders import all_mlp
from densevit.registry import DECODERS
