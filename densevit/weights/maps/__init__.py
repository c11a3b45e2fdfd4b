"""Key maps of the official releases, as data: one file a family, one entry a release, named publisher_family."""

from densevit.weights.maps import mvit, pvt_v1, segformer, swin, vit
from densevit.weights.maps.source import Names, Row, Shapes, Source, names_like

# Searched in this order when the source is to be guessed.
SOURCES = {
    "densevit": Source(
        title="this project's own names",
        family="",
        # Those of mmseg's Swin begin alike; backbone.network is a whole network of elsewhere.
        is_it=names_like(r"(backbone\.)?stages\.0\.downsample\.(?!norm\.|reduction\.)|backbone\.network\."),
        prefix="backbone.",
        # Of a model trained in mmsegmentation, where the decoder is a decode head.
        cleanups=((r"^decode_head\.conv_seg\.", "head."), (r"^decode_head\.decoder\.", "decoder.")),
    ),
    **mvit.SOURCES,
    **swin.SOURCES,
    **vit.SOURCES,
    **pvt_v1.SOURCES,
    **segformer.SOURCES,
}
