"""Errors of the library, told in the flags of the command line."""

import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import densevit
from densevit.cli.main import build_parser, main
from densevit.cli.options import PLACE_OF, in_words
from tests.checkpoints import save_tiny_checkpoint

PACKAGE = Path(densevit.__file__).parent


def flags_of(command):
    """The arguments of a command by name, as when none was typed."""
    verbs = next(action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    return {action.dest: action.default for action in verbs[command]._actions}


@pytest.mark.parametrize(
    ("command", "python", "said"),
    [
        ("predict", "choose geometry='sform' if its sform holds", "choose --geometry sform if its sform holds"),
        ("predict", "write stored_values=True, then", "write --stored-values, then"),
        ("predict", "roi_size belongs to modes 'slide'", "--roi-size belongs to modes 'slide'"),
        ("predict", "set roi_size=(64, 64); leave flips out", "set --roi-size 64 64; leave --flip out"),
        ("predict", "a/max_bytes=3/x.nii: inference.roi_size", "a/max_bytes=3/x.nii: inference.roi_size"),
        ("train", "choose geometry='sform' if it holds", "choose dataset.read.geometry='sform' if it holds"),
        ("train", "or raise max_bytes", "or raise dataset.read.max_bytes"),
        ("train", "mode needs windows; give roi_size", "mode needs windows; give inference.roi_size"),
        ("train", "leave flips out", "leave inference.flips out"),
        ("train", "use batch_size=1; set val_every=5 too", "use batch_size=1; set val_every=5 too"),
        ("train", "without it or with amp='bf16'", "without it or with --amp bf16"),
        ("test", "write stored_values=True", "write dataset.read.stored_values=True"),
        ("test", "give roi_size, such as (512, 512)", "give --roi-size, such as (512, 512)"),
        ("test", "leave flips out", "leave inference.flips out"),
        ("fingerprint", "choose geometry='sform' or geometry='qform'", "choose --geometry sform or --geometry qform"),
        ("fingerprint", "got fold=3; set val_every=5 too", "got --fold 3; set --val-every 5 too"),
        ("fingerprint", "on_missing='split' reads a part", "dataset.read.on_missing='split' reads a part"),
    ],
)  # fmt: skip
def test_options_of_python_become_flags_or_keys_of_a_config(command, python, said):
    assert in_words(python, flags_of(command)) == said


def test_what_the_flag_of_several_views_asked_for_is_told_by_that_flag():
    assert in_words("leave flips out", {**flags_of("test"), "tta": True}) == "leave --tta out"


def test_every_option_without_a_place_in_a_config_has_its_flag():
    said = {command: flags_of(command) for command in ("train", "predict", "fingerprint")}
    alone = [name for name, place in PLACE_OF.items() if place == "" and name != "batch_size"]
    assert [name for name in alone if not any(name in flags for flags in said.values())] == []
    assert {"flip" if name == "flips" else name for name, place in PLACE_OF.items() if place} <= said["predict"].keys()


def test_the_command_line_is_answered_in_flags(tmp_path, photo, save, capsys):
    save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=2, classes=("road", "lane_left"))
    picture = save(tmp_path / "a.png", photo)
    assert main(["predict", str(tmp_path), str(picture), "-o", str(tmp_path / "out"), "--flip"]) == 2
    said = capsys.readouterr().err
    assert "lane_left has a side and no counterpart" in said
    assert "leave --flip out" in said
    assert main(["predict", str(tmp_path), str(picture), "-o", str(tmp_path / "out"), "--roi-size", "32"]) == 2
    assert "--roi-size belongs to modes 'slide'" in capsys.readouterr().err


def test_a_config_and_its_command_are_answered_in_their_own_words(tmp_path, capsys):
    """A header of NIfTI whose forms disagree, met by `fingerprint` and by `train`."""
    nibabel = pytest.importorskip("nibabel")
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for i in range(2):
            image = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.diag([2.0, 2, 2, 1]))
            image.set_qform(np.diag([-2.0, 2, 2, 1]), code=1)
            image.set_sform(np.diag([2.0, 2, 2, 1]), code=1)
            nibabel.save(image, tmp_path / kind / f"{i}.nii.gz")
    main(["fingerprint", str(tmp_path), "--classes", "background=0", "organ=1", "--quiet"])
    assert "choose --geometry" in capsys.readouterr().err
    dataset = dict(type="volume_folder", root=str(tmp_path), classes=dict(background=0, organ=1), val_every=2)
    config = dict(
        model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=2, spatial_dims=3, in_channels=1),
        loss=dict(type="cross_entropy"),
        optimizer=dict(lr=1e-3),
        schedule={},
        train_cfg=dict(max_iters=1),
        train_data=dict(dataset=dataset, augment=dict(crop_size=(8, 8, 8)), batch_size=1, num_workers=0),
    )
    (tmp_path / "c.py").write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    main(["train", str(tmp_path / "c.py"), "--work-dir", str(tmp_path / "run"), "--device", "cpu"])
    assert "choose dataset.read.geometry=" in capsys.readouterr().err


def flags_below(parser):
    """Those of a parser and of the commands below it."""
    below = [action.choices.values() for action in parser._actions if isinstance(action.choices, dict)]
    own = {flag for action in parser._actions for flag in action.option_strings}
    return own.union(*(flags_below(each) for each in chain(*below)))


def test_errors_name_flags_that_a_command_has():
    there = flags_below(build_parser())
    named = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ("export", "quickstart", "cli", "workers.py"):  # of other programs
            named |= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
    assert "--resume" in named
    assert named <= there
