"""mmsegmentation both ways: its Runner and config files with our models, our configs with its data sets and heads."""

import warnings
from collections import OrderedDict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import densevit
from densevit.data import create_dataset
from densevit.registry import DECODERS
from densevit.synthetic.streets import make_street_scenes
from densevit.weights import load_weights
from tools.peers import import_mmseg
from tools.peers.common import largest_difference, picture, randomize

pytestmark = pytest.mark.parity

IMPORTS = ("densevit.integrations.mmseg",)


@pytest.fixture(scope="module", autouse=True)
def mmseg():
    """The package, with our names registered in it."""
    package = import_mmseg()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("densevit.integrations.mmseg")
    return package


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four training and two validation scenes in the layout of Cityscapes."""
    return make_street_scenes(tmp_path_factory.mktemp("data") / "cityscapes", num_train=4, num_val=2, size=(64, 128))


# Ours in theirs.


def build(config):
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        return MODELS.build(config)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (dict(type="densevit.MiT", variant="b0"), "mit_b0"),
        (dict(type="densevit.PVTv2", variant="b2_li"), "pvt_v2_b2_li"),
        (dict(type="densevit.Swin", variant="tiny"), "swin_tiny"),
        (dict(type="densevit.PVT", variant="tiny"), "pvt_v1_tiny"),
        (dict(type="densevit.MViTv2", variant="tiny"), "mvit_v2_tiny"),
        (dict(type="densevit.ViT", variant="tiny"), "vit_tiny"),
        (dict(type="densevit.Backbone", name="mit_b1"), "mit_b1"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["type"],
)
def test_our_backbones_are_built_by_name(config, name):
    built, ours = build(config), densevit.create_backbone(name)
    assert {n: t.shape for n, t in built.state_dict().items()} == {n: t.shape for n, t in ours.state_dict().items()}


def test_every_family_that_is_named_for_mmsegmentation_exists():
    from densevit.integrations.mmseg.ours import NAMES

    for prefix in NAMES.values():
        assert any(name.startswith(f"{prefix}_") for name in densevit.list_backbones())


def test_options_reach_the_backbone():
    assert build(dict(type="densevit.MiT", variant="b0", drop_path=0.3, frozen=2)).num_frozen == 2
    with pytest.raises(KeyError, match="no backbone named 'mit_b9'; did you mean mit_b"):
        build(dict(type="densevit.MiT", variant="b9"))


OURS = [name for name in ("all_mlp", "fpn", "linear", "uper", "vt_fpn") if name in densevit.list_decoders()]


@pytest.mark.parametrize("decoder", OURS)
def test_our_decoders_give_loss_and_logits_as_decode_heads(decoder):
    options = dict(dim=16) if "dim" in DECODERS.parameters(decoder) else {}
    head = dict(
        type="densevit.DecodeHead",
        decoder=decoder,
        decoder_options=options,
        in_channels=(32, 64, 160, 256),
        num_classes=5,
        loss_decode=[dict(type="CrossEntropyLoss"), dict(type="DiceLoss", loss_name="loss_dice")],
    )
    model = build(dict(type="EncoderDecoder", backbone=dict(type="densevit.MiT", variant="b0"), decode_head=head))
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = [SegDataSample(metainfo=dict(img_shape=(64, 96))) for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(5, (1, 64, 96)))
    losses = model.loss(torch.randn(2, 3, 64, 96), samples)
    assert {name for name in losses if "loss" in name} == {"decode.loss_ce", "decode.loss_dice"}
    (losses["decode.loss_ce"] + losses["decode.loss_dice"]).backward()
    assert all(p.grad is not None for p in model.decode_head.parameters())
    model.eval()
    expected = densevit.create_segmentor("mit_b0", decoder, num_classes=5, decoder_options=options).eval()
    expected.backbone.load_state_dict(model.backbone.state_dict())
    expected.decoder.load_state_dict(model.decode_head.decoder.state_dict())
    expected.head.load_state_dict(model.decode_head.conv_seg.state_dict())
    with torch.inference_mode():
        image = picture(64, 96)
        logits = model.encode_decode(image, [dict(img_shape=(64, 96))])
        assert largest_difference(logits, expected(image)) <= 1e-6


def test_synchronised_norms_are_asked_for_as_in_every_head_there():
    head = dict(
        type="densevit.DecodeHead",
        decoder="all_mlp",
        in_channels=(32, 64),
        in_strides=(4, 8),
        num_classes=4,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
    )
    assert isinstance(build(head).decoder.norm, torch.nn.SyncBatchNorm)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("size", [(70, 53), (20, 60)], ids=str)
def test_its_slide_mode_served_by_our_engine_gives_the_same_logits(size, batch_size):
    head = dict(type="densevit.DecodeHead", decoder="all_mlp", in_channels=(32, 64, 160, 256), num_classes=5)
    from mmengine.config import ConfigDict

    test_cfg = ConfigDict(mode="slide", crop_size=(32, 24), stride=(21, 16))
    parts = dict(backbone=dict(type="densevit.MiT", variant="b0"), decode_head=head)
    theirs = build(dict(type="EncoderDecoder", **parts, test_cfg=test_cfg)).eval()
    ours = build(
        dict(type="densevit.EncoderDecoder", **parts, test_cfg=ConfigDict(test_cfg, batch_size=batch_size))
    ).eval()
    ours.load_state_dict(randomize(theirs).state_dict())
    images, shape = torch.randn(2, 3, *size), dict(img_shape=size, ori_shape=size, pad_shape=size)
    with torch.inference_mode():
        expected = theirs.inference(images, [dict(shape), dict(shape)])
        metas = [dict(shape), dict(shape)]
        assert largest_difference(ours.inference(images, metas), expected) <= 1e-5
    assert metas == [shape, shape]  # theirs writes into the first


CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=["densevit.integrations.mmseg"])
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    pretrained=None,
    backbone=dict(_delete_=True, type="densevit.MiT", variant="b0", drop_path=0.1),
    decode_head=dict(
        _delete_=True,
        type="densevit.DecodeHead",
        decoder="uper",
        decoder_options=dict(dim=16),
        in_channels=(32, 64, 160, 256),
        num_classes=19,
        norm_cfg=norm_cfg,
    ),
    test_cfg=dict(_delete_=True, mode="whole"),
)
"""


def stock_config(path, scenes, *, base):
    """A stock config file of mmsegmentation with our model in it, for a few small images."""
    import mmseg
    from mmengine.config import Config

    folder = Path(mmseg.__file__).parent / ".mim" / "configs"
    path.write_text(CONFIG.format(base=str(folder / base)))
    config = Config.fromfile(path)
    for loader, split in ((config.train_dataloader, "train"), (config.val_dataloader, "val")):
        loader.dataset.data_root = str(scenes)
        loader.update(batch_size=2 if split == "train" else 1, num_workers=0, persistent_workers=False)
    for step in config.train_dataloader.dataset.pipeline:
        step.update({"RandomResize": dict(scale=(128, 64)), "RandomCrop": dict(crop_size=(64, 64))}.get(step.type, {}))
    for step in config.val_dataloader.dataset.pipeline:
        step.update({"Resize": dict(scale=(128, 64))}.get(step.type, {}))
    config.test_dataloader, config.work_dir, config.log_level = config.val_dataloader, str(path.parent / "run"), "ERROR"
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.default_hooks.checkpoint.interval = 2
    return config


@pytest.fixture
def own_scope(monkeypatch):
    """A Runner leaves its default scope behind."""
    from mmengine.registry import DefaultScope

    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())


@pytest.mark.usefixtures("own_scope")
@pytest.mark.parametrize("base", ["segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py"])
def test_a_stock_config_file_trains_with_our_model_under_its_own_runner(base, scenes, tmp_path):
    from mmengine.runner import Runner

    config = stock_config(tmp_path / "ours.py", scenes, base=base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = Runner.from_cfg(config)
        before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
        runner.train()
    changed = {name for name, p in runner.model.named_parameters() if not torch.equal(p, before[name])}
    assert {"backbone.stages.0.downsample.proj.weight", "decode_head.conv_seg.weight"} <= changed
    assert 0 <= runner.message_hub.get_scalar("val/mIoU").current() <= 100
    ours = densevit.create_segmentor("mit_b0", "uper", num_classes=19, decoder_options=dict(dim=16))
    assert load_weights(ours, tmp_path / "run" / "iter_2.pth").complete
    trained = {name.replace("decode_head.conv_seg.", "head."): p for name, p in runner.model.state_dict().items()}
    assert all(torch.equal(t, trained[name]) for name, t in ours.state_dict().items() if "decoder." not in name)


# Theirs in ours.


def theirs_of(scenes, split, **options):
    prefix = dict(img_path=f"leftImg8bit/{split}", seg_map_path=f"gtFine/{split}")
    return dict(type="mmseg.CityscapesDataset", data_root=str(scenes), data_prefix=prefix, **options)


def test_their_cityscapes_gives_the_samples_of_ours(scenes):
    theirs = create_dataset(theirs_of(scenes, "train"))
    ours = create_dataset(dict(type="cityscapes", root=str(scenes), split="train"))
    assert (theirs.classes, theirs.palette, len(theirs)) == (ours.classes, ours.palette, len(ours))
    for a, b in zip(theirs, ours, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.label, b.label)


@pytest.mark.parametrize("reduce_zero_label", [False, True])
@pytest.mark.parametrize("classes", [("wall", "road", "sky"), ("sky", "wall")], ids=["all", "some"])
def test_labels_are_those_of_their_own_pipeline(classes, reduce_zero_label, tmp_path):
    from mmseg.datasets import BaseSegDataset
    from PIL import Image

    class Walls(BaseSegDataset):
        METAINFO = dict(classes=("wall", "road", "sky"), palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])

    import mmseg.registry

    name = f"Walls{len(classes)}{reduce_zero_label}"
    mmseg.registry.DATASETS.register_module(name=name, module=Walls)
    values = np.array([[0, 1, 2, 255], [2, 1, 0, 3 if reduce_zero_label else 255]], np.uint8)
    for folder in ("img", "ann"):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / "a.png")
    options = dict(
        data_root=str(tmp_path),
        data_prefix=dict(img_path="img", seg_map_path="ann"),
        img_suffix=".png",
        metainfo=dict(classes=classes),
        reduce_zero_label=reduce_zero_label,
    )
    assert name not in vars(mmseg.datasets)
    dataset = create_dataset(dict(type=f"mmseg.{name}", **options))  # registered there after ours was imported
    pipeline = [dict(type="mmseg.LoadAnnotations")]
    expected = Walls(**options, pipeline=pipeline)[0]["gt_seg_map"]
    assert np.array_equal(dataset[0].label, expected)
    assert dataset.classes == classes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(data_rot="x"), "has no key 'data_rot'; did you mean data_root"),
        (dict(pipeline=[]), "has no key 'pipeline'"),
        (dict(data_root="nowhere"), "mmsegmentation cannot open CityscapesDataset"),
        (dict(img_suffix=".jpg"), "CityscapesDataset finds no images"),
        (dict(type="mmseg.CityscapeDataset"), "did you mean mmseg.CityscapesDataset"),
    ],
)
def test_a_mistake_in_their_data_set_is_one_sentence(scenes, change, message):
    with pytest.raises(ValueError, match=message):
        create_dataset(theirs_of(scenes, "train") | change)


@pytest.mark.parametrize("size", [(64, 64), (75, 93)], ids=str)
def test_their_head_gives_our_segmentor_the_numbers_that_it_gives_them(size):
    torch.manual_seed(0)
    options = dict(channels=16, pool_scales=(1, 2))
    ours = randomize(densevit.create_segmentor("mit_b0", "mmseg.UPerHead", num_classes=7, decoder_options=options))
    head = dict(type="UPerHead", in_channels=[32, 64, 160, 256], in_index=[0, 1, 2, 3], num_classes=7, **options)
    theirs = build(head | dict(norm_cfg=dict(type="BN"))).eval()
    theirs.load_state_dict(
        ours.decoder.head.state_dict() | {f"conv_seg.{name}": tensor for name, tensor in ours.head.state_dict().items()}
    )
    with torch.inference_mode():
        features = ours.forward_features(picture(*size))
        assert largest_difference(ours.forward_logits(picture(*size)), theirs(features)) <= 1e-6


@pytest.mark.parametrize("name", ["UPerHead", "SegformerHead", "FCNHead", "PSPHead", "ASPPHead"])
def test_their_heads_train_in_our_segmentor(name):
    options = dict(channels=16)
    model = densevit.create_segmentor("mit_b0", f"mmseg.{name}", num_classes=3, decoder_options=options)
    logits = model(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 3, 64, 64)
    logits.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_their_heads_refuse_volumes_and_other_options():
    with pytest.raises(ValueError, match="UPerHead reads images, got spatial_dims=3"):
        densevit.create_segmentor("mit_b0", "mmseg.UPerHead", num_classes=3, spatial_dims=3)
    options = dict(channels=16, pool_scale=(1,))
    with pytest.raises(ValueError, match=r"UPerHead refuses the options .*pool_scale"):
        densevit.create_segmentor("mit_b0", "mmseg.UPerHead", num_classes=3, decoder_options=options)


def config_of_ours(scenes):
    return dict(
        custom_imports=IMPORTS,
        model=dict(backbone="mit_b0", decoder="mmseg.UPerHead", num_classes=19, decoder_options=dict(channels=16)),
        loss=dict(type="cross_entropy"),
        optimizer=dict(type="AdamW", lr=1e-4),
        schedule=dict(type="poly"),
        train_cfg=dict(max_iters=2, val_interval=2, checkpoint_interval=2, log_interval=1),
        train_data=dict(
            dataset=theirs_of(scenes, "train"), augment=dict(crop_size=(64, 64)), batch_size=2, num_workers=0
        ),
        val_data=dict(dataset=theirs_of(scenes, "val"), num_workers=0),
        visualization=dict(tensorboard=False, num_images=0),
    )


def test_our_config_trains_with_their_data_set_and_head(scenes, tmp_path):
    from densevit.train import train

    result = train(config_of_ours(scenes), work_dir=tmp_path / "run", device="cpu", progress=False)
    assert 0 <= result.scores["mIoU"] <= 100
    assert IMPORTS[0] in (tmp_path / "run" / "config.py").read_text()


def test_their_hook_draws_what_was_predicted(scenes, tmp_path):
    from densevit.train import train

    visualization = dict(
        tensorboard=False,
        backends=[dict(type="LocalVisBackend")],
        visualizer=dict(type="mmseg.SegLocalVisualizer", alpha=0.5),
    )
    hook = dict(type="mmseg.SegVisualizationHook", draw=True, interval=1)
    config = {**config_of_ours(scenes), "visualization": visualization, "custom_hooks": [hook]}
    train(config, work_dir=tmp_path, device="cpu", progress=False)
    drawn = sorted((tmp_path / "LocalVisBackend" / "vis_image").glob("val_*_leftImg8bit.png_2.png"))
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("model", dict(decoder="mmseg.UperHead"), "did you mean mmseg.UPerHead"),
        (
            "model",
            dict(decoder_options=dict(channel=16)),
            "model: unknown key 'decoder_options.channel'; did you mean channels",
        ),
    ],
)
def test_a_mistake_in_the_name_or_options_of_their_head_is_answered_by_the_nearest(scenes, section, change, message):
    from densevit.train.config import check_config

    config = config_of_ours(scenes)
    config[section] = config[section] | change
    with pytest.raises(ValueError, match=message):
        check_config(config)
