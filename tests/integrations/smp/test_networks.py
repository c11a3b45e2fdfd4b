"""Networks of segmentation_models_pytorch by name: the contract of a segmentor, numbers, refusals."""

from pathlib import Path

import pytest
import torch

from densevit import create_segmentor
from densevit.checkpoint import Header, build_model, open_checkpoint, write_checkpoint
from densevit.export.torchscript import trace
from densevit.registry import NETWORKS
from densevit.train import check_config
from tests.train.conftest import small_config
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
SMALL = {
    "DPT": dict(
        encoder_name="tu-test_vit",
        encoder_depth=2,
        decoder_intermediate_channels=(8, 8),
        decoder_fusion_channels=8,
    ),
    "DeepLabV3": dict(decoder_channels=8),
    "DeepLabV3Plus": dict(decoder_channels=8),
    "FPN": dict(decoder_pyramid_channels=16, decoder_segmentation_channels=32),
    "Linknet": {},
    "MAnet": dict(decoder_channels=(16, 16, 8, 8, 8), decoder_pab_channels=8),
    "PAN": {},
    "PSPNet": dict(psp_out_channels=16),
    "Segformer": dict(decoder_segmentation_channels=16),
    "UPerNet": dict(decoder_channels=16),
    "Unet": dict(decoder_channels=(16, 16, 8, 8, 8)),
    "UnetPlusPlus": dict(decoder_channels=(16, 16, 8, 8, 8)),
}


@pytest.fixture(scope="module", autouse=True)
def smp():
    return import_peer("segmentation_models_pytorch")


def describe(name, **options):
    options = dict(encoder_name="tu-test_resnet") | SMALL[name] | options
    return dict(backbone=f"smp.{name}", decoder=None, num_classes=3, in_channels=2, backbone_options=options)


def make(name, **options):
    torch.manual_seed(0)
    return create_segmentor(**describe(name, **options))


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_those_of_the_network_alone_on_an_image_filled_up_to_whole_cells(name):
    model = make(name).eval()
    image = torch.randn(1, 2, 150, 135)
    padded = torch.nn.functional.pad(image, (0, -135 % model.backbone.divisor[1], 0, -150 % model.backbone.divisor[0]))
    with torch.inference_mode():
        logits = model(image)
        alone = model.backbone.network(padded)
    assert logits.shape == (1, 3, 150, 135)
    assert alone.shape[2:] == padded.shape[2:] != image.shape[2:]
    assert torch.equal(logits, alone[..., :150, :135])


def test_every_name_of_the_list_is_tested():
    assert "smp.Unet" in NETWORKS
    assert [name for name in NETWORKS.names() if name.startswith("smp.")] == [f"smp.{name}" for name in sorted(SMALL)]


def test_weights_of_the_package_fit(smp):
    model = make("FPN")
    shared = dict(classes=3, in_channels=2, encoder_weights=None)
    alone = smp.FPN(encoder_name="tu-test_resnet", **SMALL["FPN"], **shared)
    model.backbone.network.load_state_dict(alone.state_dict())
    image = torch.randn(1, 2, 64, 32)
    with torch.inference_mode():
        assert torch.equal(model.eval()(image), alone.eval()(image))


def test_a_checkpoint_is_built_again_and_fetches_no_weights(tmp_path):
    model = make("Unet")
    description = describe("Unet", encoder_weights="imagenet")  # as a config says that began with them
    write_checkpoint(tmp_path / "weights.safetensors", model, Header(model=description))
    again = build_model(open_checkpoint(tmp_path / "weights.safetensors"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_network_is_traced():
    trace(make("Unet").eval(), in_channels=2, sizes=[(64, 32)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(backbone="smp.Unett"), r"no network named 'smp.Unett'; did you mean smp.Unet"),
        (dict(spatial_dims=3), r"smp.Unet is a network of pictures, got spatial_dims=3"),
        (dict(backbone_options=dict(encoder_name="resnet43")), r"no encoder of smp named 'resnet43'; did you mean res"),
        (dict(backbone_options=dict(encoder_name="tu-nothing")), r"the network smp.Unet cannot be built .*nothing"),
        (dict(decoder="all_mlp"), r"no backbone named 'smp.Unet'"),
    ],
    ids=["name", "volumes", "encoder", "encoder of timm", "decoder"],
)
def test_what_cannot_be_built_is_one_sentence(change, said):
    with pytest.raises((KeyError, ValueError), match=said) as caught:
        create_segmentor(**describe("Unet") | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["activation", "aux_params", "classes"])
def test_options_that_would_give_other_things_than_logits_are_unknown_to_a_config(key):
    config = small_config(Path()) | dict(model=describe("Unet", **{key: None}))
    with pytest.raises(ValueError, match=rf"model: unknown key 'backbone_options.{key}'"):
        check_config(config)
