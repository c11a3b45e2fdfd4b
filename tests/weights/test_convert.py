"""tools/convert_weights.py: the model is recognised, the report printed, faults are one sentence and exit code 2."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

import densevit
from densevit.checkpoint import open_checkpoint
from densevit.data.layouts import cityscapes
from densevit.weights import read_config, read_weights, save_weights, to_theirs
from tests.predictor.common import read, save_photo
from tests.weights.common import backbone, equal, release, segformer
from tools.peers.common import randomize

TOOL = Path(__file__).parents[2] / "tools" / "convert_weights.py"


@pytest.fixture(scope="module")
def convert():
    """The tool's main function."""
    spec = importlib.util.spec_from_file_location("convert_weights", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: module.main([str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path):
    """Files of two releases: a whole model of mmsegmentation with its classes, and an ImageNet backbone."""
    meta = {"dataset_meta": {"classes": ("road", "sky", "car"), "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}}
    model = segformer(num_classes=3, decoder_options=dict(project_norm=True))
    torch.save({"state_dict": release(model, "mmseg"), "meta": meta}, tmp_path / "whole.pth")
    alone = backbone("pvt_v2_b0")
    torch.save(release(alone, "whai362"), tmp_path / "alone.pth")
    return tmp_path, model, alone


def test_a_whole_model_is_recognised_and_carries_its_classes(convert, files, capsys):
    folder, expected, _ = files
    assert convert(folder / "whole.pth", folder / "out.safetensors") == 0
    state, config = read_weights(folder / "out.safetensors")
    assert equal(state, expected)
    assert config == {
        "model": {
            "backbone": "mit_b0",
            "decoder": "all_mlp",
            "num_classes": 3,
            "spatial_dims": 2,
            "in_channels": 3,
            "decoder_options": {"dim": 256, "project_norm": True},
        },
        "classes": ["road", "sky", "car"],
        "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "converted": {"source": "mmseg_segformer"},
    }
    assert equal(densevit.create_segmentor(**config["model"], weights=folder / "out.safetensors"), expected)
    out = capsys.readouterr().out
    assert out.startswith("mmseg_segformer: ")
    assert "3,7" in out.splitlines()[-1]


def test_a_backbone_is_recognised(convert, files):
    folder, _, expected = files
    assert convert(folder / "alone.pth", folder / "out.safetensors") == 0
    state, config = read_weights(folder / "out.safetensors")
    assert equal(state, expected)
    assert config["model"] == {"backbone": "pvt_v2_b0", "spatial_dims": 2, "in_channels": 3}
    assert equal(densevit.create_backbone("pvt_v2_b0", weights=folder / "out.safetensors"), expected)


def test_a_backbone_is_taken_out_of_a_whole_model(convert, files):
    folder, expected, _ = files
    assert convert(folder / "whole.pth", folder / "out.safetensors", "--backbone-only") == 0
    assert equal(read_weights(folder / "out.safetensors")[0], expected.backbone)


def test_classes_and_channels_are_changed_on_request_and_said(convert, files, capsys):
    folder, _, _ = files
    arguments = ["--num-classes", 7, "--new-head", "--in-channels", 1, "--adapt-channels", "sum"]
    assert convert(folder / "whole.pth", folder / "out.safetensors", *arguments) == 0
    state, config = read_weights(folder / "out.safetensors")
    assert state["head.weight"].shape[0] == config["model"]["num_classes"] == 7
    assert state["backbone.stages.0.downsample.proj.weight"].shape[1] == config["model"]["in_channels"] == 1
    assert "classes" not in config
    out = capsys.readouterr().out
    assert "fresh       head.weight" in out
    assert "by sum over channels" in out


def test_pictures_become_volumes_on_request(convert, files):
    folder, _, _ = files
    arguments = ["--spatial-dims", 3, "--inflate", "mean", "--in-channels", 1, "--adapt-channels", "sum"]
    assert convert(folder / "alone.pth", folder / "out.safetensors", *arguments) == 0
    state, config = read_weights(folder / "out.safetensors")
    assert config["model"] == {"backbone": "pvt_v2_b0", "spatial_dims": 3, "in_channels": 1}
    assert state["stages.0.downsample.proj.weight"].shape == (32, 1, 7, 7, 7)


@pytest.mark.parametrize(
    ("name", "source", "options"),
    [
        ("swin_unetr_tiny", "monai", dict(window_size=5)),
        ("deit_tiny", "timm", dict(image_size=384)),
        ("mvit_v2_tiny", "facebook", {}),
        ("pvt_v1_tiny", "whai362", dict(image_size=256)),
        ("swin_tiny", "mmseg", dict(window_size=12)),
    ],
)
def test_options_are_recognised_and_build_the_same_model_again(convert, tmp_path, capsys, name, source, options):
    expected = backbone(name, **options)
    torch.save(release(expected, source), tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", tmp_path / "a.safetensors") == 0, capsys.readouterr().err
    state, config = read_weights(tmp_path / "a.safetensors")
    told = config["model"].get("backbone_options", {})
    assert (config["model"]["backbone"], told | options) == (name, told)
    assert equal(densevit.create_backbone(name, weights=tmp_path / "a.safetensors", **told), state)
    fresh = {name: t for name, t in state.items() if name.startswith("out_norms.")}
    assert equal(state | fresh, expected.state_dict() | fresh)


@pytest.mark.parametrize(
    ("name", "decoder", "options"),
    [
        ("swin_tiny", "uper", dict(dim=32, depths=(1, 1, 1, 1), window_size=5)),
        ("mvit_v2_tiny", "fpn", dict(dim=32, depths=(1, 1, 1, 1), pyramid=dict(image_size=64))),
        ("vit_tiny", "vt_fpn", dict(depth=2, taps=(0, 1), num_tokens=1, image_size=64)),
        ("pvt_v1_tiny", "linear", dict(depths=(1, 1, 1, 1), image_size=64)),
        ("swin_unetr_tiny", "unetr", dict(merge_order="v2")),
    ],
)
def test_a_file_with_its_options_is_enough_for_prediction(tmp_path, name, decoder, options):
    config = dict(model=dict(backbone=name, decoder=decoder, num_classes=4, backbone_options=options))
    expected = randomize(densevit.create_segmentor(**config["model"]))
    save_weights(expected, tmp_path / "a.safetensors", config=config)
    predictor = densevit.Predictor(tmp_path / "a.safetensors", device="cpu")
    assert equal(predictor.model, expected)
    assert predictor(np.zeros((64, 48, 3), np.uint8)).label.shape == (64, 48)


def test_options_that_no_tensor_tells_are_said_and_kept(convert, tmp_path):
    options = dict(num_classes=4, spatial_dims=3, in_channels=1)
    expected = randomize(densevit.create_segmentor("swin_unetr_tiny", "unetr", **options))
    torch.save(release(expected, "monai"), tmp_path / "a.pth")
    arguments = ["--backbone-options", "merge_order=legacy"]
    assert convert(tmp_path / "a.pth", tmp_path / "a.safetensors", *arguments) == 0
    state, config = read_weights(tmp_path / "a.safetensors")
    assert config["model"]["backbone_options"]["merge_order"] == "legacy"
    assert equal(state, expected)
    assert convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors") == 0
    assert read_weights(tmp_path / "b.safetensors")[1]["model"] == config["model"]
    again = densevit.create_segmentor(**config["model"], weights=tmp_path / "b.safetensors")
    assert again.backbone.stages[1].blocks[2].merge_order == "legacy"


def test_our_own_file_converts_to_itself(convert, files):
    folder, expected, _ = files
    assert convert(folder / "whole.pth", folder / "a.safetensors") == 0
    assert convert(folder / "a.safetensors", folder / "b.safetensors") == 0
    state, config = read_weights(folder / "b.safetensors")
    assert equal(state, expected)
    assert config["classes"] == ["road", "sky", "car"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("none.pth", [], "there is no checkpoint"),
        ("damaged.pth", [], "damaged or not a checkpoint"),
        ("whole.pth", ["--num-classes", "7"], "it has 3 classes, the model 7"),
        ("whole.pth", ["--in-channels", "1"], "takes 3 input channels, the model 1"),
        ("whole.pth", ["--spatial-dims", "3"], "its weights are 2D, the model is 3D"),
        ("whole.pth", ["--model", "mit_b1"], "this looks like mit_b0, the model is mit_b1"),
        ("whole.pth", ["--model", "mit_b9"], "did you mean mit_b"),
        ("alone.pth", ["--decoder", "all_mlp"], "holds no classifier"),
        ("alone.pth", ["--decoder", "all_mlp", "--num-classes", "2"], "backbone only"),
        ("odd.pth", [], "name it with --backbone"),
        ("whole.pth", ["--backbone-options", "drop_path"], "options are written key=value, got 'drop_path'"),
        ("whole.pth", ["--source", "nvlab"], "did you mean nvlabs"),
        ("unknown.pth", [], "fit no key map"),
    ],
)
def test_a_fault_is_one_sentence_and_writes_nothing(convert, files, capsys, name, arguments, message):
    folder, _, alone = files
    (folder / "damaged.pth").write_bytes(b"PK\x03\x04 no more")
    odd = release(alone, "whai362")
    del odd["norm4.weight"]
    torch.save(odd, folder / "odd.pth")
    torch.save({"a": torch.ones(1)}, folder / "unknown.pth")
    assert convert(folder / name, folder / "out.safetensors", *arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert message in written.err
    assert not (folder / "out.safetensors").exists()


def test_the_output_must_be_safetensors(convert, files, capsys):
    assert convert(files[0] / "whole.pth", files[0] / "out.pth") == 2
    assert "must end in .safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "segformer.b0.cityscapes.pth",
            [],
            "the 19 classes are taken for those of cityscapes, as the file's name says",
        ),
        ("whole.pth", ["--classes", "cityscapes"], ""),
    ],
)
def test_weights_of_cityscapes_write_what_its_server_takes(convert, tmp_path, capsys, name, arguments, said):
    torch.save(release(segformer(num_classes=19), "nvlabs"), tmp_path / name)
    assert convert(tmp_path / name, tmp_path / "out.safetensors", *arguments) == 0
    assert said in capsys.readouterr().out
    photo = save_photo(tmp_path / "in" / "a.png")
    densevit.predict(
        tmp_path / "out.safetensors", photo, tmp_path / "out", formats=["train_ids", "label_ids"], progress=False
    )
    ids, numbers = (read(tmp_path / "out" / kind / "a.png") for kind in ("label_ids", "train_ids"))
    assert np.array_equal(ids, np.array([*cityscapes.TRAIN_ID_TO_LABEL_ID.values()])[numbers])


def test_classes_are_named_by_a_file_and_counted(convert, files, tmp_path, capsys):
    folder, _, _ = files
    (tmp_path / "names.json").write_text('{"classes": ["a", "b", "c"], "reduce_zero_label": true}')
    assert convert(folder / "whole.pth", folder / "out.safetensors", "--classes", tmp_path / "names.json") == 0
    header = open_checkpoint(folder / "out.safetensors").header
    assert (header.classes, header.label_values) == (("a", "b", "c"), (1, 2, 3))
    assert convert(folder / "whole.pth", folder / "out.safetensors", "--classes", "ade20k") == 2
    assert "--classes ade20k names 150 classes, and the model has 3 outputs" in capsys.readouterr().err


def test_a_classifier_keeps_its_head_where_that_is_asked_for(convert, tmp_path, capsys):
    expected = randomize(densevit.create_classifier("deit_tiny_distilled", num_classes=5))
    torch.save(to_theirs(expected.state_dict(), "timm_vit"), tmp_path / "deit.pth")
    assert convert(tmp_path / "deit.pth", tmp_path / "out.safetensors", "--classifier") == 0, capsys.readouterr().err
    state, config = read_weights(tmp_path / "out.safetensors")
    assert equal(state, expected)
    model = config["model"]
    assert (model["backbone"], model["class_head"], model["num_classes"]) == ("deit_tiny_distilled", "distilled", 5)
    with pytest.raises(ValueError, match="holds a classifier, which says what an image shows and not where"):
        densevit.Predictor(tmp_path / "out.safetensors")
    torch.save(to_theirs(expected.backbone.state_dict(), "timm_vit"), tmp_path / "alone.pth")
    assert convert(tmp_path / "alone.pth", tmp_path / "out.safetensors", "--classifier") == 2
    assert "holds no classifier of whole images; leave --classifier out" in capsys.readouterr().err


def test_published_weights_are_converted_by_their_name_and_keep_their_licence(hub, convert, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in release(backbone(), "huggingface_segformer").items()}
    hub.files["nvidia/mit-b0/model.safetensors"] = save(state)
    assert convert("nvidia/mit-b0", tmp_path / "out.safetensors") == 0
    [begun] = read_config(tmp_path / "out.safetensors")["started_from"]
    assert (begun["name"], begun["licence"]) == ("nvidia/mit-b0", "NVIDIA NSCL, non-commercial")
