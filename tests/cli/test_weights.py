"""`densevit weights`: published weights are listed and shown, in words that load them."""

import json

import pytest

import densevit
from densevit.cli.main import main
from densevit.cli.weights import loading_line
from densevit.weights import known_weights


def test_the_list_shows_licences_and_leaves_out_what_is_not_permitted(capsys, tmp_path):
    assert main(["weights", "list", "mit_b2", "--json", str(tmp_path / "mit.json")]) == 0
    assert "NVIDIA NSCL, non-commercial" in capsys.readouterr().out
    rows = json.loads((tmp_path / "mit.json").read_text())
    assert [row["name"] for row in rows] == densevit.list_weights("mit_b2")
    assert {row["commercial"] for row in rows} == {"no"}
    assert main(["weights", "list", "mit_b2", "--commercial"]) == 2
    assert "licence is known to permit commercial use match 'mit_b2'" in capsys.readouterr().err
    assert main(["weights", "list", "--commercial", "timm/pvt*"]) == 0
    assert "timm/pvt_v2_b2.in1k" in capsys.readouterr().out


def test_what_is_known_of_one_is_shown_with_the_line_that_loads_it(capsys):
    assert main(["weights", "show", "cityscapes", "--backbone", "mit_b2", "--decoder", "all_mlp"]) == 0
    shown = capsys.readouterr().out
    assert "mIoU 81.0" in shown
    name = "nvidia/segformer-b2-finetuned-cityscapes-1024-1024"
    assert f'densevit.create_segmentor("mit_b2", "all_mlp", num_classes=19, weights="{name}")' in shown
    assert main(["weights", "show", "nvidia/mit-b22"]) == 2
    assert "did you mean nvidia/mit-b2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["segformer_mit-b0_8xb2-160k_ade20k-512x512", "dino_deitsmall8_pretrain.pth", "pvt_tiny.pth"],
)
def test_the_line_is_python_that_builds_the_model(name):
    line = loading_line(known_weights()[name])
    assert line.endswith(f'weights="{name}")')
    eval(line.replace(f'weights="{name}"', "weights=None"), dict(densevit=densevit))
