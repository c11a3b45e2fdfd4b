"""The ResNets of CLIP's image encoder. What a file holds of the encoder of texts is for a `Clip` alone."""

from densevit.backbones.clip_resnet import VARIANTS
from densevit.weights.families.clip_vit import OF_OPENAI, OF_TEXTS
from densevit.weights.family import Family, Release, names_like, within
from densevit.weights.published import CLIP, at_address, at_hub

_STEM, _BLOCK = "stages.0.downsample.", "stages.{i}.blocks.{j}."
_CONVS = ("proj", "convs.0", "convs.1")

_DATA = dict(trained_on="400 million pairs of images and texts", normalization=CLIP)
_OPENAI_FILES = at_address(
    "https://openaipublic.azureedge.net/clip/models/{1}/RN{0}.pt",
    (
        ("clip_resnet50", ("50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762")),
        ("clip_resnet101", ("101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599")),
        ("clip_resnet50x4", ("50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd")),
        ("clip_resnet50x16", ("50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa")),
        ("clip_resnet50x64", ("50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c")),
    ),
    **_DATA,
)
_TIMM_FILES = at_hub(
    "timm/resnet{}_clip.openai",
    ((f"clip_resnet{size}", size) for size in ("50", "101", "50x4", "50x16", "50x64")),
    licence="MIT",
    **_DATA,
)

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
            files=_OPENAI_FILES,
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
            files=_TIMM_FILES,
        ),
    },
)
