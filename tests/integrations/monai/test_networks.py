"""MONAI's networks by name: the contract of a segmentor, training, checkpoints, prediction."""

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from densevit import create_segmentor
from densevit.integrations.whole import WholeNetwork
from densevit.predictor import Predictor
from densevit.registry import BACKBONES, NETWORKS
from densevit.train import check_config, train
from densevit.train.tasks.segment import create_segment_model
from densevit.weights import load_weights, read_weights, save_weights
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
SMALL = {
    "AttentionUnet": dict(channels=[4, 8, 16], strides=[2, 2]),
    "BasicUNet": dict(features=[4, 4, 8, 8, 16, 4]),
    "DynUNet": dict(kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 16]),
    "FlexibleUNet": dict(backbone="efficientnet-b0"),
    "HighResNet": dict(),
    "MedNeXt": dict(init_filters=4),
    "SegResNet": dict(init_filters=8),
    "SegResNetDS": dict(init_filters=8, blocks_down=[1, 1, 1], dsdepth=1),
    "SwinUNETR": dict(feature_size=12),
    "UNETR": dict(img_size=32, feature_size=8, hidden_size=48, mlp_dim=96, num_heads=4),
    "UNet": dict(channels=[4, 8, 16], strides=[2, 2]),
    "VNet": dict(),
}

PRINTED = dict(MedNeXtS=5.6, MedNeXtB=10.5, MedNeXtM=17.6, MedNeXtL=61.8)  # millions of parameters, for other classes


@pytest.fixture(scope="module", autouse=True)
def monai():
    return import_peer("monai")


def make(name, *, spatial_dims=3, num_classes=3, in_channels=2, **options):
    options = SMALL[name] | options
    if name == "UNETR":
        options["img_size"] = (64, 32, 64)[:spatial_dims]
    shared = dict(num_classes=num_classes, spatial_dims=spatial_dims, in_channels=in_channels)
    torch.manual_seed(0)
    return create_segmentor(f"monai.{name}", None, **shared, backbone_options=options)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_every_network_gives_logits_of_the_images_size_in_2d_and_3d(name, spatial_dims):
    model = make(name, spatial_dims=spatial_dims).eval()
    size = (45, 30, 35)[:spatial_dims]
    with torch.inference_mode():
        assert model(torch.randn(1, 2, *size)).shape == (1, 3, *size)
    assert model.divisor == (1,) * spatial_dims


def test_the_numbers_are_those_of_the_network_alone(monai):
    from monai.networks.nets import SegResNet

    model = make("SegResNet").eval()
    alone = SegResNet(spatial_dims=3, in_channels=2, out_channels=3, init_filters=8).eval()
    alone.load_state_dict(model.backbone.network.state_dict())
    image = torch.randn(1, 2, 16, 24, 8)
    with torch.inference_mode():
        assert torch.equal(model(image), alone(image))
        padded = torch.nn.functional.pad(image[..., :15, :21, :7], (0, 1, 0, 3, 0, 1))
        assert_close(model(image[..., :15, :21, :7]), alone(padded)[..., :15, :21, :7], rtol=0, atol=0)


def test_every_name_of_the_list_is_tested():
    assert "monai.SegResNet" in NETWORKS
    names = [name for name in NETWORKS.names() if name.startswith("monai.")]
    assert names == sorted(f"monai.{name}" for name in [*SMALL, *PRINTED])
    assert not any(name.startswith("monai.") for name in BACKBONES.names())


@pytest.mark.slow
def test_a_name_brings_its_integration_by_itself():
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from densevit import create_segmentor\n"
        "model = create_segmentor('monai.UNet', None, num_classes=2, in_channels=1,\n"
        "    backbone_options=dict(channels=(4, 8), strides=(2,)))\n"
        "print(type(model.backbone.network).__name__)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "UNet\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("monai.SegResnet", None), "no network named 'monai.SegResnet'; did you mean monai.SegResNet"),
        (("mit_b0", None), "the backbone 'mit_b0' needs a decoder, got None"),
        (("monai.SegResNet", "unetr"), "no backbone named 'monai.SegResNet'"),
    ],
)
def test_a_wrong_pair_is_one_sentence(arguments, said):
    with pytest.raises((KeyError, ValueError), match=said):
        create_segmentor(*arguments, num_classes=2)


def test_options_for_a_decoder_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r"decoder_options \['dim'\] need a decoder"):
        create_segmentor("monai.SegResNet", None, num_classes=2, decoder_options=dict(dim=4))


class Twice(torch.nn.Module):
    """A network that gives its image as two maps."""

    def forward(self, x):
        return x, x


def test_a_network_that_gives_other_maps_is_refused():
    network = WholeNetwork(Twice(), spatial_dims=2, in_channels=3, num_classes=3, divisor=1)
    with pytest.raises(ValueError, match=r"Twice gave .* and 1 maps \(B, 3, \*S\) are expected"):
        network(torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize("name", PRINTED)
def test_a_mednext_is_that_of_its_paper_and_gives_maps_of_all_levels_in_training(name):
    options = dict(num_classes=3, spatial_dims=3, in_channels=1, backbone_options=dict(deep_supervision=True))
    with torch.device("meta"):
        model = create_segmentor(f"monai.{name}", None, **options)
        maps = model.backbone(torch.empty(1, 1, 33, 64, 64))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PRINTED[name], abs=0.1)
    assert [tuple(level.shape[2:]) for level in maps] == [(33, 64, 64), (17, 32, 32), (9, 16, 16), (5, 8, 8), (3, 4, 4)]


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """A Decathlon folder of three training volumes and one for validation, a bright box in each."""
    root, rng, entries = tmp_path_factory.mktemp("balls"), np.random.default_rng(0), []
    for i in range(4):
        label = np.zeros((20, 18, 16), np.uint8)
        label[4 + i : 12 + i, 5:12, 3:10] = 1
        image = (label * 50 + rng.normal(100, 5, label.shape)).astype(np.float32)
        for folder, values in (("imagesTr", image), ("labelsTr", label)):
            (root / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / folder / f"ball_{i}.nii.gz")
        entries.append({kind: f"./{kind}sTr/ball_{i}.nii.gz" for kind in ("image", "label")})
    labels = {"0": "background", "1": "ball"}
    content = dict(labels=labels, modality={"0": "MRI"}, training=entries[:3], validation=entries[3:])
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def make_config(root, name, **options):
    return dict(
        model=dict(
            backbone=f"monai.{name}",
            decoder=None,
            num_classes=2,
            spatial_dims=3,
            in_channels=1,
            backbone_options=SMALL[name] | options,
        ),
        loss=[dict(type="cross_entropy"), dict(type="dice")],
        optimizer=dict(type="AdamW", lr=1e-2),
        schedule=dict(type="poly"),
        train_cfg=dict(max_iters=3, val_interval=3, checkpoint_interval=3, log_interval=1, best="mCaseDice"),
        train_data=dict(
            dataset=dict(type="msd", root=str(root)), augment=dict(crop_size=(16, 12, 14)), batch_size=2, num_workers=0
        ),
        val_data=dict(dataset=dict(type="msd", root=str(root), split="val"), num_workers=0),
        inference=dict(mode="slide_gaussian", roi_size=(16, 16, 16)),
        visualization=dict(tensorboard=False, num_images=0),
    )


@pytest.mark.parametrize(
    ("name", "options", "deep"),
    [
        ("SegResNet", {}, None),
        ("DynUNet", dict(deep_supervision=True, deep_supr_num=1), {}),
        ("SegResNetDS", dict(dsdepth=2), dict(weights=(1.0, 0.3))),
    ],
)
def test_a_network_trains_is_saved_and_predicts(balls, tmp_path, name, options, deep):
    config = make_config(balls, name, **options) | dict(deep_supervision=deep)
    result = train(config, work_dir=tmp_path, device="cpu")
    assert 0 <= result.scores["mCaseDice"] <= 100
    lines = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    losses = {key for line in lines for key in line if key.startswith("loss_level_1")}
    assert bool(losses) == (deep is not None)
    _, header = read_weights(result.checkpoint)
    assert (header["model"]["backbone"], header["model"]["decoder"]) == (f"monai.{name}", None)
    predictor = Predictor(result.checkpoint)
    label = predictor.label(balls / "imagesTr" / "ball_3.nii.gz")
    assert label.shape == (16, 18, 20)
    model = create_segmentor(**header["model"])
    load_weights(model, result.checkpoint)
    for key, value in predictor.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(make("SegResNet", init_filters=16), tmp_path / "w.safetensors", config=dict())
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(make("SegResNet"), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(backbone="monai.SegResnet"), "no network named 'monai.SegResnet'; did you mean monai.SegResNet"),
        (dict(backbone="mit_b0", backbone_options={}), "the backbone 'mit_b0' needs a decoder, got None"),
        (
            dict(backbone_options=dict(filters=8)),
            "model: unknown key 'backbone_options.filters'; did you mean",
        ),
        (dict(decoder="unetr"), "model: unknown backbone 'monai.SegResNet'"),
    ],
)
def test_a_config_with_a_wrong_network_is_one_sentence(balls, change, said):
    config = make_config(balls, "SegResNet")
    config["model"] |= change
    with pytest.raises(ValueError, match=said):
        create_segment_model(check_config(config))


def test_deep_supervision_needs_a_network_with_several_maps(balls):
    config = make_config(balls, "SegResNet") | dict(deep_supervision=dict())
    with pytest.raises(ValueError, match=r"needs maps at several levels, which the decoder has not"):
        create_segment_model(check_config(config))
