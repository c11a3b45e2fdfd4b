"""The ViTs of CLIP's image encoder. What a file holds of the encoder of texts is for a `Clip` alone."""

from densevit.backbones.clip_vit import VARIANTS, QuickMlp
from densevit.weights.families.unetr import POSITION, VARYING
from densevit.weights.family import Family, Release, image_size, names_like, patch_size, within
from densevit.weights.published import CLIP, at_address, at_hub

_BLOCK = "blocks.{k}."
OF_TEXTS = (
    *(r"transformer\.", r"token_embedding\.", "positional_embedding", r"ln_final\.", "text_projection", "logit_scale"),
    *("input_resolution", "context_length", "vocab_size"),
)

OF_OPENAI = (  # and open_clip
    ("token_embedding.weight!", "text.embed.weight!"),
    ("positional_embedding!", "text.pos_embed!"),
    *within(
        "transformer.resblocks.{k}.",
        "text.blocks.{k}.",
        ("ln_1", "norm1"),
        ("attn.in_proj_{p}", "attn.qkv"),
        ("attn.out_proj", "attn.proj"),
        ("ln_2", "norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
    ),
    ("ln_final", "text.norm"),
    ("text_projection!", "text.proj.weight!", "transposed"),
    ("logit_scale!", "logit_scale!"),
)
_HUGGINGFACE = (
    ("text_model.embeddings.token_embedding.weight!", "text.embed.weight!"),
    ("text_model.embeddings.position_embedding.weight!", "text.pos_embed!"),
    *within(
        "text_model.encoder.layers.{k}.",
        "text.blocks.{k}.",
        ("layer_norm1", "norm1"),
        (tuple(f"self_attn.{name}_proj" for name in "qkv"), "attn.qkv", "join_qkv"),
        ("self_attn.out_proj", "attn.proj"),
        ("layer_norm2", "norm2"),
        *("mlp.fc1", "mlp.fc2"),
    ),
    ("text_model.final_layer_norm", "text.norm"),
    ("text_projection", "text.proj"),
    ("logit_scale!", "logit_scale!"),
)
# OpenAI's own archives say so; files of these names are otherwise of either.
OF_EITHER = (
    lambda shapes: "input_resolution" not in shapes,
    "models of open_clip whose names lack -quickgelu were trained with GELU: make the model with quick_gelu=False, and "
    "a Clip with text=dict(quick_gelu=False) too",
)

_DATA = dict(trained_on="400 million pairs of images and texts", normalization=CLIP)
# The folders of OpenAI's files are their SHA-256.
_OPENAI_FILES = at_address(
    "https://openaipublic.azureedge.net/clip/models/{1}/ViT-{0}.pt",
    (
        ("clip_vit_base_p32", ("B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af")),
        ("clip_vit_base_p16", ("B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f")),
        ("clip_vit_large_p14", ("L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836")),
        ("clip_vit_large_p14_336", ("L-14-336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02")),
    ),
    **_DATA,
)
_HUGGINGFACE_FILES = at_hub(
    "openai/clip-vit-{}",
    (
        ("clip_vit_base_p32", "base-patch32"),
        ("clip_vit_base_p16", "base-patch16"),
        ("clip_vit_large_p14", "large-patch14"),
        ("clip_vit_large_p14_336", "large-patch14-336"),
    ),
    licence="MIT",
    **_DATA,
)

FAMILY = Family(
    name="clip_vit",
    variants=tuple(VARIANTS),
    releases={
        "openai_clip": Release(
            title="CLIP of its authors and of open_clip",
            publisher="openai/CLIP",
            hub=("ViT-B-16.pt", "open_clip_pytorch_model.bin"),
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
            texts=OF_OPENAI,
            ignored=OF_TEXTS,
            remarks_if=(OF_EITHER,),
            files=_OPENAI_FILES,
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
            texts=_HUGGINGFACE,
            ignored=(r"text_model\.", r"text_projection\.", r"logit_scale$", r"embeddings\.position_ids$"),
            files=_HUGGINGFACE_FILES,
        ),
    },
    options=dict(image_size=image_size, patch_size=patch_size),
    rules=dict(quick_gelu=lambda modules: any(isinstance(module, QuickMlp) for module in modules)),
    varying=VARYING,
)
