"""nnU-Net's networks by name: parameters, sizes, deep supervision, crops of its presets."""

import pytest
import torch
from torch.testing import assert_close

from densevit import create_segmentor
from tools.peers import import_peer


@pytest.fixture(scope="module", autouse=True)
def dna():
    return import_peer("dynamic_network_architectures")


def make(name, *, spatial_dims=3, num_classes=3, in_channels=1, **options):
    shared = dict(num_classes=num_classes, spatial_dims=spatial_dims, in_channels=in_channels)
    return create_segmentor(f"dna.{name}", None, **shared, backbone_options=options)


@pytest.mark.parametrize(("name", "count"), [("ResEncUNet", 102_350_575), ("PlainConvUNet", 31_196_399)])
def test_a_network_has_the_parameters_that_nnunet_gives_it(name, count):
    with torch.device("meta"):
        model = make(name, crop_size=128)
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.backbone.divisor == (32, 32, 32)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", ["ResEncUNet", "PlainConvUNet"])
def test_logits_have_the_images_size_and_maps_of_all_levels_come_in_training(name, spatial_dims):
    crop, spacing = (16, 32, 32)[-spatial_dims:], (5.0, 1.0, 1.0)[-spatial_dims:]
    model = make(name, spatial_dims=spatial_dims, crop_size=crop, spacing=spacing, dim=4, deep_supervision=True)
    size = (9, 30, 35)[-spatial_dims:]
    image = torch.randn(2, 1, *size)
    maps = model.train().backbone(image)
    assert tuple(maps[0].shape) == (2, 3, *size)
    assert len(maps) == len(model.backbone.out_channels) == 3
    assert tuple(maps[1].shape[2:]) == (9, 15, 18)[-spatial_dims:]
    logits = model.eval()(image)
    padded = torch.zeros(2, 1, *(10, 32, 40)[-spatial_dims:])
    padded[(..., *(slice(n) for n in size))] = image
    alone = model.backbone.network(padded)[0][(..., *(slice(n) for n in size))]
    assert_close(logits, alone, rtol=0, atol=0)


def test_a_crop_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match=r"crop_size=\(8, 4, 4\) cannot be halved once"):
        make("ResEncUNet", crop_size=(8, 4, 4))


# Found with nnunetv2 2.8.1's planners, whose estimate of memory needs no data.
BRATS = dict(median_size=(130, 240, 240), spacing=(1, 1, 1), in_channels=4, num_classes=4, num_images=484)


@pytest.mark.parametrize(
    ("preset", "crop_size", "batch_size"),
    [
        ("PlainConv", (96, 160, 160), 2),
        ("ResEncM", (96, 160, 160), 2),
        ("ResEncL", (128, 256, 224), 2),
        ("ResEncXL", (160, 256, 256), 3),
    ],
)
def test_crops_and_batches_are_those_of_nnunets_presets(preset, crop_size, batch_size):
    from densevit.integrations.dna.presets import plan_crop

    assert plan_crop(preset, **BRATS) == (crop_size, batch_size)


def test_a_batch_is_no_larger_than_a_twentieth_of_the_set_where_the_planner_says_so():
    from densevit.integrations.dna.presets import plan_crop

    hippocampus = dict(median_size=(36, 50, 35), spacing=(1, 1, 1), in_channels=1, num_classes=3, num_images=180)
    assert plan_crop("PlainConv", **hippocampus) == ((40, 56, 40), 6)
    assert plan_crop("ResEncM", **hippocampus) == ((40, 56, 40), 58)


def test_an_unknown_preset_is_one_sentence():
    from densevit.integrations.dna.presets import plan_crop

    with pytest.raises(ValueError, match="no preset named 'ResEncS'; did you mean"):
        plan_crop("ResEncS", **BRATS)
