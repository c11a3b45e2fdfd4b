"""The page of an evaluation: what it holds, that it loads nothing, and that names are escaped in it."""

import gzip
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape

import nibabel
import numpy as np
import pytest

from densevit.cli import main
from tests.report.evaluated import SCRIPT, scans, streets, write_page


def test_a_page_holds_all_that_it_shows(of_streets):
    text = of_streets.read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "http:" not in text
    assert "https:" not in text


@pytest.mark.parametrize("kind", ["style", "script"])
def test_the_policy_of_a_page_allows_its_own_style_and_script_alone(of_streets, kind):
    text = of_streets.read_text()
    (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy).split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules[f"{kind}-src"] == f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def test_names_are_escaped(of_streets):
    text = of_streets.read_text()
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<img" not in text


@pytest.mark.parametrize(
    "words", ["Means over cases", "Confusion", "Strata", "Models by dice", "1 predictions are missing: e"]
)
def test_a_page_has_a_part_for_all_there_is(of_streets, words):
    assert words in of_streets.read_text()


def test_a_page_leaves_out_what_there_is_not(of_scans):
    text = of_scans.read_text()
    assert not [part for part in ("Strata", "Models by", "are missing") if part in text]


def test_the_case_without_a_prediction_is_the_worst(of_streets):
    first, *others = re.findall(r"<h3>(worst|median): (.*), dice", of_streets.read_text())
    assert first == ("worst", "e")
    assert others[0][1].startswith("&#34;&gt;&lt;img")
    assert [place for place, _ in others] == ["worst"] * 3 + ["median"]


def test_a_volume_is_first_shown_where_its_largest_error_is(of_scans):
    shown = re.findall(r'<span data-slice="\d+">(\w+) (\d+) of (\d+)</span>', of_scans.read_text())
    assert [(view, int(size)) for view, _, size in shown] == [("axial", 16), ("coronal", 24), ("sagittal", 20)]
    assert 9 < int(shown[0][1]) <= 12


def test_where_a_voxel_may_be_of_two_structures_there_is_no_confusion(tmp_path):
    folder = scans(tmp_path, {"background": 0, "liver": 1, "either": [1, 2]})
    assert "Confusion" not in write_page(folder, predicted="predicted").read_text()


def test_a_page_of_a_policy_without_means_over_cases(tmp_path):
    text = write_page(streets(tmp_path), "--policy", "mmseg").read_text()
    assert "Means over cases" not in text
    assert "over all pixels of the set" in text


def test_images_need_a_page(tmp_path, capsys):
    folder = scans(tmp_path, {"liver": 1})
    words = ["evaluate", folder / "predicted", folder / "truth", "--images", folder]
    assert main([*map(str, words)]) == 2
    assert "give --report FILE as well" in capsys.readouterr().err


def test_what_the_viewer_is_given_are_files_of_the_label_on_its_own_grid(of_scans):
    text = re.search(r'data-file="truth">([^<]*)<', of_scans.read_text())[1]
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(b64decode(text)))
    own = nibabel.load(of_scans.parent / "truth" / "a.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), np.asarray(own.dataobj))
    assert np.allclose(image.affine, own.affine)


def test_pages_of_pictures_hold_no_viewer(of_streets, of_scans):
    assert "niivue" not in of_streets.read_text()
    assert "Copyright (c) 2021, Niivue" in of_scans.read_text()
