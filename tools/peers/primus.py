"""Primus of dynamic_network_architectures where it is installed, and one of timm's blocks with its names elsewhere."""

from itertools import pairwise
from math import log2

import torch
from torch import nn

from tools.peers import import_peer

STEMS = {2: (32, 32, 64, 128), 3: (8, 8, 16, 32)}  # the third version's is narrower than in its variants


class Rope(nn.Module):
    """timm's angles for grids of any rank, in double precision; RotaryEmbeddingCat has two axes since timm 1.0.23."""

    def __init__(self, dim, *, feat_shape, ref_feat_shape, in_pixels=False):
        super().__init__()
        layers = import_peer("timm").layers
        sizes = dict(feat_shape=list(feat_shape), ref_feat_shape=list(ref_feat_shape), in_pixels=in_pixels)
        bands = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
        sin, cos = layers.build_rotary_pos_embed(bands=bands, dtype=torch.float64, **sizes)
        self.register_buffer("angles", torch.cat([sin, cos], dim=-1), persistent=False)

    def get_embed(self):
        return self.angles


def package_primus(version, size, **options):
    """Primus, PrimusV2 or PrimusV3 of the package; SkipTest where it is not installed."""
    import_peer("timm")
    module = import_peer("dynamic_network_architectures.architectures.primus")
    kind = {1: module.Primus, 2: module.PrimusV2, 3: module.PrimusV3}[version]
    shared = dict(input_shape=size, rope_impl=Rope, init_values=0.1, scale_attn_inner=True, patch_embed_size=(8, 8, 8))
    return kind(1, **shared, **options, **(dict(ch_per_level=STEMS[3]) if version == 3 else {}))


class Primus(nn.Module):
    """The same of timm's blocks and torch's layers, (B, 1, *size) -> (B, num_classes, *size)."""

    def __init__(self, version, size, *, embed_dim, eva_depth, eva_numheads, num_classes):
        super().__init__()
        block = import_peer("timm").models.eva.EvaBlock
        cells = [s // 8 for s in size]
        self.down_projection = _Patches(embed_dim) if version == 1 else _Stem(version, embed_dim)
        eva = nn.Module()
        eva.pos_embed = nn.Parameter(torch.zeros(1, cells[0] * cells[1] * cells[2], embed_dim))
        eva.rope = Rope(round(embed_dim / eva_numheads / 1.5), feat_shape=cells, ref_feat_shape=cells)
        options = dict(qkv_fused=False, mlp_ratio=8 / 3, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True)
        options |= dict(norm_layer=nn.LayerNorm, init_values=0.1, num_prefix_tokens=0)
        eva.blocks = nn.ModuleList(block(embed_dim, eva_numheads, **options) for _ in range(eva_depth))
        eva.norm = nn.LayerNorm(embed_dim)
        self.eva, self.up_projection = eva, nn.Module()
        self.up_projection.decode = _decoder(embed_dim, num_classes)
        self.register_buffer("mask_token", torch.zeros(1, 1, embed_dim))

    def forward(self, image):
        x = self.down_projection(image)
        size = x.shape[2:]
        x = x.flatten(2).transpose(1, 2) + self.eva.pos_embed
        for block in self.eva.blocks:
            x = block(x, rope=self.eva.rope.get_embed().to(x.dtype))
        return self.up_projection.decode(self.eva.norm(x).transpose(1, 2).unflatten(2, size))


class _Patches(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Conv3d(1, dim, 8, 8)

    def forward(self, x):
        return self.proj(x)


class _Normed(nn.Module):
    """Convolution and instance norm, each under two names."""

    def __init__(self, before, dim, kernel, stride=1, *, bias):
        super().__init__()
        self.conv = nn.Conv3d(before, dim, kernel, stride, kernel // 2, bias=bias)
        self.norm = nn.InstanceNorm3d(dim, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm)

    def forward(self, x):
        return self.all_modules(x)


class _Residual(nn.Module):
    def __init__(self, before, dim, stride, slope):
        super().__init__()
        self.conv1 = _Normed(before, dim, 3, stride, bias=stride == 1)
        self.conv2 = _Normed(dim, dim, 3, bias=stride == 1)
        pool = [nn.AvgPool3d(stride)] if stride > 1 else []
        self.skip = nn.Sequential(*pool, *([_Normed(before, dim, 1, bias=False)] if before != dim else []))
        self.act = nn.LeakyReLU(slope)

    def forward(self, x):
        return self.act(self.conv2(self.act(self.conv1(x))) + self.skip(x))


class _Stem(nn.Module):
    def __init__(self, version, dim):
        super().__init__()
        dims, slope = STEMS[version], {2: 0.0, 3: 0.01}[version]
        stages = [nn.Module() for _ in dims]
        for i, (stage, before) in enumerate(zip(stages, (1, *dims), strict=False)):
            stage.blocks = nn.Sequential(_Residual(before, dims[i], 2 if i else 1, slope))
        self.stem, self.stages = stages[0], nn.ModuleList(stages[1:])
        self.final_proj = nn.Conv3d(dims[-1], dim, 1)
        if version == 3:
            self.proj_to_tokens = nn.ModuleList(nn.Conv3d(d, dim, 8 >> i, 8 >> i) for i, d in enumerate(dims[:3]))
            self.scale_proj_to_tokens = nn.ParameterList(torch.tensor(1e-5) for _ in range(3))

    def forward(self, x):
        maps = []
        for stage in (self.stem, *self.stages):
            x = stage.blocks(x)
            maps.append(x)
        out = self.final_proj(x)
        for i, projection in enumerate(getattr(self, "proj_to_tokens", [])):
            out = out + self.scale_proj_to_tokens[i] * projection(maps[i])
        return out


class _ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def _decoder(dim, num_classes):
    steps = int(log2(8))
    ratio = (dim / (2 * num_classes)) ** (1 / steps)
    widths = [dim, *(max(8, round((dim / ratio**i + 1e-6) / 8) * 8) for i in range(1, steps)), num_classes]
    ups = [nn.ConvTranspose3d(a, b, 2, 2) for a, b in pairwise(widths)]
    inner = [nn.Sequential(up, _ChannelNorm(up.out_channels, eps=1e-6), nn.GELU()) for up in ups[:-1]]
    return nn.Sequential(*inner, ups[-1])
