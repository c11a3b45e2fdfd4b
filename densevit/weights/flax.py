"""Rows of key maps for files of flax, whose layers have kernels, biases and scales under names with slashes."""

from collections.abc import Callable

from densevit.weights.family import Row, Shapes, names_like

PREFIX = (r"^opt/target/", "")  # before the names of whole states of training
GELU = "its authors take GELU by tanh, and densevit exactly, as timm and transformers do with these weights"


def named(*modules: str) -> Callable[[Shapes], bool]:
    """True for tensors of which, for each module, some name begins with it, with the prefix or without."""
    return names_like(*(f"(opt/target/)?{module}" for module in modules))


def layer(theirs: str, ours: str, *, bias: bool = True) -> tuple[Row, ...]:
    """A linear layer or a convolution."""
    kernel = (f"{theirs}/kernel!", f"{ours}.weight!", "flax")
    return (kernel, (f"{theirs}/bias!", f"{ours}.bias!")) if bias else (kernel,)


def norm(theirs: str, ours: str, *, scale: str = "scale", bias: str = "bias") -> tuple[Row, ...]:
    """A norm, whose scale and bias may have other names."""
    return (f"{theirs}/{scale}!", f"{ours}.weight!"), (f"{theirs}/{bias}!", f"{ours}.bias!")


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
