"""`densevit models`: what it counts is true, and what it quotes was measured."""

import json

import pytest
import torch

import densevit
from densevit.cli import main, models
from densevit.macs import count_macs
from densevit.weights import known_sources, sources_of
from tests.common import own_decoders


@pytest.fixture(scope="module")
def tables():
    return models.describe("*")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_models_lists_every_name_with_its_parameters(capsys, tmp_path):
    assert main(["models", "--filter", "mit", "--json", str(tmp_path / "models.json")]) == 0
    printed = capsys.readouterr().out
    tables = json.loads((tmp_path / "models.json").read_text())
    rows = {row["name"]: row for table in ("backbones", "models") for row in tables[table]}
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19)
    assert rows["mit_b0"]["parameters"] == count(model.backbone)
    assert rows["mit_b0"]["out_channels"] == [32, 64, 160, 256]
    assert rows["mit_b0 + all_mlp"]["parameters"] == count(model) == 3_719_027
    assert rows["mit_b2 + all_mlp"]["parameters"] == 27_361_235
    assert f"{count(model.backbone):,}" in printed
    assert all(name in printed for name in densevit.list_backbones() if "mit" in name)


def test_every_registered_name_is_listed(tables):
    assert [row["name"] for row in tables["backbones"]] == densevit.list_backbones()
    assert [row["name"] for row in tables["decoders"]] == own_decoders()
    assert {row["name"] for row in tables["models"]} >= {"mit_b5 + all_mlp", "pvt_v2_b2 + fpn", "swin_tiny + uper"}


def test_models_are_filtered_and_counted_in_3d(capsys, tmp_path):
    assert main(["models", "--filter", "mit_b0", "--spatial-dims", "3", "--json", str(tmp_path / "models.json")]) == 0
    tables = json.loads((tmp_path / "models.json").read_text())
    assert [row["name"] for row in tables["backbones"]] == ["mit_b0"]
    assert tables["decoders"] == []
    volume_backbone = densevit.create_backbone("mit_b0", spatial_dims=3, in_channels=1)
    assert tables["backbones"][0]["parameters"] == count(volume_backbone)
    assert "pvt" not in capsys.readouterr().out


def test_every_release_is_listed_with_the_backbones_that_load_it(tables):
    assert {row["source"] for row in tables["weights"]} == set(known_sources()) - {"densevit"}
    assert "nvlabs" in sources_of("mit_b3")
    assert sources_of("pvt_v2_b0") == ["whai362_pvt_v2", "timm_pvt_v2"]
    assert sources_of("unetr_vit_base") == ["monai_vit"]
    assert sources_of("mvit_v1_base") == ["torchvision_mvit", "slowfast_mvit"]
    assert len(sources_of("mvit_v2_tiny")) == 5
    own = [name for name in densevit.list_backbones() if not name.startswith("conv_former")]  # docs/add_a_backbone.md
    assert all(sources_of(name) for name in own)


def test_the_licence_of_a_release_is_printed_beside_it(capsys):
    assert main(["models", "--filter", "mit_b0"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  nvlabs "))
    assert line.split(None, 2)[2].startswith("NVIDIA NSCL, non-commercial  ImageNet-1k")


def test_nothing_is_quoted_for_a_model_that_is_not_there(tables):
    known = {row["name"] for kind in ("backbones", "decoders", "models") for row in tables[kind]}
    for costs in models.measured()["cost"].values():
        assert set(costs) <= known
    assert all({*name.split(" + ")} <= known for name in models.measured()["parity"])


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", ["mit_b0", "pvt_v2_b0", "swin_tiny", "vit_tiny", "mit_b0 + all_mlp"])
def test_quoted_multiply_accumulates_are_those_of_the_model_as_it_is(name, spatial_dims):
    with torch.device("meta"):
        model = models.build(name, spatial_dims).eval()
    counted = count_macs(model, models.SIZES[spatial_dims]).total / 1e9
    assert models.measured()["cost"][str(spatial_dims)][name]["gmacs"] == pytest.approx(counted, rel=1e-9)


def test_quoted_errors_are_within_what_the_parity_tests_allow():
    for name, proofs in models.measured()["parity"].items():
        for proof in proofs:
            assert min(proof["max_error"], proof["relative_error"]) <= 1e-5, name
            assert proof["comparisons"] > 0
