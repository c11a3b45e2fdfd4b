"""Names of files, classes and patients stay text, wherever they are put."""

import ast
import csv
import io
import json
import logging
import subprocess

import numpy as np
import pytest

from densevit.cli.main import main
from densevit.cli.predict import StderrHandler
from densevit.doctor.fingerprint.python_text import Commented, assignment
from densevit.predictor.volume_outputs import itk_snap_table, slicer_table
from densevit.quoting import csv_cell, in_docstring, label_name, markdown, message, monai_data, printable, shell
from densevit.tables import format_table
from densevit.train.folder import run_logging

ESCAPE = "liver\x1b[2J\x9b2J\r\u202e\udc80\x07"
SHOWN = r"liver\x1b[2J\x9b2J\r\u202e\udc80\x07"
HOSTILE = [
    ESCAPE,
    'a"""+__import__("os")',
    "b\\",
    "c\n# d",
    "$(touch x) `y` 'z'",
    "\x00",
    "é中",
    "",
    "_",
    '\'\'"""\\\n',
]


def test_a_sentence_on_the_terminal_moves_no_cursor(capsys):
    assert main(["predict", ESCAPE, "x", "-o", "y"]) == 2
    assert SHOWN in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["predict", f"--{ESCAPE}"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_name_with_a_line_break_does_not_look_like_a_message_of_its_own(capsys):
    record = logging.makeLogRecord(dict(msg="%s failed", args=("x\ndensevit: all is well\x1b",)))
    StderrHandler(logging.INFO, {}).emit(record)
    assert capsys.readouterr().err == "densevit: x\n  densevit: all is well\\x1b failed\n"
    assert message("a\nb") == "a\n  b"


def test_names_in_the_log_of_a_run_are_printable(tmp_path, capsys):
    with run_logging(tmp_path):
        record = logging.makeLogRecord(dict(msg="read %s\na table", args=(ESCAPE,)))
        for handler in logging.getLogger("densevit").handlers:
            handler.handle(record)
    assert f"read {SHOWN}\na table\n" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("style", ["columns", "framed", "markdown"])
def test_names_in_tables_are_one_printable_line_and_no_markup(style):
    lines = format_table([{"class": f"{ESCAPE}\n[red]x[/red]|", "IoU": 1.0}], style=style).splitlines()
    assert len(lines) == {"columns": 2, "framed": 5, "markdown": 3}[style]
    assert all(line.isprintable() for line in lines)
    text = "\n".join(lines)
    assert (r"[red]x[/red]\|" if style == "markdown" else "[red]x[/red]|") in text


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@a", "\t=1", "\r=1", "  =1"])
def test_a_spreadsheet_computes_no_name(text):
    cell = csv_cell(text)
    assert cell.startswith("'")
    assert cell.isprintable()
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("liver, left") == "liver, left"


def test_markdown_makes_no_link_tag_cell_or_line_of_a_name():
    assert markdown("<b>|`a`[x](y)\n") == r"\<b\>\|\`a\`\[x\](y)\\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_python_reads_back_what_was_written(name):
    text = f'"""{in_docstring(name)} is a name."""\n# Made by: {printable(name)}\n'
    text += assignment("x", dict(a=Commented(name, name), b=[name], **{name or "k": 1}))
    tree = ast.parse(text.encode("utf-8"))  # a file that is no UTF-8 cannot be read
    assert [type(node) for node in tree.body] == [ast.Expr, ast.Assign]
    found = {}
    exec(compile(tree, "config", "exec"), found)
    assert found["x"] == dict(a=name, b=[name], **{name or "k": 1})


@pytest.mark.parametrize("name", [each for each in HOSTILE if "\x00" not in each])
def test_a_shell_gives_the_word_back(name):
    line = shell("printf", "%s|", name, "x")
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert said.decode("utf-8", "surrogateescape") == f"{name}|x|"


@pytest.mark.parametrize(
    "value",
    [
        "$__import__('os')",
        "@network",
        "%configs/train.json#run",
        "see @::a",
        " $x",
        {"_target_": "os.system", "a": "@#$%'\""},
    ],
    ids=str,
)
def test_what_monai_would_run_becomes_the_same_value(value):
    quoted = monai_data(value)
    assert quoted[0] == "$"
    assert not set("@#%$") & set(quoted[1:])
    assert ast.literal_eval(quoted[1:]) == value
    assert monai_data({"a": [value, 1, "me@home"]}) == {"a": [quoted, 1, "me@home"]}


def test_label_tables_of_viewers_keep_their_columns():
    rows = [(i, name, (1, 2, 3)) for i, name in enumerate(HOSTILE)]
    lines = slicer_table(rows).split("\n")[2:-1]
    assert [len(line.split()) for line in lines] == [6] * len(HOSTILE)
    lines = itk_snap_table(rows).split("\n")[:-1]
    assert [line.count('"') for line in lines] == [2] * len(HOSTILE)
    assert all(line.isprintable() for line in lines)
    assert label_name("a\\b\x1b") == "a/b?"


def test_a_class_in_a_picture_is_no_mathematics(tmp_path):
    from densevit.report import compare_curves, prediction_sheet

    image, label = np.zeros((8, 8, 3), np.uint8), np.arange(64).reshape(8, 8) % 3
    names = ["$\\frac{$", "_", "中\x1b\n"]
    row = (image, label, label)
    assert prediction_sheet([row], tmp_path / "a.png", palette=[(0, 0, 0)] * 3, classes=names).is_file()
    assert compare_curves({name: [(0, 1), (1, 2)] for name in names}, tmp_path / "b.png", ylabel="x").is_file()


def test_volumes_csv_holds_text_and_numbers(tmp_path):
    from densevit.predictor.volume_outputs import ScanWriter

    found = {"@SUM(A1)": dict(label=1, voxels=2, ml=-1.5, mean=[3.5])}
    for name, structures in (("=1+1", found), ("of_others", {"a": 1})):
        (tmp_path / f"{name}.nii.gz").touch()
        said = dict(seconds={}, origin=dict(model="x"), structures=structures)
        (tmp_path / f"{name}.json").write_text(json.dumps(said))
    ScanWriter(tmp_path, ["background", "@SUM(A1)"], np.arange(2)).finish(dict(model="x"))
    (row,) = csv.DictReader(io.StringIO((tmp_path / "volumes.csv").read_text()))
    assert "'=1+1" in row.values()
    assert "'@SUM(A1)" in row.values()
    assert "-1.5" in row.values()
