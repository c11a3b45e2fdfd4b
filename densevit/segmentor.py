"""Segmentor: backbone, decoder, head. The whole model is one line, `resize(head(decoder(backbone(x))))`."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densevit.backbones import BACKBONES
from densevit.backbones.necks import make_neck
from densevit.blocks import nd
from densevit.decoders import DECODERS, Decoder, FirstMap, Output
from densevit.options import check_bools
from densevit.registry import NETWORKS, Registry
from densevit.weights import load_given, published_options

AT_LEAST_ONE = {"dim", "depth", "num_heads", "patch_size", "image_size", "num_frames", "token_dim"}
HUGE = 2**16  # larger than a width of any layer that there is
MOST_PARAMETERS = 3 * 10**10
CONTRACT = ("spatial_dims", "in_channels", "out_channels", "out_strides")  # what a backbone says of itself


class Segmentor(nn.Module):
    """Image to logits at the image's own size: (B, C, *S) -> (B, num_classes, *S).

    A decoder that was built with `image_channels` gets the image as its first map (UNETR). `divisor` (one number a
    spatial dimension) is what image sizes should be multiples of: cells of a coarse map that reach beyond the image are
    displaced by decoders which resize maps to one another's size. It is 1 for a decoder that keeps places.
    """

    def __init__(self, backbone: nn.Module, decoder: Decoder, *, num_classes: int):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if not isinstance(decoder, Decoder):
            raise ValueError(
                f"expected a decoder derived from densevit.decoders.Decoder, got {type(decoder).__name__}; derive it "
                "from that, and return [DenseMap(features)] from its forward_levels"
            )
        self.spatial_dims = backbone.spatial_dims
        self.in_channels = backbone.in_channels
        self.num_classes = num_classes
        strides = [nd.ntuple(stride, self.spatial_dims) for stride in backbone.out_strides]
        self.divisor = (1,) * self.spatial_dims if decoder.keeps_places else tuple(map(max, zip(*strides, strict=True)))
        self.backbone = backbone
        self.decoder = decoder
        self.head = decoder.create_head(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_output(x).logits(x.shape[2:])

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """The backbone's maps: (B, C, *S) -> [(B, C_i, *S_i)], fine to coarse."""
        return self.backbone(x)

    def forward_levels(self, x: Tensor) -> list[Tensor]:
        """What the decoder reads: the backbone's maps, after the image itself where the decoder takes it."""
        features = self.backbone(x)
        return features if self.decoder.image_channels is None else [x, *features]

    def forward_output(self, x: Tensor) -> Output:
        """What a loss takes: the decoder's output, classified, at the decoder's stride."""
        return self.decoder(self.forward_levels(x)).classify(self.head)

    def forward_logits(self, x: Tensor) -> Tensor:
        """Logits at the decoder's stride, before the last resize: (B, C, *S) -> (B, num_classes, *S_0)."""
        return self.forward_output(x).logits()


def list_backbones() -> list[str]:
    """Names that `create_backbone` knows."""
    return BACKBONES.names()


def list_decoders() -> list[str]:
    """Names that `create_decoder` knows."""
    return DECODERS.names()


def create_backbone(
    name: str,
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    weights: str | Path | Mapping[str, Any] | None = None,
    frozen: int = 0,
    checkpointing: bool = False,
    neck: str | Mapping[str, Any] | None = None,
    **options: Any,
) -> nn.Module:
    """Build a backbone by name: (B, in_channels, *S) -> list of (B, C_i, *S_i), fine to coarse.

    `weights` is a file that `load_weights` reads, the name of published weights (`list_weights`), "imagenet" for the
    family's own, or a dictionary of keywords: `dict(path="mit_b2.pth", inflate="center")`;
    `frozen` counts the stages that training leaves alone; `checkpointing` trades time for memory in training;
    `neck` ("simple_fpn", "feature2pyramid" or dict(type="simple_fpn", dim=128)) makes a pyramid of a plain backbone's
    maps; `options` go to the family (`drop_path=0.1`, ...). Unknown names and options raise KeyError and TypeError.
    """
    shape = dict(spatial_dims=spatial_dims, in_channels=in_channels)
    check_bools(signature(create_backbone).parameters, shape | dict(frozen=frozen))
    backbone = _build(BACKBONES, name, shape, options)
    if neck is not None:
        levels = dict(in_channels=backbone.out_channels, in_strides=backbone.out_strides)
        backbone.attach(make_neck(neck, spatial_dims=spatial_dims, **levels))
    if weights is not None:
        load_given(backbone, weights, backbone=name)
    if frozen:
        backbone.freeze(frozen)
    if checkpointing:
        backbone.set_checkpointing()
    return backbone


def create_decoder(
    name: str,
    *,
    in_channels: Sequence[int],
    in_strides: Sequence[int | tuple[int, ...]],
    spatial_dims: int = 2,
    **options: Any,
) -> Decoder:
    """Build a decoder by name: list of (B, C_i, *S_i), fine to coarse -> DenseMap (B, out_channels, *S_0).

    `in_channels` and `in_strides` are the backbone's `out_channels` and `out_strides`; `options` go to the decoder.
    A decoder with `takes_image` reads the image as one more level, of stride 1, before these if `image_channels` says
    how many channels it has.
    """
    shape = dict(spatial_dims=spatial_dims, in_channels=in_channels, in_strides=in_strides)
    return _build(DECODERS, name, shape, options)


def create_segmentor(
    backbone: str | nn.Module,
    decoder: str | None,
    *,
    num_classes: int,
    spatial_dims: int | None = None,
    in_channels: int | None = None,
    weights: str | Path | Mapping[str, Any] | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    decoder_options: Mapping[str, Any] | None = None,
) -> Segmentor:
    """Build backbone and decoder by name and join them: (B, in_channels, *S) -> logits (B, num_classes, *S).

    `spatial_dims` is 2 and `in_channels` 3 unless given. `backbone` may also be a module of one's own that keeps the
    contract of `Backbone`: then both are the module's, and ValueError refuses others, as it does `backbone_options`.
    Where a paper pairs the two, its decoder options are the defaults (SegFormer-B2 to B5: `dim=768`). `weights` is a
    checkpoint of the whole model, the name of a published one, or keywords; one of the backbone alone goes in
    `backbone_options=dict(weights=...)`. With `decoder=None` the backbone is a whole network whose maps are logits,
    such as "monai.SegResNet", built with `backbone_options`.
    """
    options = dict(backbone_options or {})
    check_bools(signature(create_segmentor).parameters, dict(num_classes=num_classes, in_channels=in_channels))
    if decoder is None and decoder_options:
        raise ValueError(f"decoder_options {sorted(decoder_options)} need a decoder; name one, or leave them out")
    if isinstance(backbone, nn.Module):
        _check_module(backbone, options, spatial_dims=spatial_dims, in_channels=in_channels)
        encoder = backbone
    else:
        options |= dict(spatial_dims=2 if spatial_dims is None else spatial_dims)
        options |= dict(in_channels=3 if in_channels is None else in_channels)
        encoder = (
            _whole_network(backbone, num_classes, options) if decoder is None else create_backbone(backbone, **options)
        )
    if decoder is None:
        made = _first_map(encoder, num_classes)
    else:
        made = _create_decoder_on(encoder, decoder, published_options(backbone, decoder) | dict(decoder_options or {}))
    model = Segmentor(encoder, made, num_classes=num_classes)
    if weights is not None:
        load_given(model, weights, backbone=None if isinstance(backbone, nn.Module) else backbone, decoder=decoder)
    return model


def _check_module(backbone: nn.Module, options: Mapping[str, Any], **shape: int | None) -> None:
    """Refuse what a module that is built already cannot follow."""
    missing = [name for name in CONTRACT if not hasattr(backbone, name)]
    if missing:
        raise ValueError(
            f"the backbone {type(backbone).__name__} has no {', '.join(missing)}; give it what Backbone has"
        )
    if options:
        raise ValueError(
            f"backbone_options {sorted(options)} are for a backbone that is built by its name, and this one is built "
            "already; build it with them, and load its weights with load_weights"
        )
    for name, wanted in shape.items():
        own = getattr(backbone, name)
        if wanted not in (None, own):
            raise ValueError(f"the backbone is a module with {name}={own}, got {name}={wanted!r}; leave {name} out")


def _whole_network(name: str, num_classes: int, options: Mapping[str, Any]) -> nn.Module:
    if name in BACKBONES:
        raise ValueError(f"the backbone {name!r} needs a decoder, got None; name one, such as 'all_mlp'")
    return _build(NETWORKS, name, dict(num_classes=num_classes), options)


def _build(registry: Registry, name: str, shape: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """What a registry makes; ValueError for sizes of which nothing is made: none, negative, or beyond the memory."""
    rank = {**shape, **options}["spatial_dims"]
    if rank not in nd.CONV:
        raise ValueError(f"spatial_dims must be 2 or 3, got {rank!r}")
    takes = registry.parameters(name)
    check_bools(takes, options)
    given = {key: options.get(key, p.default) for key, p in takes.items()}
    for key in AT_LEAST_ONE.intersection(given):
        if isinstance(given[key], int) and given[key] < 1:
            raise ValueError(f"{key} must be a whole number of at least 1, got {given[key]}")
    dim, heads = given.get("dim"), given.get("num_heads")
    if isinstance(dim, int) and isinstance(heads, int) and dim % heads:
        raise ValueError(f"num_heads of {name} must divide its dim of {dim}, got {heads}")
    try:
        if any(isinstance(value, int) and value > HUGE for value in options.values()):
            with torch.device("meta"):  # where memory is promised without being there, and a process dies that takes it
                numbers = sum(p.numel() for p in registry.create(name, **shape, **options).parameters())
            if numbers > MOST_PARAMETERS:
                raise RuntimeError(f"it would have {numbers:.3g} parameters")
        return registry.create(name, **shape, **options)
    except (RuntimeError, ArithmeticError, MemoryError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the {registry.kind} {name} cannot be built with {dict(options)} ({reason[:200]}); give sizes of at least "
            "1 that fit into memory"
        ) from error


def _first_map(network: nn.Module, num_classes: int) -> Decoder:
    if network.out_channels[0] != num_classes:
        raise ValueError(
            f"without a decoder the maps of {type(network).__name__} are logits, {network.out_channels[0]} of them for "
            f"num_classes={num_classes}; build it for as many classes, or name a decoder"
        )
    return FirstMap(
        spatial_dims=network.spatial_dims, level_channels=network.out_channels, level_strides=network.out_strides
    )


def _create_decoder_on(backbone: nn.Module, name: str, options: Mapping[str, Any]) -> Decoder:
    builder = DECODERS.family(name)
    takes_image = isinstance(builder, type) and issubclass(builder, Decoder) and builder.takes_image
    return create_decoder(
        name,
        in_channels=backbone.out_channels,
        in_strides=backbone.out_strides,
        spatial_dims=backbone.spatial_dims,
        **(dict(image_channels=backbone.in_channels) if takes_image else {}) | dict(options),
    )
