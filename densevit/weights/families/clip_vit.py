"""The ViTs of CLIP's image encoder. What a file holds of the encoder of texts is left aside."""

from densevit.backbones.clip_vit import VARIANTS
from densevit.weights.families.unetr import POSITION, VARYING
from densevit.weights.family import Family, Release, image_size, names_like, patch_size, within

_BLOCK = "blocks.{k}."
OF_TEXTS = (
    *(r"transformer\.", r"token_embedding\.", "positional_embedding", r"ln_final\.", "text_projection", "logit_scale"),
    *("input_resolution", "context_length", "vocab_size"),
)

FAMILY = Family(
    name="clip_vit",
    variants=tuple(VARIANTS),
    releases={
        "openai_clip": Release(
            title="CLIP of its authors",
            publisher="openai/CLIP",
            hub=("ViT-B-16.pt",),
            licence="MIT",
            trained_on="400 million pairs of images and texts",
            is_it=names_like(r"visual\.transformer\.resblocks\.0\.ln_1\."),
            backbone=(
                ("visual.class_embedding!", f"{POSITION}tokens.cls_token!", "as_row"),
                ("visual.positional_embedding!", f"{POSITION}pos_embed!", "as_table"),
                ("visual.conv1", "stages.0.downsample.proj"),
                ("visual.ln_pre", f"{POSITION}norm"),
                *within(
                    "visual.transformer.resblocks.{k}.",
                    _BLOCK,
                    ("ln_1", "norm1"),
                    ("attn.in_proj_{p}", "attn.qkv"),
                    ("attn.out_proj", "attn.proj"),
                    ("ln_2", "norm2"),
                    ("mlp.c_fc", "mlp.fc1"),
                    ("mlp.c_proj", "mlp.fc2"),
                ),
                ("visual.ln_post", "norm"),
            ),
            class_head=(("visual.proj!", "class_head.fc.weight!", "transposed"),),
            ignored=OF_TEXTS,
        ),
        "huggingface_clip": Release(
            title="CLIP of transformers, whole or its vision model",
            publisher="huggingface/transformers",
            hub=("model.safetensors", "pytorch_model.bin"),
            is_it=names_like(r"(vision_model\.)?pre_layrnorm\."),
            prefix="vision_model.",
            backbone=(
                ("embeddings.class_embedding!", f"{POSITION}tokens.cls_token!", "as_row"),
                ("embeddings.position_embedding.weight!", f"{POSITION}pos_embed!", "as_table"),
                ("embeddings.patch_embedding", "stages.0.downsample.proj"),
                ("pre_layrnorm", f"{POSITION}norm"),
                *within(
                    "encoder.layers.{k}.",
                    _BLOCK,
                    ("layer_norm1", "norm1"),
                    (tuple(f"self_attn.{name}_proj" for name in "qkv"), "attn.qkv", "join_qkv"),
                    ("self_attn.out_proj", "attn.proj"),
                    ("layer_norm2", "norm2"),
                    *("mlp.fc1", "mlp.fc2"),
                ),
                ("post_layernorm", "norm"),
            ),
            class_head=(("visual_projection", "class_head.fc"),),
            ignored=(r"text_model\.", r"text_projection\.", r"logit_scale$", r"embeddings\.position_ids$"),
        ),
    },
    options=dict(image_size=image_size, patch_size=patch_size),
    varying=VARYING,
)
