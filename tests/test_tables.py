import pytest

from densevit.tables import format_cell, format_table


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (3_319_392, "3,319,392"),
        (None, "-"),
        (2.34e-6, "2.3e-06"),
        (0.0, "0.00"),
        (3.204, "3.20"),
        (0.1234, "0.123"),
        (-20.235, "-20.2"),
        (float("nan"), "nan"),
        (True, "True"),
        (1234.5, "1,234"),
        ([4, 8], "4 8"),
        ([(1, 4, 4), 8], "1x4x4 8"),
        ("timm", "timm"),
    ],
)
def test_a_cell_is_short(value, cell):
    assert format_cell(value) == cell


def test_numbers_stand_to_the_right_and_words_to_the_left():
    rows = [dict(name="a", ms=None), dict(name="longer", ms=12.0)]
    assert format_table(rows) == "  name      ms\n  a          -\n  longer  12.0"


def test_a_frame_has_centred_cells():
    assert format_table([{"Class": "sky", "IoU": "97.10"}], style="framed").splitlines() == [
        "+-------+-------+",
        "| Class |  IoU  |",
        "+-------+-------+",
        "|  sky  | 97.10 |",
        "+-------+-------+",
    ]


def test_markdown_is_aligned_too():
    assert format_table(
        [dict(model="mit_b0", ms=1500), dict(model="mvit", ms=None)], style="markdown"
    ).splitlines() == [
        "| model  |    ms |",
        "|--------|-------|",
        "| mit_b0 | 1,500 |",
        "| mvit   |     - |",
    ]


@pytest.mark.parametrize("style", ["columns", "framed", "markdown"])
def test_nothing_is_cut_coloured_or_read_as_markup(style, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    name = "[bold]" + "long name " * 300 + ":smile:"
    table = format_table(
        [{"name": name, "[red]b": "x"}, {"name": "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 3, "[red]b": "y"}], style=style
    )
    assert name in table
    assert "[red]b" in table
    assert "\x1b" not in table
