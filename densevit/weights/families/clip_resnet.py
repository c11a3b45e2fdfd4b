"""The ResNets of CLIP's image encoder. What a file holds of the encoder of texts is for a `Clip` alone."""

from densevit.backbones.clip_resnet import VARIANTS
from densevit.weights.families.clip_vit import OF_OPENAI, OF_TEXTS
from densevit.weights.family import Family, Release, names_like, within

_STEM, _BLOCK = "stages.0.downsample.", "stages.{i}.blocks.{j}."
_CONVS = ("proj", "convs.0", "convs.1")

FAMILY = Family(
    name="clip_resnet",
    variants=tuple(VARIANTS),
    releases={
        "openai_clip_resnet": Release(
            title="CLIP of its authors, with a ResNet",
            publisher="openai/CLIP",
            hub=("RN50.pt", "RN50x4.pt"),
            licence="MIT",
            trained_on="400 million pairs of images and texts",
            is_it=names_like(r"visual\.layer1\.0\.conv1\."),
            backbone=(
                *within("visual.", _STEM, *((f"conv{n + 1}", ours) for n, ours in enumerate(_CONVS))),
                *within("visual.", _STEM, *((f"bn{n + 1}", f"norms.{n}") for n in range(3))),
                *within(
                    "visual.layer{i+1}.{j}.",
                    _BLOCK,
                    *((f"conv{n + 1}", f"convs.{n}") for n in range(3)),
                    *((f"bn{n + 1}", f"norms.{n}") for n in range(3)),
                    ("downsample.0", "skip"),
                    ("downsample.1", "skip_norm"),
                ),
            ),
            class_head=within(
                "visual.attnpool.",
                "class_head.",
                ("positional_embedding!", "pos_embed!", "as_table"),
                ("q_proj", "q"),
                (("k_proj", "v_proj"), "kv", "join"),
                ("c_proj", "fc"),
            ),
            texts=OF_OPENAI,
            ignored=OF_TEXTS,
        ),
        "timm_clip_resnet": Release(
            title="ResNets of CLIP of timm",
            publisher="huggingface/pytorch-image-models",
            hub=("resnet50_clip.openai", "resnet50x4_clip.openai"),
            is_it=names_like(r"stem\.conv3\.conv\.", r"stages\.0\.0\.conv1_1x1\.conv\."),
            backbone=(
                *within("stem.", _STEM, *((f"conv{n + 1}.conv", ours) for n, ours in enumerate(_CONVS))),
                *within("stem.", _STEM, *((f"conv{n + 1}.bn", f"norms.{n}") for n in range(3))),
                *within(
                    "stages.{i}.{j}.",
                    _BLOCK,
                    *((f"conv{n + 1}_{kind}.conv", f"convs.{n}") for n, kind in enumerate(("1x1", "kxk", "1x1"))),
                    *((f"conv{n + 1}_{kind}.bn", f"norms.{n}") for n, kind in enumerate(("1x1", "kxk", "1x1"))),
                    ("shortcut.conv.conv", "skip"),
                    ("shortcut.conv.bn", "skip_norm"),
                ),
            ),
            class_head=within(
                "head.",
                "class_head.",
                ("pos_embed!", "pos_embed!", "as_table"),
                "q",
                (("k", "v"), "kv", "join"),
                ("proj", "fc"),
            ),
        ),
    },
)
