"""PVT v1.

The class token and its row of the last stage's table are in every release of a classifier; the authors' own models for
dense prediction leave them out, and so do converted ones.
"""

from densevit.backbones.pvt_v1 import VARIANTS
from densevit.weights.families import mit, pvt_v2
from densevit.weights.families.own import MMSEG_FPN, MMSEG_IGNORED
from densevit.weights.families.pvt_v2 import BLOCK, EMBEDDING
from densevit.weights.family import Family, Release, image_size, names_like, within
from densevit.weights.published import at_address

_OFFICIAL = (
    ("pos_embed{i+1}!", "stages.{i}.downsample.position.pos_embed!"),
    ("cls_token!", "stages.3.downsample.position.tokens.cls_token!"),
    *pvt_v2.OFFICIAL,
)
_HUGGINGFACE = (
    *within(
        "encoder.patch_embeddings.{i}.",
        EMBEDDING,
        ("projection", "proj"),
        ("position_embeddings!", "position.pos_embed!"),
        ("cls_token!", "position.tokens.cls_token!"),
    ),
    *within("encoder.block.{i}.{j}.", BLOCK, ("attention.self.sequence_reduction", "attn.sr.conv")),
    *mit.HUGGINGFACE,
)
_ABSENT = (r"backbone\.stages\.3\.downsample\.position\.tokens\.",)
_TOP = dict(tiny=75.1, small=79.8, medium=81.2, large=81.7)

FAMILY = Family(
    name="pvt_v1",
    variants=tuple(VARIANTS),
    releases={
        "whai362_pvt_v1": Release(
            title="PVT v1 as its authors released it",
            publisher="whai362/PVT",
            hub=("pvt_small.pth",),
            licence="Apache-2.0",
            trained_on="ImageNet; whole: ADE20K",
            is_it=names_like(r"(backbone\.)?pos_embed1$"),
            prefix="backbone.",
            backbone=_OFFICIAL,
            decoder=MMSEG_FPN,
            class_head=(("norm", "class_head.pool_norm"), *pvt_v2.CLASS_HEAD),
            ignored=MMSEG_IGNORED,
            absent=_ABSENT,
            files=at_address(
                "https://github.com/whai362/PVT/releases/download/v2/pvt_{}.pth",
                ((f"pvt_v1_{size}", size, top) for size, top in _TOP.items()),
                score="{} % top-1 on ImageNet",
                num_classes=1000,
                trained_on="ImageNet-1k",
                short="imagenet",
            ),
        ),
        "huggingface_pvt_v1": Release(
            title="PVT v1 of transformers",
            publisher="huggingface/transformers",
            hub=("model.safetensors",),
            is_it=names_like(r"(pvt\.)?encoder\.patch_embeddings\.0\.projection\."),
            prefix="pvt.",
            backbone=_HUGGINGFACE,
            class_head=(("encoder.layer_norm", "class_head.pool_norm"), ("classifier", "class_head.fc")),
            absent=_ABSENT,
        ),
    },
    options=dict(image_size=image_size),
    varying=r"\.pos_embed$|cls_token$",
    classifier=dict(class_token=True),
    mmseg={"PVT": "pvt_v1"},
)
