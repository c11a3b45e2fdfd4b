"""MViT: a pyramid by pooling attention. v1 https://arxiv.org/abs/2104.11227, v2 https://arxiv.org/abs/2112.01526"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.blocks import nd
from densevit.blocks.pooling_attention import HeadPool, PoolingAttention, PoolingBlock, SkipPool
from densevit.blocks.tokens import GridTokens
from densevit.blocks.transformer import PatchEmbed, drop_path_rates, init_linear_weights
from densevit.registry import BACKBONES, check_known

VARIANTS_V1 = {"mvit_v1_base": dict(dim=96, depths=(1, 2, 11, 2))}
VARIANTS_V2 = {
    "mvit_v2_tiny": dict(dim=96, depths=(1, 2, 5, 2)),
    "mvit_v2_small": dict(dim=96, depths=(1, 2, 11, 2)),
    "mvit_v2_base": dict(dim=96, depths=(2, 3, 16, 3)),
    "mvit_v2_large": dict(dim=144, depths=(2, 6, 36, 4), grow_in_mlp=True),
}
# How fast the axes shrink, and the windows of attention (0: none).
PYRAMIDS = {
    "image": dict(patch_kernel=7, patch_stride=4, q_stride=2, kv_stride=4, window_size=0),
    "windows": dict(patch_kernel=7, patch_stride=4, q_stride=2, kv_stride=4, window_size=56),
    "video": dict(
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        q_stride=(1, 2, 2),
        kv_stride=(1, 8, 8),
        window_size=0,
        image_size=(16, 224, 224),
    ),
}
Pyramid = str | Mapping[str, int | Sequence[int]]


@dataclass(frozen=True)
class Plan:
    """What the blocks of a member are built from; strides and sizes are one per axis."""

    dim: int
    depths: tuple[int, ...]
    patch_kernel: tuple[int, ...]
    patch_stride: tuple[int, ...]
    q_stride: tuple[int, ...]
    kv_stride: tuple[int, ...]
    window_size: tuple[int, ...]
    image_size: tuple[int, ...]
    grow_in_mlp: bool
    v2: bool
    video: bool
    class_residual: bool | None = None

    def strides(self, i: int) -> tuple[int, ...]:
        """Of stage i in the image."""
        return tuple(patch * q**i for patch, q in zip(self.patch_stride, self.q_stride, strict=True))

    def grid(self, i: int) -> tuple[int, ...]:
        """The stage's tokens for an image of `image_size`."""
        return nd.ceil_div(self.image_size, self.strides(i))

    @property
    def residual(self) -> str:
        """Where the pooled queries are added: to the grid, and to the class token too if that is asked for."""
        whole = not self.video if self.class_residual is None else self.class_residual
        return "none" if not self.v2 else "all" if whole else "grid"


@BACKBONES.register(VARIANTS_V2)
def mvit_v2(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depths: Sequence[int],
    grow_in_mlp: bool = False,
    class_token: bool = False,
    class_residual: bool | None = None,
    pyramid: Pyramid = "image",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of v2; see VARIANTS_V2. Relative positions; every query is pooled and added to its output.

    `pyramid` is "image" (strides 4, 8, 16, 32 along every axis, which in 3D suits CT), "video" (the published form for
    16 frames, with spatial_dims=3: strides (2, 4, 4) to (2, 32, 32)), "windows" (detectron2's for large images), or a
    dict of what differs from its `base`, one of these; each field is a number or one per axis: `patch_kernel`,
    `patch_stride`, `q_stride` from stage to stage, `kv_stride` and `window_size` of the first stage, and `image_size`,
    for which the tables of positions are made: an image of another size resizes them. Windows cover the same part of
    the image in every stage; the last blocks of all stages but the first see the whole of it. The published video
    models, and those of ImageNet-21k, have a `class_token`; `class_residual` adds its query to its output as well,
    which timm does and the authors do not; by default as timm, but not in video. `grow_in_mlp` widens the stream in the
    last Mlp of a stage instead of in the next stage's first attention.
    """
    shared = dict(dim=dim, depths=tuple(depths), grow_in_mlp=grow_in_mlp, v2=True)
    plan = Plan(**shared, **_read_pyramid(pyramid, spatial_dims), class_residual=class_residual)
    return _build(plan, in_channels=in_channels, class_token=class_token, drop_path=drop_path)


@BACKBONES.register(VARIANTS_V1)
def mvit_v1(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depths: Sequence[int],
    class_token: bool = True,
    pyramid: Pyramid = "image",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of v1; see VARIANTS_V1. Absolute positions; queries are pooled only where stages change.

    `pyramid` is as in `mvit_v2`; "video" with spatial_dims=3 is the published 16 x 4 form.
    """
    shared = dict(dim=dim, depths=tuple(depths), grow_in_mlp=True, v2=False)
    plan = Plan(**shared, **_read_pyramid(pyramid, spatial_dims))
    return _build(plan, in_channels=in_channels, class_token=class_token, drop_path=drop_path)


def _read_pyramid(pyramid: Pyramid, spatial_dims: int) -> dict[str, bool | tuple[int, ...]]:
    """The fields of a Plan that `pyramid` stands for."""
    given = dict(base=pyramid) if isinstance(pyramid, str) else dict(pyramid)
    base = given.pop("base", "image")
    check_known(base, PYRAMIDS, what="no pyramid named")
    axes = len(PYRAMIDS["video"]["q_stride"])
    if base == "video" and spatial_dims != axes:
        raise ValueError(f"the pyramid 'video' needs spatial_dims={axes}, got {spatial_dims}; 'image' fits any")
    for name in given:
        check_known(name, ["base", *PYRAMIDS["video"]], what="a pyramid has no field")
    values = {"image_size": nd.TABLE_SIZE[spatial_dims], **PYRAMIDS[base], **given}
    fields = {name: nd.ntuple(value, spatial_dims) for name, value in values.items()}
    kernel, patch, strides = fields["patch_kernel"], fields["patch_stride"], fields["q_stride"]
    if (kernel != patch and any(k % 2 == 0 for k in kernel)) or any(s > 1 and s % 2 for s in strides):
        raise ValueError(
            f"expected patch_kernel to be odd or equal to patch_stride, and q_stride to be even or 1, got {kernel}, "
            f"{patch} and {strides}: with others the maps would not be ceil(size / stride) large"
        )
    windows = zip(fields["window_size"], fields["kv_stride"], strides, strict=True)
    if any(w % lcm(kv, q**3) for w, kv, q in windows) or (0 in fields["window_size"] and any(fields["window_size"])):
        raise ValueError(
            f"expected a window_size that the kv_stride {fields['kv_stride']} and the cube of the q_stride {strides} "
            f"divide, or 0 along every axis, got {fields['window_size']}"
        )
    return dict(video=base == "video", **fields)


def _build(plan: Plan, *, in_channels: int, class_token: bool, drop_path: float) -> Backbone:
    spatial_dims, num_stages = len(plan.image_size), len(plan.depths)
    if class_token and any(plan.window_size):
        raise ValueError("a class token belongs to no window: choose class_token=False or a pyramid without windows")
    embed = PatchEmbed(
        spatial_dims,
        in_channels,
        plan.dim,
        kernel_size=plan.patch_kernel,
        stride=plan.patch_stride,
        norm=False,
        position=GridTokens(plan.dim, grid=None if plan.v2 else plan.grid(0), class_token=class_token),
    )
    rates = drop_path_rates(drop_path, plan.depths)
    stages = [Stage(nn.Identity() if i else embed, _blocks(plan, i, rates=rates[i])) for i in range(num_stages)]
    out_channels = [blocks[-1].mlp.fc2.out_features for blocks in (stage.blocks for stage in stages)]
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        out_strides=[nd.plain(plan.strides(i)) for i in range(num_stages)],
        out_norms=[nn.LayerNorm(width, eps=1e-6) for width in out_channels],
    )
    return backbone.apply(init_linear_weights)


def _blocks(plan: Plan, i: int, *, rates: Sequence[float]) -> list[PoolingBlock]:
    """The blocks of stage i. The first one strides, but for the first of all."""
    width, blocks = plan.dim * 2**i, []
    for j, rate in enumerate(rates):
        strided, grows = i > 0 and j == 0, j == len(rates) - 1 and i < len(plan.depths) - 1
        dim_in = width // 2 if strided and not plan.grow_in_mlp else width
        dim_out = width * 2 if grows and plan.grow_in_mlp else width
        blocks.append(
            PoolingBlock(
                dim_in,
                dim_out,
                attention=_attention(plan, i, j, dim=dim_in),
                pool_skip=SkipPool(len(plan.q_stride), stride=plan.q_stride) if strided else None,
                grow_in_mlp=plan.grow_in_mlp,
                drop_path=rate,
            )
        )
    return blocks


def _attention(plan: Plan, i: int, j: int, *, dim: int) -> PoolingAttention:
    """Attention of block j of stage i."""
    spatial_dims, width, strided = len(plan.image_size), plan.dim * 2**i, i > 0 and j == 0
    num_heads = max(plan.dim // 64, 1) * 2**i
    q_stride = plan.q_stride if strided else (1,) * spatial_dims
    kv_stride = tuple(max(kv // q**i, 1) for kv, q in zip(plan.kv_stride, plan.q_stride, strict=True))
    windows = None
    if any(plan.window_size):
        if i > 0 and j == plan.depths[i] - 1:  # sees the whole image, by fewer keys
            kv_stride = tuple(2 * s for s in kv_stride) if i < len(plan.depths) - 1 else kv_stride
        else:
            window = nd.ceil_div(plan.window_size, [q ** (i - strided) for q in plan.q_stride])
            windows = (nd.ceil_div(window, q_stride), nd.ceil_div(window, kv_stride))
    pools = [HeadPool(spatial_dims, width // num_heads, stride=s) for s in (q_stride, kv_stride, kv_stride)]
    if not (plan.v2 or strided):
        pools[0] = nn.Identity()
    size = plan.grid(i - strided)
    sides = zip(nd.ceil_div(size, q_stride), nd.ceil_div(size, kv_stride), strict=True)
    return PoolingAttention(
        dim,
        width,
        num_heads=num_heads,
        pools=pools,
        table_lengths=[2 * max(side) - 1 for side in sides] if plan.v2 else (),
        residual=plan.residual,
        windows=windows,
    )
