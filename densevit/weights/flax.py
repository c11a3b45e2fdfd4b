"""Rows of key maps for files of flax, whose layers have kernels, biases and scales under names with slashes."""

from collections.abc import Callable

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


def attention(theirs: str, ours: str) -> tuple[Row, ...]:
    """Self-attention, whose heads are an axis of their own."""
    parts = [f"{theirs}/{part}" for part in ("query", "key", "value")]
    return (
        (tuple(f"{part}/kernel!" for part in parts), f"{ours}.qkv.weight!", "flax_qkv"),
        (tuple(f"{part}/bias!" for part in parts), f"{ours}.qkv.bias!", "flax_qkv"),
        (f"{theirs}/out/kernel!", f"{ours}.proj.weight!", "flax_out"),
        (f"{theirs}/out/bias!", f"{ours}.proj.bias!"),
    )


def mlp(theirs: str, ours: str) -> tuple[Row, ...]:
    """Two linear layers."""
    return (*layer(f"{theirs}/Dense_0", f"{ours}.fc1"), *layer(f"{theirs}/Dense_1", f"{ours}.fc2"))


def transformer(embed: str) -> tuple[Row, ...]:
    """A ViT; `embed` is our module that makes its tokens."""
    theirs, ours = "Transformer/encoderblock_{k}/", "blocks.{k}."
    return (
        *layer("embedding", f"{embed}proj"),
        ("cls!", f"{embed}position.tokens.cls_token!"),
        ("Transformer/posembed_input/pos_embedding!", f"{embed}position.pos_embed!"),
        *norm(f"{theirs}LayerNorm_0", f"{ours}norm1"),
        *attention(f"{theirs}MultiHeadDotProductAttention_1", f"{ours}attn"),
        *norm(f"{theirs}LayerNorm_2", f"{ours}norm2"),
        *mlp(f"{theirs}MlpBlock_3", f"{ours}mlp"),
        *norm("Transformer/encoder_norm", "norm"),
    )


VIT = Release(  # what the files of ViT's authors share
    title="",
    publisher="google-research/vision_transformer",
    licence="Apache-2.0",
    trained_on="ImageNet-21k, ImageNet-1k",
    is_it=lambda _: False,
    cleanups=((r"^opt/target/", ""),),  # of whole states of training
    class_head=layer("head", "class_head.fc"),
    ignored=("pre_logits/",),
    remarks=("its authors take GELU by tanh, and densevit exactly, as timm and transformers do with these weights",),
    remarks_if=(
        (
            named("pre_logits/"),
            "its classifier reads one more layer, pre_logits, which has no place here; train a new head",
        ),
    ),
)
