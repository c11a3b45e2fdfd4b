"""Templates -> one file of HTML that holds everything it shows and may load nothing.

Names of files, classes and cases are escaped by the templates' engine wherever they stand. A Content-Security-Policy
allows the page's own style and script by their hashes, and pictures that are in the page; nothing else.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from densevit.files import write_text
from densevit.labels import Color
from densevit.quoting import printable
from densevit.report.saving import BLUE, GREEN, INK, LINE, ORANGE, PURPLE, QUIET

TEMPLATES = Path(__file__).parent / "templates"
COLORS = dict(ink=INK, quiet=QUIET, line=LINE, blue=BLUE, orange=ORANGE, green=GREEN, purple=PURPLE)


def write_page(path: str | Path, template: str, *, viewer: bool = False, **content: Any) -> Path:
    """Fill a template that extends `page.html.j2`, and put the page at `path` in one step; with the viewer's script
    where it is asked for."""
    path, engine = Path(path), _engine()
    style = Markup(engine.get_template("page.css.j2").render())
    names = ["page.js", *(["niivue.js", "viewer.js"] if viewer else [])]
    scripts = [Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in names]
    hashes = dict(style_hash=_hash(style), script_hashes=[_hash(script) for script in scripts])
    write_text(path, engine.get_template(template).render(style=style, scripts=scripts, **hashes, **content))
    return path


def number(value: float) -> str:
    """Four digits; "-" where there is no value."""
    return "-" if isnan(value) else f"{value:#.4g}".rstrip(".")


def percent(value: float) -> str:
    """A share in percent, "-" where there is no value."""
    return f"{100 * value:.2f}" if isfinite(value) else "-"


def web_color(color: Color) -> str:
    """As style and SVG write it."""
    return f"#{bytes(color).hex()}"


def cut(text: Any, length: int) -> str:
    """Text of at most so many characters, the middle of a longer one left out."""
    text = printable(text)
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - 1 - half]}…{text[-half:]}"


@cache
def _engine() -> Environment:
    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= dict(number=number, percent=percent, cut=cut)
    engine.globals |= dict(colors=COLORS)
    return engine


def _visible(value: Any) -> Any:
    """What a name holds of controls, or of characters that turn the direction of writing, is seen as such."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
