"""UNETR and Swin UNETR of MONAI, and ours of the same size."""

import torch

import densevit
from tools.peers import import_peer


def monai():
    import_peer("einops")  # which MONAI's transformers need
    return import_peer("monai.networks.nets")


def monai_unetr(size, *, classes=14, **options):
    return monai().UNETR(in_channels=1, out_channels=classes, img_size=size, spatial_dims=len(size), **options)


def unetr(size, *, classes=14, decoder_options=None, **options):
    return densevit.create_segmentor(
        "unetr_vit_base",
        "unetr",
        num_classes=classes,
        spatial_dims=len(size),
        in_channels=1,
        backbone_options=dict(image_size=size, **options),
        decoder_options=decoder_options,
    )


def monai_swin_unetr(dim, *, spatial_dims=3, merge_order="fixed", classes=14):
    """MONAI's model; the legacy order is that of its releases before 1.5."""
    module = import_peer("monai.networks.nets.swin_unetr")

    class LegacyMerging(module.PatchMergingV2):
        def forward(self, x):
            offsets = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
            return self.reduction(self.norm(torch.cat([x[:, d::2, h::2, w::2] for d, h, w in offsets], -1)))

    downsample = dict(fixed="merging", v2="mergingv2", legacy=LegacyMerging)[merge_order]
    return monai().SwinUNETR(
        in_channels=1, out_channels=classes, feature_size=dim, spatial_dims=spatial_dims, downsample=downsample
    )


def swin_unetr(name="swin_unetr_tiny", *, spatial_dims=3, merge_order="fixed", classes=14):
    return densevit.create_segmentor(
        name,
        "unetr",
        num_classes=classes,
        spatial_dims=spatial_dims,
        in_channels=1,
        backbone_options=dict(merge_order=merge_order),
    )
