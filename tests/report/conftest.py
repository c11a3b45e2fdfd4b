"""Pages of an evaluation, made once, and a tab of a browser to look at them."""

import pytest

from tests.report.browser import COMMAND, browser
from tests.report.evaluated import scans, streets, write_page


@pytest.fixture(scope="session")
def of_streets(tmp_path_factory):
    folder = streets(tmp_path_factory.mktemp("streets"))
    table = ("--table", folder / "table.csv", "--strata", "town")
    return write_page(folder, "--against", folder / "poor", "--images", folder / "images", *table)


@pytest.fixture(scope="session")
def of_scans(tmp_path_factory):
    folder = scans(tmp_path_factory.mktemp("scans"), {"background": 0, "liver": 1})
    return write_page(folder, predicted="predicted")


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    if COMMAND is None:
        pytest.skip("no Chromium is installed; Debian calls it chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
