"""Models saved with their cards, pushed to a hub on this machine, and got back."""

import re

import pytest
import torch
import yaml
from PIL import Image

import densevit
from densevit.checkpoint import Header, open_checkpoint
from densevit.cli.main import main
from densevit.train import train
from tests.train.conftest import config, scenes  # noqa: F401, fixtures
from tests.weights.common import equal

DESCRIBED = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=3,
    backbone_options=dict(depths=(1, 1, 1, 1)),
    decoder_options=dict(dim=16),
)
BEGUN = dict(name="nvidia/mit-b0", revision="0123", licence="NVIDIA NSCL, non-commercial", trained_on="ImageNet-1k")


@pytest.fixture
def model():
    return densevit.create_segmentor(**DESCRIBED).eval()


@pytest.fixture
def header():
    return Header(model=DESCRIBED, classes=("road", "car", "sky"), started_from=(BEGUN,))


def card_of(folder):
    """The metadata of a card, and its text."""
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_a_model_is_saved_with_its_card_and_got_back(model, header, tmp_path):
    folder = densevit.save_pretrained(model, tmp_path / "mine", header=header, licence="MIT")
    assert equal(densevit.from_pretrained(folder), model)
    metadata, text = card_of(folder)
    assert metadata["license"] == "mit"
    assert metadata["base_model"] == ["nvidia/mit-b0"]
    assert metadata["pipeline_tag"] == "image-segmentation"
    assert "Classes: road, car, sky" in text
    assert "nvidia/mit-b0 at `0123`: NVIDIA NSCL, non-commercial, trained on ImageNet-1k" in text
    assert "do not permit commercial use" in text
    with pytest.raises(ValueError, match="not allowed with commercial=True"):
        densevit.from_pretrained(folder, commercial=True)
    with pytest.raises(ValueError, match="needs the header"):
        densevit.save_pretrained(model, tmp_path / "mine")


def test_a_model_is_pushed_got_back_and_predicts_by_its_name(model, header, hub, tmp_path):
    address = densevit.push_to_hub(model, "someone/streets", header=header)
    assert address == f"{hub.endpoint}/someone/streets"
    assert {"someone/streets/weights.safetensors", "someone/streets/README.md"} <= set(hub.files)
    assert "densevit predict hf:someone/streets photo.jpg" in hub.files["someone/streets/README.md"].decode()
    assert equal(densevit.from_pretrained("someone/streets"), model)
    Image.new("RGB", (40, 32), (90, 140, 230)).save(tmp_path / "photo.png")
    arguments = ["hf:someone/streets", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", *arguments]) == 0
    assert (tmp_path / "out" / "photo.png").is_file()
    hub.gated.add("someone/closed")
    with pytest.raises(ValueError, match="log in by") as caught:
        densevit.push_to_hub(model, "someone/closed", header=header)
    assert "\n" not in str(caught.value)


def test_a_repository_of_another_kind_of_file_is_told(hub, tmp_path, capsys):
    hub.files["someone/other/model.safetensors"] = b"weights"
    assert main(["predict", "hf:someone/other", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "holds no weights.safetensors" in capsys.readouterr().err


def test_the_card_of_a_run_holds_its_data_scores_and_pictures(config, tmp_path):  # noqa: F811
    pytest.importorskip("tensorboard")
    model = config["model"] | dict(backbone_options=DESCRIBED["backbone_options"])
    short = dict(max_iters=2, val_interval=2)
    shown = dict(tensorboard=True, num_images=1)
    asked = config | dict(model=model, train_cfg=short, visualization=shown, name="boxes")
    train(asked, work_dir=tmp_path / "run", progress=False)
    folder = densevit.save_pretrained(tmp_path / "run", tmp_path / "shared")
    _, text = card_of(folder)
    best = open_checkpoint(tmp_path / "run").header.training["scores"]["mIoU"]
    assert re.search(rf"\| mIoU +\| +{best:.1f}", text)
    assert "densevit train boxes.py" in text
    assert "training: `folder`, split `train`, 8 images" in text
    assert "Its training began with no weights of others." in text
    assert "![image, truth and prediction](pictures/validation_1.png)" in text
    with Image.open(folder / "pictures" / "validation_1.png") as picture:
        assert picture.size[0] == 3 * 64  # image, truth and prediction
    assert str(tmp_path) not in text  # nor where data lie
    ours = densevit.from_pretrained(folder)
    assert torch.equal(ours.head.weight, densevit.from_pretrained(tmp_path / "run").head.weight)
