"""The page of findings in a headless Chromium without a network."""

import pytest

from densevit.data.finding import Finding
from densevit.doctor.examine import examine
from densevit.report.pages.findings import findings_page
from tests.doctor.sets import MadeSet

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(params=[2, 3], ids=["pictures", "scans"])
def page(request, tmp_path):
    """Of a set with one flipped label, and of a finding whose words are hostile."""
    bad = MadeSet(request.param, tmp_path / "set", classes=("ground", SCRIPT, "tree"))
    bad.labels["train"][7] = bad.labels["train"][7][::-1]
    found = examine(bad.write())
    hostile = Finding(severity="note", check=SCRIPT, what=SCRIPT, mend=SCRIPT, files=(SCRIPT,), split=SCRIPT)
    datasets = {name: split.dataset for name, split in found.splits.items()}
    splits = [(SCRIPT, [{"class": each.name, SCRIPT: each.share} for each in found.splits["train"].classes])]
    return findings_page(tmp_path / "page.html", [*found.findings, hostile], datasets, title=SCRIPT, splits=splits)


def test_it_shows_its_pictures_and_asks_for_nothing(tab, page):
    tab.requests.clear()
    tab.open(page)
    assert tab.messages == tab.dialogs == []
    assert [address for address in tab.requests if not address.startswith(("file:", "data:"))] == []
    assert tab.run("[...document.images].map(picture => picture.naturalWidth > 0)") == [True]
    assert tab.run("document.querySelectorAll('section.finding').length") == 2
    assert tab.run("document.title") == SCRIPT
    assert tab.run("getComputedStyle(document.querySelector('.finding.warning')).borderLeftWidth") == "5px"
