"""This project's own names, and the decoders that no other release holds."""

from densevit.weights.family import DecoderTraits, Family, Release, names_like

FAMILY = Family(
    name="densevit",
    releases={
        "densevit": Release(
            title="this project's own names",
            # Those of mmseg's Swin begin alike; backbone.network is a whole network of elsewhere.
            is_it=names_like(r"(backbone\.)?stages\.0\.downsample\.(?!norm\.|reduction\.)|backbone\.network\."),
            prefix="backbone.",
            # Of a model trained in mmsegmentation, where the decoder is a decode head.
            cleanups=((r"^decode_head\.conv_seg\.", "head."), (r"^decode_head\.decoder\.", "decoder.")),
        )
    },
    decoders={
        "linear": DecoderTraits(lambda shapes: {name.partition(".")[0] for name in shapes} == {"norm"}),
        "vt_fpn": DecoderTraits(names_like(r"rounds\.")),
    },
)
