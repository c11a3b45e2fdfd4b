"""Texts of others end soon, run nothing, and give plain values or one sentence, wherever they are read."""

import json

import pytest

from densevit.data.layouts.classes import read_classes
from densevit.data.layouts.datalist import read_description
from densevit.data.layouts.subjects import subjects_of
from densevit.options import fit
from densevit.texts import parse_json, parse_literal, parse_yaml, read_text
from densevit.train.config import load_config, parse_overrides

DEEP = "[" * 100_000
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
JSON = {
    DEEP: "more than 48 deep",
    "[" * 60 + "]" * 60: "more than 48 deep",
    '{"a": NaN}': "holds NaN, which is no number",
    '{"a": -Infinity}': "holds -Infinity",
    '{"a": 1e999}': "holds inf",
    f'{{"a": {2**70}}}': f"the number {2**70}, and numbers have at most 64 bits",
    f'{{"a": {"9" * 5000}}}': "is not valid JSON",
    '{"a": 1, "a": 2}': "says 'a' twice",
    '{"a": "\\u0000"}': "a character of value 0",
    '{"a": "\\ud800"}': "half of a character",
    "{": "is not valid JSON",
    "": "is not valid JSON",
}
YAML = {
    LAUGHS: "aliases stand for more than",
    "a: &a [*a]": "more than 48 deep",
    "a: &a {b: *a}": "more than 48 deep",
    MERGES: "aliases stand for more than",
    DEEP[:5000]: "deep",
    "a: .nan": "holds nan",
    "a: 1\na: 2": "says 'a' twice",
    "1: a": "the key 1 is a int",
    "a: 2020-13-45": "month must be",
    "a: 2020-01-02": "holds a date",
    "a: !!binary x": "is not plain YAML data",
    "a: !!python/object/apply:os.system ['x']": "is not plain YAML data",
    f"a: {2**70}": "at most 64 bits",
    "a: !!int x": "is not plain YAML data",
    "a: [": "is not plain YAML data",
    "? {a: 1}\n: 2": "is not plain YAML data",
    "x" * 300_000: "write more than",
}


@pytest.mark.parametrize(("text", "said"), JSON.items(), ids=lambda text: text[:20])
def test_json_that_cannot_be_used_is_one_sentence(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse_json(text, said_by="x.json")
    assert str(caught.value).startswith("x.json is not valid JSON (")


@pytest.mark.parametrize(("text", "said"), YAML.items(), ids=lambda text: text[:20])
def test_yaml_that_cannot_be_used_is_one_sentence(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse_yaml(text, said_by="x.yaml")
    assert str(caught.value).startswith("x.yaml is not plain YAML data (")
    assert "\n" not in str(caught.value)


def test_what_is_plain_is_read_as_before():
    plain = {"a": [1, -2.5, None, True, "é", "\udc80"], "b": {}}
    assert parse_json(json.dumps(plain), said_by="x") == plain
    text = "base: &base {a: 1, b: [x]}\nc: {<<: *base, b: 2}\nd: *base\n"
    base = {"a": 1, "b": ["x"]}
    assert parse_yaml(text, said_by="x") == dict(base=base, c={"a": 1, "b": 2}, d=base)
    assert parse_yaml("", said_by="x") is None
    assert parse_literal("{0: (1, 'a'), 'b': None}") == {0: (1, "a"), "b": None}


@pytest.mark.parametrize("text", ["-" * 20_000 + "1", "(" * 500, "{[]: 1}", "1j", "b'x'", "...", "9" * 5000, "\0"])
def test_what_is_no_plain_value_of_python_stays_text(text):
    with pytest.raises(ValueError, match=r"is no value|holds a"):
        parse_literal(text)
    assert parse_overrides([f"a={text}"]) == {"a": text.strip()}


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"a": "\xe9"}', b"\0"])
def test_what_is_no_utf8_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json is not text in UTF-8"):
        read_text(tmp_path / "a.json")


READERS = {
    "classes": read_classes,
    "description": lambda path: read_description(path, beside=""),
    "subjects": lambda path: subjects_of(["a"], str(path), root=path.parent),
    "config": load_config,
}


@pytest.mark.parametrize(
    "text", [DEEP, '{"a": NaN}', f'{{"a": {2**70}}}', '{"a": "\\u0000"}', "{"], ids=lambda t: t[:12]
)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_json_names_the_file(tmp_path, reader, text):
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"some\.json.* is not valid JSON") as caught:
        READERS[reader](path)
    assert str(path) in str(caught.value)


def test_a_yaml_config_of_aliases_without_end_is_refused_at_once(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(LAUGHS)
    with pytest.raises(ValueError, match=r"some\.yaml: .*aliases stand for more than"):
        load_config(path)


@pytest.mark.parametrize("text", ["x = " + "(" * 1000, "x = " + "-" * 50_000 + "1", "x = '\xe9'", "x = \0"])
def test_a_python_config_that_cannot_be_parsed_is_one_sentence(tmp_path, text):
    path = tmp_path / "some.py"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"some\.py"):
        load_config(path)


@pytest.mark.parametrize("value", [2**70, -(2**64), float("nan"), 10**5000], ids=["2^70", "-2^64", "nan", "long"])
def test_an_option_that_no_array_holds_is_one_sentence(value):
    for kind in (int, float, int | None, dict[str, int]):
        given = {"b": value} if kind == dict[str, int] else value
        with pytest.raises(ValueError, match=r"^a.* must be .* got "):
            fit(given, kind, where="a")


def test_a_long_value_is_cut_off_in_a_message():
    with pytest.raises(ValueError, match="must be a whole number, got ") as caught:
        fit(["x"] * 10_000, int, where="a")
    assert len(str(caught.value)) < 300


def test_a_table_of_subjects_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "t.csv").write_text(f'a,"{"x" * 200_000}"')
    with pytest.raises(ValueError, match=r"t\.csv is no table"):
        subjects_of(["a"], "t.csv", root=tmp_path)
