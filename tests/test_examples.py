"""The scripts in examples/ run as they are and come to what they promise."""

import importlib
from pathlib import Path

import pytest

from densevit.data.dataset import check_dataset_config
from densevit.data.pair_set import PAIR_DATASETS
from tools.peers import import_peer

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def example(monkeypatch):
    """Imports an example as `python examples/NAME.py` would."""
    for name in ("monai", "ignite", "nibabel", "monai.engines"):
        import_peer(name)
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def test_every_example_is_run_here():
    run = {"monai_training", "ignite_evaluator", "synthetic_scans", "from_unlabelled", "street_captions"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == run


@pytest.mark.slow
def test_a_plain_monai_script_learns_with_our_parts(example):
    dice = example("monai_training").main([])
    assert dice.keys() == {"ball", "box"}
    assert min(dice.values()) > 0.4


def test_an_evaluator_gives_our_dice_and_monais_and_they_agree(example):
    dice = example("ignite_evaluator").main([])
    assert dice["dice"] == pytest.approx(dice["monai_dice"], abs=1e-5)
    assert dice["dice"] > 0


def test_four_commands_lead_from_pictures_without_labels_to_label_maps(example, tmp_path, capfd):
    scores = example("from_unlabelled").main(["--out", str(tmp_path), "--scenes", "8", "--iters", "2"])
    assert scores.keys() == {"segmentor", "from_chance"}
    assert all(0 <= score <= 100 for score in scores.values())
    assert len(list((tmp_path / "predicted").rglob("*.png"))) >= 2
    assert "linear" in capfd.readouterr().out


def test_captions_of_rendered_streets_are_a_set_for_clip(example, tmp_path):
    counts = example("street_captions").main([str(tmp_path / "set"), "--scenes", "1", "1", "--crops", "2"])
    assert counts == dict(train=2, val=2)
    found = check_dataset_config(dict(type="pair_table", root=str(tmp_path / "set")), PAIR_DATASETS).open()
    assert len(found) == 2
    assert all(text.startswith(("a photo of a ", "a street with ")) for text in found.texts)
