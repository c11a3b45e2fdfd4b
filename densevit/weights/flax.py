"""Rows of key maps for files of flax, whose layers have kernels, biases and scales under names with slashes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from densevit.weights.family import Release, Row, Shapes, names_like


def named(*modules: str) -> Callable[[Shapes], bool]:
    """True for tensors of which, for each module, some name begins with it, with the prefix or without."""
    return names_like(*(f"(opt/target/)?{module}" for module in modules))


def layer(theirs: str, ours: str, *, bias: bool = True) -> tuple[Row, ...]:
    """A linear layer or a convolution."""
    kernel = (f"{theirs}/kernel!", f"{ours}.weight!", "flax")
    return (kernel, (f"{theirs}/bias!", f"{ours}.bias!")) if bias else (kernel,)


def norm(
    theirs: str, ours: str, *, scale: str = "scale", bias: str = "bias", operation: str = "same"
) -> tuple[Row, ...]:
    """A norm, whose scale and bias may have other names, and axes of one."""
    names = ((f"{theirs}/{scale}!", f"{ours}.weight!"), (f"{theirs}/{bias}!", f"{ours}.bias!"))
    return tuple((*pair, operation) for pair in names)


def attention(theirs: str, ours: str, *, layers: tuple[str, ...] = ("qkv",)) -> tuple[Row, ...]:
    """Attention, whose heads are an axis of their own; each of our `layers` holds some of queries, keys and values."""
    names = dict(q="query", k="key", v="value")
    return (
        *(
            (tuple(f"{theirs}/{names[part]}/{t}!" for part in layer), f"{ours}.{layer}.{p}!", f"flax_{layer}")
            for layer in layers
            for t, p in (("kernel", "weight"), ("bias", "bias"))
        ),
        (f"{theirs}/out/kernel!", f"{ours}.proj.weight!", "flax_out"),
        (f"{theirs}/out/bias!", f"{ours}.proj.bias!"),
    )


def mlp(theirs: str, ours: str) -> tuple[Row, ...]:
    """Two linear layers."""
    return (*layer(f"{theirs}/Dense_0", f"{ours}.fc1"), *layer(f"{theirs}/Dense_1", f"{ours}.fc2"))


def transformer(embed: str) -> tuple[Row, ...]:
    """A ViT; `embed` is our module that makes its tokens."""
    return (
        *layer("embedding", f"{embed}proj"),
        ("cls!", f"{embed}position.tokens.cls_token!"),
        ("Transformer/posembed_input/pos_embedding!", f"{embed}position.pos_embed!"),
        *_blocks("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3"),
    )


def big_vision_transformer(embed: str) -> tuple[Row, ...]:
    """A ViT of big_vision, whose table of positions has no row for the class token."""
    token, table = f"{embed}position.tokens.cls_token!", f"{embed}position.pos_embed!"
    return (
        *layer("embedding", f"{embed}proj"),
        (("cls!", "pos_embedding!"), (token, table), "give_class_position"),
        ("pos_embedding!", table),
        ("cls!", token),
        *_blocks("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0"),
    )


def map_head(theirs: str, ours: str) -> tuple[Row, ...]:
    """Attention pooling of big_vision, but for the classifier behind it."""
    return (
        (f"{theirs}/probe!", f"{ours}.probe!"),
        *attention(f"{theirs}/MultiHeadDotProductAttention_0", ours, layers=("q", "kv")),
        *norm(f"{theirs}/LayerNorm_0", f"{ours}.norm_mlp"),
        *mlp(f"{theirs}/MlpBlock_0", f"{ours}.mlp"),
    )


def _blocks(norm1: str, attn: str, norm2: str, feed_forward: str) -> tuple[Row, ...]:
    theirs, ours = "Transformer/encoderblock_{k}/", "blocks.{k}."
    return (
        *norm(f"{theirs}{norm1}", f"{ours}norm1"),
        *attention(f"{theirs}{attn}", f"{ours}attn"),
        *norm(f"{theirs}{norm2}", f"{ours}norm2"),
        *mlp(f"{theirs}{feed_forward}", f"{ours}mlp"),
        *norm("Transformer/encoder_norm", "norm"),
    )


_PRE_LOGITS = "pre_logits/"
VIT = Release(  # what the files of ViT's authors share
    title="",
    publisher="google-research/vision_transformer",
    licence="Apache-2.0",
    trained_on="ImageNet-21k, ImageNet-1k",
    is_it=lambda _: False,
    cleanups=((r"^opt/target/", ""),),  # of whole states of training
    class_head=layer("head", "class_head.fc"),
    ignored=(_PRE_LOGITS,),
    remarks=("its authors take GELU by tanh, and densevit exactly, as timm and transformers do with these weights",),
    remarks_if=(
        (
            names_like(rf"(opt/target/|params/)?(img/)?{_PRE_LOGITS}"),
            "its classifier reads one more layer, pre_logits, which has no place here; train a new head",
        ),
    ),
)


def of_big_vision(**facts: Any) -> Release:
    """What the files of big_vision's ViTs share; `facts` are those of a release."""
    rows = dict(
        backbone=big_vision_transformer("stages.0.downsample."),
        class_head=(*VIT.class_head, *map_head("MAPHead_0", "class_head")),
        remarks=("its authors take GELU by tanh, and densevit exactly",),
    )
    return replace(VIT, publisher="google-research/big_vision", cleanups=((r"^(params/)?(img/)?", ""),), **rows | facts)
