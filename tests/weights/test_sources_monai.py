"""Key maps of MONAI's UNETR and Swin UNETR, whole: released names, older versions, what a report says."""

import pytest
import torch

import densevit
from densevit.weights import guess_source, load_weights, to_ours, to_theirs
from tests.weights.common import equal
from tools.peers import import_peer
from tools.peers.common import randomize

IMAGE = (32, 32, 32)


def unetr(*, spatial_dims=3, seed=0):
    """UNETR with a ViT of 2 blocks for each tap."""
    options = dict(dim=24, depth=8, num_heads=2, taps=(1, 3, 5, 7), image_size=32)
    model = densevit.create_segmentor(
        "unetr_vit_base", "unetr", num_classes=3, spatial_dims=spatial_dims, in_channels=2, backbone_options=options
    )
    return randomize(model, seed=seed)


def swin_unetr(*, spatial_dims=3, seed=0):
    model = densevit.create_segmentor(
        "swin_unetr_tiny", "unetr", num_classes=3, spatial_dims=spatial_dims, in_channels=2
    )
    return randomize(model, seed=seed)


MODELS = {"monai_vit": unetr, "monai_swin_unetr": swin_unetr}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("source", MODELS)
def test_a_whole_model_survives_the_way_to_monai_and_back(source, spatial_dims, tmp_path):
    model, target = (MODELS[source](spatial_dims=spatial_dims, seed=seed) for seed in (0, 1))
    theirs = {f"module.{name}": tensor for name, tensor in to_theirs(model.state_dict(), source).items()}
    assert guess_source(theirs) == source
    assert to_ours(theirs, source).unexpected == []
    torch.save(dict(state_dict=theirs), tmp_path / "whole.pth")
    report = load_weights(target, tmp_path / "whole.pth", source=source)
    assert (report.source, report.complete, report.fresh) == (source, True, ())
    assert equal(target, model)


def test_the_names_of_unetr_are_those_of_monai():
    expected = {
        "vit.patch_embedding.position_embeddings": (1, 8, 24),
        "vit.patch_embedding.patch_embeddings.1.weight": (24, 2 * 16**3),
        "vit.patch_embedding.patch_embeddings.1.bias": (24,),
        "vit.blocks.7.norm1.weight": (24,),
        "vit.blocks.0.attn.qkv.weight": (72, 24),
        "vit.blocks.0.attn.out_proj.bias": (24,),
        "vit.blocks.0.mlp.linear1.weight": (96, 24),
        "vit.norm.bias": (24,),
        "encoder1.layer.conv1.conv.weight": (16, 2, 3, 3, 3),
        "encoder1.layer.conv3.conv.weight": (16, 2, 1, 1, 1),
        "encoder2.transp_conv_init.conv.weight": (24, 32, 2, 2, 2),
        "encoder2.blocks.1.0.conv.weight": (32, 32, 2, 2, 2),
        "encoder2.blocks.1.1.conv2.conv.weight": (32, 32, 3, 3, 3),
        "encoder3.blocks.0.1.conv1.conv.weight": (64, 64, 3, 3, 3),
        "encoder4.transp_conv_init.conv.weight": (24, 128, 2, 2, 2),
        "decoder5.transp_conv.conv.weight": (24, 128, 2, 2, 2),
        "decoder2.conv_block.conv1.conv.weight": (16, 32, 3, 3, 3),
        "decoder2.conv_block.conv3.conv.weight": (16, 32, 1, 1, 1),
        "out.conv.conv.weight": (3, 16, 1, 1, 1),
        "out.conv.conv.bias": (3,),
    }
    theirs = to_theirs(unetr().state_dict(), "monai_vit")
    assert {name: tuple(theirs[name].shape) for name in expected} == expected


def test_the_names_of_swin_unetr_are_those_of_monai():
    expected = {
        "swinViT.patch_embed.proj.weight": (12, 2, 2, 2, 2),
        "swinViT.layers4.0.blocks.1.mlp.linear2.weight": (96, 384),
        "swinViT.layers4.0.downsample.reduction.weight": (192, 768),
        "encoder1.layer.conv3.conv.weight": (12, 2, 1, 1, 1),
        "encoder2.layer.conv1.conv.weight": (12, 12, 3, 3, 3),
        "encoder4.layer.conv2.conv.weight": (48, 48, 3, 3, 3),
        "encoder10.layer.conv1.conv.weight": (192, 192, 3, 3, 3),
        "decoder5.transp_conv.conv.weight": (192, 96, 2, 2, 2),
        "decoder1.transp_conv.conv.weight": (12, 12, 2, 2, 2),
        "decoder1.conv_block.conv3.conv.weight": (12, 24, 1, 1, 1),
        "out.conv.conv.bias": (3,),
    }
    theirs = to_theirs(swin_unetr().state_dict(), "monai_swin_unetr")
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    assert not any(name.startswith(("encoder5.", "encoder2.layer.conv3.")) for name in theirs)


def test_what_monai_never_uses_is_ignored():
    model = unetr()
    theirs = to_theirs(model.state_dict(), "monai_vit")
    unused = [
        "vit.patch_embedding.cls_token",
        *(f"vit.blocks.{k}.norm_cross_attn.{part}" for k in range(8) for part in ("weight", "bias")),
        *(f"encoder{name}.1.conv3.conv.weight" for name in ("2.blocks.0", "2.blocks.1", "3.blocks.0")),
    ]
    translation = to_ours(theirs | {name: torch.zeros(3) for name in unused}, "monai_vit")
    assert translation.unexpected == []
    assert sorted(translation.ignored) == sorted(name.removeprefix("vit.") for name in unused)
    whole = to_ours(theirs, "monai_vit").state
    assert equal(translation.state, whole)


def test_patches_as_a_convolution_or_as_a_linear_map_are_the_same_weights():
    theirs = to_theirs(unetr().state_dict(), "monai_vit")
    linear, bias = (theirs.pop(f"vit.patch_embedding.patch_embeddings.1.{part}") for part in ("weight", "bias"))
    kernel = linear.reshape(24, 16, 16, 16, 2).permute(0, 4, 1, 2, 3)
    as_convolution = theirs | {
        "vit.patch_embedding.patch_embeddings.weight": kernel,
        "vit.patch_embedding.patch_embeddings.bias": bias,
    }
    name = "backbone.stages.0.downsample.proj.weight"
    assert torch.equal(to_ours(as_convolution, "monai").state[name], unetr().state_dict()[name.replace("!", "")])


@pytest.mark.parity
@pytest.mark.parametrize("source", MODELS)
def test_monai_takes_our_weights_back(source):
    import_peer("einops")
    nets = import_peer("monai.networks.nets")
    if source == "monai_vit":
        options = dict(img_size=IMAGE, hidden_size=24, mlp_dim=96, num_heads=2, proj_type="perceptron")
        theirs = nets.UNETR(in_channels=2, out_channels=3, **options)
        options = dict(dim=24, num_heads=2, image_size=32)
        ours = densevit.create_segmentor(
            "unetr_vit_base", "unetr", num_classes=3, spatial_dims=3, in_channels=2, backbone_options=options
        )
    else:
        theirs, ours = nets.SwinUNETR(in_channels=2, out_channels=3, feature_size=12), swin_unetr()
    result = theirs.load_state_dict(to_theirs(randomize(ours).state_dict(), source), strict=False)
    assert result.unexpected_keys == []
    beside = (".norm_cross_attn.", ".relative_position_index")  # unused, and made anew
    assert [name for name in result.missing_keys if not any(part in name for part in beside)] == []
