"""Errors of the library, told in the flags of the command line."""

import re
from pathlib import Path

import pytest

import densevit
from densevit.cli.main import build_parser, main
from densevit.cli.options import OF_PYTHON, in_flags
from tests.checkpoints import save_tiny_checkpoint

PACKAGE = Path(densevit.__file__).parent


@pytest.mark.parametrize(
    ("python", "flags"),
    [
        ("choose geometry='sform' if its sform holds", "choose --geometry sform if its sform holds"),
        ("write stored_values=True, then", "write --stored-values, then"),
        ("roi_size belongs to modes 'slide'", "--roi-size belongs to modes 'slide'"),
        ("set roi_size=(64, 64); leave flips out", "set --roi-size 64 64; leave --flip out"),
        ("a/max_bytes=3/x.nii: inference.roi_size", "a/max_bytes=3/x.nii: inference.roi_size"),
    ],
)
def test_options_of_python_become_flags(python, flags):
    assert in_flags(python) == flags


def test_every_such_option_has_its_flag(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = capsys.readouterr().out
    assert [name for name in OF_PYTHON if in_flags(f"{name}=1").split()[0] not in said] == []


def test_the_command_line_is_answered_in_flags(tmp_path, photo, save, capsys):
    save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=2, classes=("road", "lane_left"))
    picture = save(tmp_path / "a.png", photo)
    assert main(["predict", str(tmp_path), str(picture), "-o", str(tmp_path / "out"), "--flip"]) == 2
    said = capsys.readouterr().err
    assert "lane_left has a side and no counterpart" in said
    assert "leave --flip out" in said
    assert main(["predict", str(tmp_path), str(picture), "-o", str(tmp_path / "out"), "--roi-size", "32"]) == 2
    assert "--roi-size belongs to modes 'slide'" in capsys.readouterr().err


def test_errors_name_flags_that_a_command_has():
    verbs = next(action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    there = {flag for verb in verbs.values() for action in verb._actions for flag in action.option_strings}
    named = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ("export", "quickstart", "cli", "workers.py"):  # of other programs
            named |= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
    assert "--resume" in named
    assert named <= there
