"""What the README and the docs show: their Python runs, and the files that they name exist."""

import re
import shlex
import warnings
from pathlib import Path

import pytest

from densevit.cli.main import build_parser
from densevit.weights import known_families, known_sources
from tools.peers import import_mmseg, import_peer

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
OTHER_PAGES = [REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "data").glob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
NAMED_FILE = re.compile(r"\b(?:tools|configs|docs|tests|examples)/[\w/]+\.(?:py|sh|md|txt)\b")


def shown_commands(text: str) -> list[str]:
    """Lines of the verbs below, by script or by `densevit`, as the parser of `densevit` reads them."""
    joined = text.replace("\\\n", " ")
    verbs = "train|test|predict|evaluate|report|analyze|doctor|fingerprint|export|import|models"
    by_script = r"\S*python\S* tools/(train|test|predict|evaluate|report|analyze|doctor)\.py"
    script = rf"^(?:\$ )?(?:{by_script}|densevit ({verbs})) ([^#&|\n]+)"
    return [f"{a or b} {rest.strip()}" for a, b, rest in re.findall(script, joined, re.MULTILINE)]


def python_blocks(page: Path) -> list[tuple[int, str]]:
    """Each piece of Python in a page, with the line at which it stands."""
    text = page.read_text()
    return [(text[: match.start()].count("\n") + 1, match[1]) for match in FENCE.finditer(text)]


def name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to run in that has the project's configs and tools, and in which nothing is spoilt."""
    for name in ("configs", "tools"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def families():
    """What a page registers is known while the page runs."""
    before = dict(known_families()), dict(known_sources())
    yield
    for known, registered in zip((known_families(), known_sources()), before, strict=True):
        known.clear()
        known.update(registered)


@pytest.mark.usefixtures("elsewhere", "families")
@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name)
def test_shown_code_runs_from_the_top_of_the_page_to_its_end(page):
    if page.stem == "mmsegmentation":
        import_mmseg()
    if page.stem == "nnunet_networks":
        import_peer("dynamic_network_architectures")
    if page.stem == "whole_networks":
        import_peer("segmentation_models_pytorch")
        import_peer("transformers")
    namespace = {"__name__": "shown"}
    with warnings.catch_warnings():
        if page.stem == "monai":
            warnings.simplefilter("ignore")  # what MONAI says about torch and numpy
        for line, source in python_blocks(page):
            padded = "\n" * line + source  # so that a traceback names the line of the page
            exec(compile(padded, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=name)
def test_links_lead_somewhere(page):
    assert [
        link for link in LINK.findall(ANY_CODE.sub("", page.read_text())) if not (page.parent / link).exists()
    ] == []


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=name)
def test_named_files_exist(page):
    assert [
        file for file in NAMED_FILE.findall(FENCE.sub("", page.read_text())) if not (REPOSITORY / file).exists()
    ] == []


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=name)
def test_shown_commands_have_arguments_that_the_command_line_knows(page):
    for command in shown_commands(page.read_text()):
        build_parser().parse_args(shlex.split(command))


def test_the_readme_shows_a_model_in_2d_and_in_3d_on_its_first_screen():
    first = (REPOSITORY / "README.md").read_text().splitlines()[:20]
    assert sum("create_segmentor(" in line for line in first) == 2
    assert any("spatial_dims=3" in line for line in first)
