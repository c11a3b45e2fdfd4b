"""Networks of other packages that give logits themselves, in place of a backbone and its decoder.

Legend: B batch, C image channels, K classes, *S spatial size.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densevit.blocks import nd

OF_PICTURES = (2,)  # what spatial_dims may be for packages of pictures
OURS = ("spatial_dims", "in_channels", "num_classes", "divisor")  # keywords of every builder of a whole network


class WholeNetwork(nn.Module):
    """A whole network in place of a backbone; its maps are logits: (B, C, *S) -> [(B, K, *S_i)], fine to coarse.

    Images may have any size: zeros fill them up to multiples of `divisor` (one number per spatial dimension), and
    logits are cropped back. A network with deep supervision gives `num_maps` maps in training, else only the first.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        divisor: int | Sequence[int],
        num_maps: int = 1,
    ):
        super().__init__()
        self.network = network
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = (num_classes,) * num_maps
        self.out_strides = (1,) * num_maps  # such networks do not say how coarse their maps are
        self.divisor = nd.ntuple(divisor, spatial_dims)
        if min(self.divisor) < 1:
            raise ValueError(f"divisor must be at least 1 on every axis, got {divisor!r}")

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"expected (B, {self.in_channels}, *S) with {self.spatial_dims} spatial dimensions, "
                f"got shape {tuple(x.shape)}; set in_channels and spatial_dims when the model is made"
            )
        padded = x
        if any(s % d for s, d in zip(x.shape[2:], self.divisor, strict=True)):
            padded = nd.to_image(nd.pad_to_multiple(nd.to_grid(x), self.divisor)).contiguous()
        maps = self._maps(self.network(padded))
        return [self._cut(part, x.shape[2:], padded.shape[2:]) for part in maps]

    def _maps(self, output: Any) -> list[Tensor]:
        if isinstance(output, Tensor):  # DynUNet stacks its maps, (B, maps, K, *S)
            maps = list(output.unbind(1)) if output.ndim == self.spatial_dims + 3 else [output]
        else:
            maps = list(output) if isinstance(output, list | tuple) else []
        wanted = len(self.out_channels) if self.training else 1
        shapes = [tuple(part.shape) for part in maps if isinstance(part, Tensor)]
        right = [shape for shape in shapes if len(shape) == self.spatial_dims + 2 and shape[1] == self.out_channels[0]]
        if len(right) != len(maps) or len(maps) not in (wanted, len(self.out_channels)):
            raise ValueError(
                f"{type(self.network).__name__} gave {shapes or type(output).__name__}, and {wanted} maps "
                f"(B, {self.out_channels[0]}, *S) are expected; it is no network for segmentation, or its options "
                "make it give others"
            )
        return maps[:wanted]

    def _cut(self, logits: Tensor, size: Sequence[int], padded: Sequence[int]) -> Tensor:
        """The part of a map of the padded image that lies on the image itself."""
        sizes = [-(-s * m // p) for s, m, p in zip(size, logits.shape[2:], padded, strict=True)]
        return nd.to_image(nd.crop(nd.to_grid(logits), sizes))

    def set_checkpointing(self, enabled: bool = True) -> None:
        """ValueError if enabled: only densevit's own backbones recompute."""
        if enabled:
            raise ValueError(
                f"{type(self.network).__name__} is no backbone of densevit and cannot recompute its blocks; set "
                "checkpointing=False"
            )


def check_pictures(name: str, spatial_dims: int) -> None:
    """ValueError unless pictures are asked for; `name` is that of a network which knows nothing else."""
    if spatial_dims not in OF_PICTURES:
        raise ValueError(f"{name} is a network of pictures, got spatial_dims={spatial_dims}; leave it out")


def build_on_cpu(build: Callable[[], nn.Module]) -> nn.Module:
    """The network that `build` makes, moved to the default device: some constructors read numbers from tensors."""
    device = torch.get_default_device()
    with torch.device("cpu"):
        network = build()
    return network.to(device)


def state_keywords(build: Callable[..., WholeNetwork], theirs: Iterable[Parameter]) -> None:
    """Let the signature of a builder name the keywords of a network beside ours: configs are checked by it."""
    named = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in theirs if p.kind is not Parameter.VAR_KEYWORD]
    ours = set(OURS).difference(p.name for p in named)
    build.__signature__ = Signature([*named, *(Parameter(key, Parameter.KEYWORD_ONLY) for key in sorted(ours))])


def load_exactly(
    network: nn.Module, state: Mapping[str, Tensor], *, path: Path, said_by: str, way: str = "the config"
) -> None:
    """Put the weights of a file into a network; ValueError where they are of another one than the file
    `said_by` says; `way` ends the sentence.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    other = next((name for name in {**wanted, **found} if wanted.get(name) != found.get(name)), None)
    if other is not None:
        raise ValueError(
            f"{path} holds another network than {said_by} says: {other} is {_shape(found.get(other))}, and "
            f"{_shape(wanted.get(other))} by {way}"
        )
    network.load_state_dict(dict(state))


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "one number"
