"""Networks of transformers by name: the contract of a segmentor, numbers, refusals."""

import pytest
import torch

from densevit import create_segmentor
from densevit.blocks.nd import resize
from densevit.checkpoint import Header, build_model, open_checkpoint, write_checkpoint
from densevit.export.torchscript import trace
from densevit.registry import NETWORKS
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
VIT = dict(
    hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, patch_size=8, image_size=64
)
PYRAMID = dict(out_indices=[1, 2, 3, 4], use_relative_position_bias=True, pool_scales=[1, 2])
SWIN = dict(
    model_type="swin",
    embed_dim=8,
    depths=[1, 1, 1, 1],
    num_heads=[1, 2, 2, 2],
    window_size=4,
    out_features=["stage1", "stage2", "stage3", "stage4"],
)
SMALL = {
    "Beit": VIT | PYRAMID | dict(add_fpn=True),
    "DPT": VIT
    | dict(
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        neck_ignore_stages=[],
    ),
    "Data2VecVision": VIT | PYRAMID,
    "MobileNetV2": dict(depth_multiplier=0.1),
    "MobileViT": dict(hidden_sizes=[16, 16, 16], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16], aspp_out_channels=8),
    "MobileViTV2": dict(width_multiplier=0.25, aspp_out_channels=8),
    "Segformer": dict(hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]),
    "UperNet": dict(backbone_config=SWIN, hidden_size=16, pool_scales=[1, 2]),
}


@pytest.fixture(scope="module", autouse=True)
def transformers():
    return import_peer("transformers")


def full(name):
    return f"transformers.{name}ForSemanticSegmentation"


def describe(name, **options):
    return dict(backbone=full(name), decoder=None, num_classes=3, in_channels=2, backbone_options=SMALL[name] | options)


def make(name, **options):
    torch.manual_seed(0)
    return create_segmentor(**describe(name, **options))


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_those_of_the_network_at_the_size_of_the_image_filled_up_to_whole_cells(name):
    model = make(name).eval()
    image = torch.randn(1, 2, 45, 60)
    divisor = model.backbone.divisor[0]
    padded = torch.nn.functional.pad(image, (0, -60 % divisor, 0, -45 % divisor))
    alone = model.backbone.network.model
    with torch.inference_mode():
        logits = model(image)
        keywords = dict(interpolate_pos_encoding=True) if name == "Beit" else {}
        maps = alone(padded, **keywords).logits
    assert alone.config.num_labels == maps.shape[1] == 3
    assert torch.equal(logits, resize(maps, padded.shape[2:])[..., :45, :60])


def test_every_name_of_the_list_is_tested():
    assert full("Segformer") in NETWORKS
    assert [name for name in NETWORKS.names() if name.startswith("transformers.")] == [*map(full, sorted(SMALL))]


@pytest.mark.parametrize("name", ["Beit", "DPT", "Data2VecVision", "UperNet"])
def test_auxiliary_heads_whose_logits_nobody_reads_are_left_out_unless_asked_for(name):
    with torch.device("meta"):
        names = [
            [key for key, _ in make(name, **asked).named_parameters()] for asked in ({}, {"use_auxiliary_head": True})
        ]
    without, with_one = [any("auxiliary_head" in key for key in keys) for keys in names]
    assert (without, with_one) == (False, True)


def test_upernet_begins_with_a_resnet_as_in_the_package():
    with torch.device("meta"):
        model = create_segmentor(full("UperNet"), None, num_classes=2, in_channels=5).eval()
    assert model.backbone.network.model.config.backbone_config.model_type == "resnet"
    assert model(torch.empty(1, 5, 64, 32, device="meta")).shape == (1, 2, 64, 32)


def test_a_checkpoint_is_built_again(tmp_path):
    model = make("UperNet")
    write_checkpoint(tmp_path / "weights.safetensors", model, Header(model=describe("UperNet")))
    again = build_model(open_checkpoint(tmp_path / "weights.safetensors"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_network_is_traced():
    trace(make("Segformer").eval(), in_channels=2, sizes=[(64, 32)])


@pytest.mark.parametrize("name", ["DPT", "Data2VecVision"])
def test_a_network_of_one_size_refuses_others_in_one_sentence(name):
    with pytest.raises(ValueError, match=r"takes images of 64 x 64 pixels alone, got 128 x 64; let it see windows"):
        make(name)(torch.randn(1, 2, 70, 60))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(backbone="transformers.SegFormer"), r"no network named 'transformers.SegFormer'; did you mean transf"),
        (dict(spatial_dims=3), r"SegformerForSemanticSegmentation is a network of pictures, got spatial_dims=3"),
        (dict(backbone_options=dict(depths="two")), r"cannot be built with \{'depths': 'two'\}: .*depths"),
    ],
    ids=["name", "volumes", "type"],
)
def test_what_cannot_be_built_is_one_sentence(change, said):
    with pytest.raises((KeyError, ValueError), match=said) as caught:
        create_segmentor(**describe("Segformer") | change)
    assert "\n" not in str(caught.value)


def test_keywords_are_those_of_the_configuration():
    takes = NETWORKS.parameters(full("Beit"))
    assert {"hidden_size", "image_size", "out_indices", "num_classes", "divisor"} <= takes.keys()
    assert not {"num_labels", "num_channels", "return_dict", "id2label"} & takes.keys()
