"""Findings on a set as one file of HTML, with pictures of the files concerned; it opens without a network."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from densevit.data.dataset import Dataset
from densevit.data.finding import Finding
from densevit.quoting import printable
from densevit.report.thumbnails import thumbnail

PICTURES = 6  # of each finding
LISTED = 200  # names of files of each finding
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } h2 { font-size: 1.05rem; margin: 0 0 .3rem }
section { border-left: 5px solid #777; padding: .6rem 1rem; margin: 1rem 0; background: #f7f7f7 }
.error { border-color: #c22 } .warning { border-color: #d9661f } .note { border-color: #1f5fa8 }
.good { color: #2b8a57 } p, li, figcaption { overflow-wrap: anywhere; margin: .3rem 0 } .mend { color: #555 }
div { display: flex; flex-wrap: wrap; gap: .8rem } figure { margin: .4rem 0; max-width: 33rem }
img { display: block; max-width: 100% } figcaption { font-size: .75rem; color: #777; max-width: 18rem }
table { border-collapse: collapse; margin: .4rem 0 1.5rem } th, td { padding: .15rem .8rem .15rem 0; text-align: left }
th { border-bottom: 1px solid #bbb }
"""


def findings_page(
    findings: Sequence[Finding],
    datasets: Mapping[str, Dataset],
    *,
    title: str,
    splits: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
) -> str:
    """The page; `datasets` by split are where pictures come from, `splits` have a line and a table of classes each.

    Every name is escaped, and the page's own policy allows no request, no script and no style but its own.
    """
    engine = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
    )
    hashed = f"sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}"
    where = {name: (data, index) for data in datasets.values() for index, name in _places(data)}
    return engine.get_template("findings.html.j2").render(
        title=title,
        style=Markup(STYLE),
        style_hash=hashed,
        findings=[(finding, _pictures(finding, where)) for finding in findings],
        splits=splits,
        most=LISTED,
    )


def _places(data: Dataset) -> list[tuple[int, str]]:
    return [(index, path) for index, case in enumerate(data.cases) for path in case.files]


def _pictures(finding: Finding, where: Mapping[str, tuple[Dataset, int]]) -> list[tuple[str, str]]:
    """(name, address) of those of the first files that can be read."""
    shown = []
    for name in finding.files[:PICTURES]:
        if name not in where:
            continue
        data, index = where[name]
        for each in (data, _unlabelled(data, index)):  # a wrong label leaves the image to be shown
            with suppress(ValueError, OSError, MemoryError):  # the finding says so
                sample = each.inspect(index if each is data else 0)[1]
                shown.append((Path(name).name, thumbnail(sample, palette=data.palette)))
                break
    return shown


def _unlabelled(data: Dataset, index: int) -> Dataset:
    """The set with one of its samples alone, without the label."""
    alone = copy(data)
    alone.cases = [replace(data.cases[index], label=None)]
    return alone
