"""One record a published family: what densevit knows of it, and nowhere else."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import densevit
from densevit.clip.model import WIDTHS
from densevit.weights import Family, describe, known_families, known_sources, register_family
from tests.test_docs import python_blocks

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "densevit"
# What may name a family beside its backbone file and its record: defaults, and our own rendered demonstrations.
# CLIP's texts have widths that were published with each encoder of images, and its files are of two kinds.
DEFAULTS = {
    "clip/model.py": set(WIDTHS),
    "predictor/clip_files.py": {"clip_vit_base_p16", "clip_resnet50"},
    "cli/fingerprint.py": {"swin_unetr_tiny"},
    "cli/models.py": {"mit_b0"},
    "integrations/transformers/networks.py": {"resnet"},  # transformers' word
    "doctor/fingerprint/propose.py": {"swin_unetr_tiny"},
}


def strings(path):
    """Strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in texts]
    return {node.value for node in nodes if isinstance(node.value, str)}


def test_a_family_is_named_in_its_backbone_file_and_its_record_alone():
    names = {
        *known_families(),
        *known_sources(),
        *(name for family in known_families().values() for name in family.variants),
    } - {"densevit"}
    homes = (PACKAGE / "backbones", PACKAGE / "weights" / "families", PACKAGE / "weights" / "published")
    elsewhere = {}
    for path in PACKAGE.rglob("*.py"):
        found = strings(path) & (names - {"unetr"})  # which is a decoder too
        place = path.relative_to(PACKAGE).as_posix()
        if found - DEFAULTS.get(place, set()) and path.parent not in homes:
            elsewhere[place] = found
    assert elsewhere == {}


def test_every_registered_backbone_belongs_to_one_family():
    own = [name for name in densevit.list_backbones() if not name.startswith("conv_former")]  # docs/add_a_backbone.md
    for name in own:
        assert len([family for family in known_families().values() if name in family.variants]) == 1, name


def test_a_name_of_a_family_or_source_is_given_once():
    taken = known_families()["mit"]
    with pytest.raises(ValueError, match="'mit' is registered twice"):
        register_family(Family(name="mit"))
    with pytest.raises(ValueError, match="'nvlabs' is registered twice"):
        register_family(Family(name="mine", releases={"nvlabs": replace(taken.releases["nvlabs"], title="another")}))
    assert known_families()["mit"] is taken
    assert "mine" not in known_families()


def test_a_record_is_all_that_the_tools_need_of_a_new_family(tmp_path):
    """The family of docs/add_a_backbone.md in `densevit models` and `tools/convert_weights.py`."""
    blocks = [source for _, source in python_blocks(REPOSITORY / "docs" / "add_a_backbone.md")]
    (tmp_path / "conv_former.py").write_text(blocks[0] + blocks[2])
    script = """
import conv_former, runpy, torch, densevit
from densevit.cli import main
from densevit.weights import to_theirs
model = densevit.create_segmentor("conv_former_nano", "all_mlp", num_classes=150)
torch.save(to_theirs(model.backbone.state_dict(), "lab_conv_former"), "lab.pth")
assert runpy.run_path(CONVERT, run_name="convert")["main"](["lab.pth", "ours.safetensors"]) == 0
assert main(["models", "--filter", "conv_former", "--json", "models.json"]) == 0
"""
    script = script.replace("CONVERT", repr(str(REPOSITORY / "tools" / "convert_weights.py")))
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrote ours.safetensors: conv_former_nano" in done.stdout
    tables = json.loads((tmp_path / "models.json").read_text())
    assert [row["name"] for row in tables["backbones"]] == ["conv_former_nano", "conv_former_tiny"]
    assert [row["name"] for row in tables["models"]] == ["conv_former_nano + all_mlp"]
    assert [(row["source"], row["licence"]) for row in tables["weights"]] == [("lab_conv_former", "MIT")]


def test_registers_are_told_from_the_shapes_of_tensors():
    backbone = densevit.create_backbone("vit_tiny", num_tokens=1, num_registers=3)
    found = describe({f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()})
    assert "vit_tiny" in found.relatives
    assert {name: found.backbone_options[name] for name in ("num_tokens", "num_registers", "image_size")} == {
        "num_tokens": 1,
        "num_registers": 3,
        "image_size": 224,
    }
