"""What every decoder is and gives: a map that a classifier turns into logits."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from densevit.blocks import nd

Stride = int | tuple[int, ...]


class Output(Protocol):
    """What a decoder gives: once classified, logits of each pixel; a loss takes it after `classify`.

    A decoder whose output is more than a map (masks and a class for each of them) has an output of its own, and a loss
    that reads the parts of it.
    """

    def classify(self, head: nn.Module) -> "Output": ...

    def float(self) -> "Output": ...

    def logits(self, size: Sequence[int] | None = None) -> Tensor: ...


class DenseMap(NamedTuple):
    """The output of a decoder that gives one map: features (B, C, *S), then logits (B, num_classes, *S)."""

    values: Tensor

    def classify(self, head: nn.Module) -> "DenseMap":
        """The same with `head`, a classifier made by `Decoder.create_head`, applied to its features."""
        return DenseMap(head(self.values))

    def float(self) -> "DenseMap":
        return DenseMap(self.values.float())

    def logits(self, size: Sequence[int] | None = None) -> Tensor:
        """(B, num_classes, *S) or, resized linearly, (B, num_classes, *size)."""
        return self.values if size is None else nd.resize(self.values, size)


class Decoder(nn.Module):
    """A backbone's maps [(B, C_i, *S_i)], fine to coarse -> Output of `out_channels` at `out_stride`.

    `level_channels` and `level_strides` describe the outputs of `forward_levels`, the first of which is the decoder's
    own; deep supervision classifies the others. A decoder with `takes_image` is built with `image_channels`, and if
    that is a number, its first map is the image itself, before those of the backbone. `keeps_places` says that the
    decoder never resizes one map to another's size, so that image sizes need not divide by the backbone's strides.
    """

    takes_image = False
    keeps_places = False

    def __init__(
        self,
        *,
        spatial_dims: int,
        level_channels: Sequence[int],
        level_strides: Sequence[Stride],
        image_channels: int | None = None,
    ):
        super().__init__()
        self.spatial_dims = spatial_dims
        self.level_channels, self.level_strides = tuple(level_channels), tuple(level_strides)
        self.out_channels, self.out_stride = self.level_channels[0], self.level_strides[0]
        self.image_channels = image_channels

    def forward(self, features: Sequence[Tensor]) -> Output:
        return self.forward_levels(features)[0]

    def forward_levels(self, features: Sequence[Tensor]) -> list[Output]:
        """The decoder's output and, for deep supervision, its inner ones of `level_channels`, fine to coarse."""
        raise NotImplementedError

    def create_head(self, num_classes: int, *, level: int = 0) -> nn.Module:
        """A classifier for the output of a level: (B, level_channels[level], *S) -> (B, num_classes, *S)."""
        return init_classifier(nd.CONV[self.spatial_dims](self.level_channels[level], num_classes, 1))


class FirstMap(Decoder):
    """In place of a decoder after a whole network, whose maps are logits: [(B, K, *S_i)] -> DenseMap (B, K, *S_0)."""

    keeps_places = True

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        return [DenseMap(x) for x in features]

    def create_head(self, num_classes: int, *, level: int = 0) -> nn.Module:
        """No classifier: the maps are logits already."""
        return nn.Identity()


def init_classifier(conv: nn.Module) -> nn.Module:
    """Begin with every class equally likely, as published: the loss of a fresh model is about log(num_classes)."""
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    return conv


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for an option of which nothing can be built, by its name."""
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")
