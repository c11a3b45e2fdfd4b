"""One file a decoder; importing a file registers it."""

from densevit.decoders import all_mlp
