"""Necks: a pyramid from the maps of a plain backbone, for every decoder."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.blocks import nd
from densevit.weights import load_weights
from densevit.weights.describe import describe
from tests.common import own_decoders
from tools.peers import import_mmseg
from tools.peers.common import randomize

SMALL = dict(dim=48, depth=4, image_size=32, in_channels=1)
NECKS = ["simple_fpn", "feature2pyramid"]


def small(neck, name="vit_tiny", **options):
    torch.manual_seed(0)
    return densevit.create_backbone(name, neck=neck, **SMALL | options).eval()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("patch_size", [7, 16, 32])
@pytest.mark.parametrize("neck", NECKS)
def test_a_pyramid_has_strides_4_to_32_whatever_the_patch_and_the_size(neck, patch_size, spatial_dims):
    with torch.device("meta"):
        backbone = small(neck, spatial_dims=spatial_dims, patch_size=patch_size)
        assert backbone.out_strides == (4, 8, 16, 32)
        assert backbone.out_channels == ((256,) * 4 if neck == "simple_fpn" else (48,) * 4)
        for size in [(1, 1, 1), (45, 64, 33), (5, 112, 15)]:
            maps = backbone(torch.empty(1, 1, *size[:spatial_dims]))
            found = [tuple(level.shape[1:]) for level in maps]
            expected = [(c, *nd.ceil_div(size[:spatial_dims], 4 * 2**i)) for i, c in enumerate(backbone.out_channels)]
            assert found == expected


@pytest.mark.parametrize(
    ("patch", "strides"),
    [
        ((2, 8, 8), ((1, 4, 4), (2, 8, 8), (4, 16, 16), (8, 32, 32))),
        ((1, 16, 16), ((1, 4, 4), (1, 8, 8), (1, 16, 16), (2, 32, 32))),
    ],
)
def test_an_axis_of_thick_slices_is_enlarged_to_its_own_voxels_at_most(patch, strides):
    with torch.device("meta"):
        backbone = small("simple_fpn", spatial_dims=3, patch_size=patch)
        assert backbone.out_strides == strides
        sizes = [tuple(level.shape[2:]) for level in backbone(torch.empty(1, 1, 5, 48, 33))]
    assert sizes == [nd.ceil_div((5, 48, 33), stride) for stride in strides]


@pytest.mark.parametrize("decoder", own_decoders())
@pytest.mark.parametrize("neck", NECKS)
def test_every_decoder_takes_the_pyramid(neck, decoder):
    with torch.device("meta"):
        options = {key: value for key, value in SMALL.items() if key != "in_channels"} | dict(neck=neck)
        model = densevit.create_segmentor("vit_tiny", decoder, num_classes=3, backbone_options=options).eval()
        assert model(torch.empty(1, 3, 45, 64)).shape == (1, 3, 45, 64)


def test_simple_fpn_is_that_of_vitdet():
    """Each level by its equation, with the weights of the neck."""
    backbone = randomize(small("simple_fpn", patch_size=16)).double()
    x = torch.randn(2, 1, 64, 96, dtype=torch.float64)
    bare = small(None, patch_size=16).double()
    bare.load_state_dict({k: v for k, v in backbone.state_dict().items() if not k.startswith("neck.")})

    def norm(image, layer):
        return F.layer_norm(image.movedim(1, -1), layer.weight.shape, layer.weight, layer.bias, 1e-6).movedim(-1, 1)

    def up(image, layer):
        return F.conv_transpose2d(image, layer.weight, layer.bias, stride=2)

    last, (a, b, c, d) = bare(x)[-1], backbone.neck.rescale
    raw = [
        up(F.gelu(norm(up(last, a.ups[0]), a.norms[0])), a.ups[1]),
        up(last, b.ups[0]),
        last,
        F.max_pool2d(last, 2),
    ]
    assert [level.shape[1] for level in raw] == [12, 24, 48, 48]
    for found, level, (one, norm1, three, norm2) in zip(backbone(x), raw, backbone.neck.project, strict=True):
        expected = norm(F.conv2d(norm(F.conv2d(level, one.weight), norm1), three.weight, padding=1), norm2)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert not list(c.parameters()) + list(d.parameters())


@pytest.mark.parametrize(("patch_size", "rescales"), [(16, [4, 2, 1, 0.5]), (8, [2, 1, 0.5, 0.25])])
def test_feature2pyramid_is_that_of_mmsegmentation(patch_size, rescales):
    import_mmseg()
    from mmseg.models.necks import Feature2Pyramid

    theirs = Feature2Pyramid(48, rescales, norm_cfg=dict(type="BN")).eval()
    backbone = randomize(small("feature2pyramid", patch_size=patch_size))
    own, other = backbone.neck.state_dict(), theirs.state_dict()
    order = sorted(own, key=lambda name: (name.split(".")[1], "ups.1" in name, "ups.0" not in name))
    theirs.load_state_dict({b: own[a] for a, b in zip(order, other, strict=True)})
    bare = small(None, patch_size=patch_size)
    bare.load_state_dict({k: v for k, v in backbone.state_dict().items() if not k.startswith("neck.")})
    x = torch.randn(2, 1, 64, 96)
    for found, expected in zip(backbone(x), theirs(bare(x)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [56, 75, 97])
def test_patches_of_14_pixels_stay_where_they_lie_when_they_become_cells_of_16(size):
    """A ramp over the image is the same ramp in the larger cells."""
    neck = small("feature2pyramid", patch_size=14).neck
    centres = (torch.arange(-(-size // 14)) + 0.5) * 14
    found = neck.to_powers(centres[None, None, :, None].expand(1, 1, -1, 3), (size, 40))[0, 0, :, 0]
    expected = ((torch.arange(-(-size // 16)) + 0.5) * 16).clamp(max=float(centres[-1]))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("neck", NECKS)
def test_training_reaches_the_neck_and_a_frozen_backbone_leaves_it_free(neck, spatial_dims):
    backbone = small(neck, spatial_dims=spatial_dims, patch_size=14, frozen=4).train()
    sum(x.square().mean() for x in backbone(torch.randn(2, 1, *(33, 40, 20)[:spatial_dims]))).backward()
    assert all(p.grad is not None for p in backbone.neck.parameters())
    assert all(p.grad is None for p in backbone.stages.parameters())


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("neck", NECKS)
def test_a_backbone_with_a_neck_exports_and_gives_the_same_maps(neck, spatial_dims):
    backbone = randomize(small(neck, spatial_dims=spatial_dims, patch_size=14, depth=1, taps=[0]))
    x = torch.randn(1, 1, *(45, 64, 33)[:spatial_dims])
    program = torch.export.export(backbone, (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), backbone(x), rtol=1e-4, atol=1e-5)


def test_weights_of_a_backbone_alone_leave_the_neck_as_it_is(tmp_path):
    bare = randomize(small(None))
    torch.save(bare.state_dict(), tmp_path / "bare.pth")
    backbone = small("simple_fpn")
    before = {name: tensor.clone() for name, tensor in backbone.neck.state_dict().items()}
    report = load_weights(backbone, tmp_path / "bare.pth")
    assert report.complete
    assert {name.split(".")[1] for name in report.fresh} == {"neck"}
    for name, tensor in backbone.neck.state_dict().items():
        assert torch.equal(tensor, before[name])
    torch.testing.assert_close(backbone.stages.state_dict(), bare.stages.state_dict())


def test_weights_with_a_neck_load_with_it(tmp_path):
    model = randomize(small("simple_fpn"))
    torch.save(model.state_dict(), tmp_path / "neck.pth")
    other = small("simple_fpn")
    assert not load_weights(other, tmp_path / "neck.pth").fresh
    torch.testing.assert_close(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("neck", [dict(type="simple_fpn", dim=32), "feature2pyramid"])
def test_the_neck_is_told_from_tensors(neck):
    with torch.device("meta"):
        state = densevit.create_backbone("vit_small", neck=neck).state_dict()
    found = describe({f"backbone.{name}": tensor for name, tensor in state.items()})
    assert "vit_small" in found.backbones
    assert found.backbone_options == dict(neck=neck)


@pytest.mark.parametrize(
    ("neck", "name", "message"),
    [
        ("simple_fpm", "vit_tiny", "no neck named 'simple_fpm'; did you mean simple_fpn"),
        (3, "vit_tiny", r"neck must be one of simple_fpn, feature2pyramid, or dict\(type=one of them"),
        (dict(type="simple_fpn", dims=3), "vit_tiny", "simple_fpn has no option 'dims'; did you mean dim"),
        (dict(type="simple_fpn", dim=True), "vit_tiny", "neck.dim"),
        (dict(type="simple_fpn", dim=0), "vit_tiny", "dim of the neck must be a whole number from 1"),
        ("simple_fpn", "mit_b0", "strides 4, 8, 16, 32; leave neck out"),
    ],
)
def test_a_neck_that_cannot_be_is_refused_in_one_sentence(neck, name, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        densevit.create_backbone(name, neck=neck)


def test_a_classifier_takes_no_neck():
    with torch.device("meta"), pytest.raises(ValueError, match="leave neck out"):
        densevit.create_classifier("vit_tiny", num_classes=3, neck="simple_fpn")
