"""mmsegmentation's decode heads as decoders of ours: `create_segmentor("mit_b0", "mmseg.UPerHead", ...)`."""

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, signature
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry.registry import MODELS
from torch import Tensor, nn

from densevit.decoders import Decoder, DenseMap
from densevit.environment import ignore_warnings
from densevit.registry import DECODERS

# Heads that end in a classifier of one map; those of ALL_LEVELS read every level unless in_index says otherwise, the
# others one level, the last.
ALL_LEVELS = ("FPNHead", "LightHamHead", "SegformerHead", "UPerHead")
ONE_LEVEL = (
    "APCHead",
    "ASPPHead",
    "CCHead",
    "DMHead",
    "DNLHead",
    "DepthwiseSeparableFCNHead",
    "FCNHead",
    "GCHead",
    "ISAHead",
    "NLHead",
    "PSPHead",
)
# Set here and not by the user: the classifier is ours, and so are the losses.
_OURS = ("self", "in_channels", "num_classes", "out_channels", "threshold", "loss_decode", "ignore_index", "sampler")
RANKS = (2,)  # heads of mmsegmentation read images alone
_MANY_CLASSES = 3  # of a classifier that is thrown away; for two mmsegmentation warns


class MMSegHead(Decoder):
    """[(B, C_i, H_i, W_i)] fine to coarse -> DenseMap (B, channels, H_j, W_j): a head without its own classifier.

    It has batch norm unless the option `norm_cfg` says otherwise, and reads the level or levels of `in_index`.
    """

    def __init__(
        self,
        name: str,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        options: dict[str, Any],
    ):
        if spatial_dims not in RANKS:
            raise ValueError(f"mmseg.{name} reads images, got spatial_dims={spatial_dims}; take a decoder of ours")
        index = options.get("in_index", list(range(len(in_channels))) if name in ALL_LEVELS else -1)
        channels, strides = (_select(values, index) for values in (in_channels, in_strides))
        given = dict(norm_cfg=dict(type="BN")) | options | dict(in_index=index, in_channels=channels)
        if name == "FPNHead":
            given = dict(feature_strides=strides) | given
        try:
            with ignore_warnings():  # of its losses, which are not used here
                head = MODELS.get(name)(num_classes=_MANY_CLASSES, **given)
        except (AssertionError, TypeError) as error:
            raise ValueError(f"mmseg.{name} refuses the options {given}: {error or 'it asserts others'}") from error
        stride = strides if isinstance(index, int) else strides[0]
        super().__init__(spatial_dims=2, level_channels=[head.conv_seg.in_channels], level_strides=[stride])
        self.head = head
        self.head.conv_seg = nn.Identity()

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The map that the head's own classifier would read, alone."""
        return [DenseMap(self.head(features))]


def _select(values: Sequence[int], index: int | Sequence[int]) -> int | list[int]:
    return values[index] if isinstance(index, int) else [values[i] for i in index]


def _keywords(name: str) -> list[str]:
    """What a head takes, its parents' arguments included."""
    kind = MODELS.get(name)
    parents = kind.__mro__[: kind.__mro__.index(BaseDecodeHead) + 1]
    names = dict.fromkeys(word for parent in parents for word in signature(parent.__init__).parameters)
    return [word for word in names if word not in (*_OURS, "kwargs")]


def _builder(name: str) -> Callable[..., MMSegHead]:
    """A builder for `DECODERS` whose signature has the head's own keywords, which config checks read."""

    def build(*, spatial_dims: int, in_channels: Sequence[int], in_strides: Sequence[int], **options: Any) -> MMSegHead:
        return MMSegHead(
            name, spatial_dims=spatial_dims, in_channels=in_channels, in_strides=in_strides, options=options
        )

    names = ("spatial_dims", "in_channels", "in_strides", *_keywords(name))
    build.__signature__ = Signature([Parameter(word, Parameter.KEYWORD_ONLY) for word in names])
    return build


for _name in (*ALL_LEVELS, *ONE_LEVEL):
    DECODERS.register({f"mmseg.{_name}": {}})(_builder(_name))
