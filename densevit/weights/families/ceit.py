"""CeiT. No other package has it: the names are those of the authors' code."""

from densevit.backbones.ceit import PATCH, VARIANTS
from densevit.weights.families.unetr import POSITION, VARYING
from densevit.weights.family import Family, Release, image_size_on, names_like, within

_STEM, _BLOCK = "stages.0.downsample.", "blocks.{k}."

FAMILY = Family(
    name="ceit",
    variants=tuple(VARIANTS),
    releases={
        "coeusguo_ceit": Release(
            title="CeiT of its authors",
            publisher="coeusguo/ceit",
            trained_on="ImageNet-1k",
            is_it=names_like(r"i2t\.backbone\.conv\."),
            backbone=(
                ("cls_token!", f"{POSITION}tokens.cls_token!"),
                ("pos_embed!", f"{POSITION}pos_embed!"),
                ("i2t.backbone.conv", f"{_STEM}proj"),
                ("i2t.backbone.bn", f"{_STEM}norm"),
                ("i2t.proj", f"{_STEM}patches.proj"),
                *within(_BLOCK, _BLOCK, "norm1", "attn.qkv", "attn.proj", "norm2"),
                *within(
                    f"{_BLOCK}leff.",
                    f"{_BLOCK}mlp.",
                    ("conv1", "fc1", "pointwise"),
                    ("bn1", "norm1"),
                    ("conv2", "dwconv"),
                    ("bn2", "norm2"),
                    ("conv3", "fc2", "pointwise"),
                    ("bn3", "norm3"),
                ),
            ),
            class_head=(
                ("pos_layer_embed!", "class_head.pos_layer_embed!"),
                *within(
                    "lca.",
                    "class_head.block.",
                    *("norm1", ("attn.qkv", ("attn.q", "attn.kv"), "split_qkv"), "attn.proj", "norm2"),
                    *("mlp.fc1", "mlp.fc2"),
                ),
                ("norm", "class_head.last_norm"),
                ("head", "class_head.fc"),
            ),
        ),
    },
    options=dict(image_size=image_size_on(PATCH)),
    varying=VARYING,
)
