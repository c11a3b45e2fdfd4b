"""What an analysis found, as one file of HTML that holds its pictures and opens without a network."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densevit.evaluate.confused import Matrix
from densevit.report.pages.html import write_page


@dataclass(frozen=True)
class Section:
    """A heading with sentences, a table of equal rows, a matrix, and pictures (caption, PNG file)."""

    title: str
    sentences: Sequence[str] = ()
    table: Sequence[Mapping[str, Any]] = ()
    matrix: Matrix | None = None
    pictures: Sequence[tuple[str, Path]] = field(default_factory=list)


def analysis_page(path: str | Path, sections: Sequence[Section], *, title: str) -> Path:
    """Write the page."""
    pictures = [[(caption, _address(each)) for caption, each in section.pictures] for section in sections]
    return write_page(path, "analysis.html.j2", title=title, sections=list(zip(sections, pictures, strict=True)))


def _address(picture: Path) -> str:
    return f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
