"""What the parity tests share: random weights that leave nothing at its initial value, and peers with our eps."""

import warnings

import torch

from densevit.weights import to_ours, to_stages
from tools.peers import import_mmseg, import_peer

# Name -> blocks of the four stages, and width of the decoder.
SEGFORMERS = {
    "mit_b0": ([2, 2, 2, 2], 256),
    "mit_b1": ([2, 2, 2, 2], 256),
    "mit_b2": ([3, 4, 6, 3], 768),
    "mit_b3": ([3, 4, 18, 3], 768),
    "mit_b4": ([3, 8, 27, 3], 768),
    "mit_b5": ([3, 6, 40, 3], 768),
}


def transformers_segformer(name, *, num_classes):
    """SegFormer of transformers in one of its published variants, with the eps of the release.

    transformers has 1e-5 in every norm; the release has 1e-6 in the blocks and after each stage.
    """
    transformers = import_peer("transformers")
    depths, dim = SEGFORMERS[name]
    dims = [32, 64, 160, 256] if name == "mit_b0" else [64, 128, 320, 512]
    config = transformers.SegformerConfig(
        depths=depths, hidden_sizes=dims, decoder_hidden_size=dim, num_labels=num_classes
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    for stage in model.segformer.stages:
        stage.layer_norm.eps = 1e-6
        for block in stage.blocks:
            block.layernorm_before.eps = block.layernorm_after.eps = 1e-6
    return model


def mmseg_segformer(*, num_classes):
    """SegFormer-B0 of mmsegmentation as its configs build it, with batch norm of one process."""
    mmseg = import_mmseg()
    backbone = dict(
        type="mmseg.MixVisionTransformer",
        embed_dims=32,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        mlp_ratio=4,
        qkv_bias=True,
    )
    head = dict(
        type="mmseg.SegformerHead",
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        channels=256,
        num_classes=num_classes,
        norm_cfg=dict(type="BN"),
        align_corners=False,
    )
    model = dict(type="mmseg.EncoderDecoder", backbone=backbone, decode_head=head, test_cfg=dict(mode="whole"))
    from mmengine.registry import DefaultScope

    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")  # it deprecates its own functions
        return mmseg.registry.MODELS.build(model)


@torch.no_grad()
def randomize(model, *, seed=0):
    """Give every tensor of a model random values of a sensible scale: biases, norms and running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():  # a count of batches, an index of positions
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(1 + noise.tanh() / 2)
        elif tensor.ndim > 1:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)
        elif name.endswith("weight"):
            tensor.copy_(0.5 + 0.1 * noise)
        else:
            tensor.copy_(0.1 * noise)
    return model.eval()


def copy_weights(peer, ours, *, source):
    """Copy a peer's state dict into our model through the key map; both must fit without remainder.

    Only a classifier takes its head, and only a CLIP an encoder of texts.
    """
    whole = any(name.startswith("backbone.") for name in ours.state_dict())
    names = [name if whole else f"backbone.{name}" for name in ours.state_dict()]
    classifies = any(name.startswith("class_head.") for name in names)
    texts = any(name.startswith("text.") for name in names)
    translation = to_ours(peer.state_dict(), source, class_head=classifies, texts=texts)
    assert translation.unexpected == []
    state = to_stages(translation.state, names)
    ours.load_state_dict(state if whole else {name.removeprefix("backbone."): t for name, t in state.items()})
    return ours.eval()


def picture(*size, channels=3, seed=0):
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed))


def largest_difference(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()
