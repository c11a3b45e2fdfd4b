"""List published weights, show what is known of one, or fetch it into the cache.

`list` shows names, licences and scores, `show NAME` all that is known of one and the line that loads it, `fetch NAME`
downloads it, so that later runs need no network, and prints where it lies.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.cli.models import matches
from densevit.files import write_text

if TYPE_CHECKING:
    from densevit.weights import PublishedFile

SAID = {True: "yes", False: "no", None: "unknown"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `weights`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = _add_action(actions, "list", _list, "names, licences and scores of those that are known")
    listing.add_argument("name", nargs="?", default="*", help="a backbone, or part of a name: mit_b2, 'timm/pvt*'")
    showing = _add_action(actions, "show", _show, "all that is known of one, and the line that loads it")
    fetching = _add_action(actions, "fetch", _fetch, "download one into the cache, and print where it lies")
    for action in (listing, showing):
        action.add_argument("--json", metavar="FILE", help="write what is known as JSON as well")
    for action in (listing, fetching):
        action.add_argument(
            "--commercial", action="store_true", help="only weights whose licences are known to permit commercial use"
        )
    for action in (showing, fetching):
        action.add_argument("name", help="one of the list, or a short name such as imagenet with --backbone")
        action.add_argument("--backbone", metavar="NAME", help="of which a short name is meant")
        action.add_argument("--decoder", metavar="NAME", help="with which a short name is meant, such as cityscapes")
    fetching.add_argument("--revision", help="a branch, tag or commit of the repository in place of the record's")
    fetching.add_argument("--file", help="a file of the repository in place of the record's")
    fetching.add_argument("--sha256", metavar="DIGITS", help="with which the SHA-256 of the file must begin")


def _add_action(actions: Any, name: str, act: Callable[[argparse.Namespace], int], text: str) -> Any:
    parser = actions.add_parser(name, help=text, description=f"{name}: {text}", allow_abbrev=False)
    parser.set_defaults(act=act)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what was asked; the exit code is 0."""
    return args.act(args)


def _list(args: argparse.Namespace) -> int:
    from densevit.tables import format_table
    from densevit.weights import known_weights, list_weights

    known, asked = known_weights(), args.name
    names = list_weights(commercial=args.commercial)
    found = [known[name] for name in names if asked in (known[name].backbone, known[name].short)]
    found = found or [known[name] for name in names if matches(name, asked) or matches(known[name].backbone, asked)]
    if not found:
        permitted = " whose licence is known to permit commercial use" if args.commercial else ""
        raise ValueError(f"no published weights{permitted} match {asked!r}; `densevit weights list` shows all")
    rows = [_facts(file) for file in found]
    shown = ("name", "model", "short", "licence", "commercial", "trained_on", "score")
    sys.stdout.write(format_table([{key: row[key] for key in shown} for row in rows]) + "\n")
    _write(args, rows)
    return 0


def _show(args: argparse.Namespace) -> int:
    from densevit.weights.named import find_published, unknown_name

    found = find_published(args.name, backbone=args.backbone, decoder=args.decoder)
    if found is None:
        raise FileNotFoundError(unknown_name(args.name))
    facts = _facts(found)
    for key, value in facts.items():
        sys.stdout.write(f"{key:<14}{'-' if value is None else value}\n")
    sys.stdout.write(f"\n{loading_line(found)}\n")
    _write(args, facts)
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from densevit.weights import fetch_weights

    choice = {key: getattr(args, key) for key in ("revision", "file", "sha256", "commercial", "backbone", "decoder")}
    fetched = fetch_weights(args.name, **choice)
    sys.stdout.write(f"{fetched.path}\n")
    if fetched.origin.licence is not None:
        sys.stderr.write(f"{fetched.name}: {fetched.origin}\n")
    return 0


def loading_line(file: "PublishedFile") -> str:
    """Python that makes the model and loads the file into it."""
    from densevit.weights import published_options

    if file.decoder is None:
        options = "".join(f", {key}={value!r}" for key, value in file.options.items())
        return f'densevit.create_backbone("{file.backbone}"{options}, weights="{file.name}")'
    usual = published_options(file.backbone, file.decoder)
    given = {
        "backbone_options": dict(file.options),
        "decoder_options": {key: value for key, value in file.decoder_options.items() if usual.get(key) != value},
    }
    options = "".join(f", {key}={value!r}" for key, value in given.items() if value)
    return (
        f'densevit.create_segmentor("{file.backbone}", "{file.decoder}", num_classes={file.num_classes}{options}, '
        f'weights="{file.name}")'
    )


def _facts(file: "PublishedFile") -> dict[str, Any]:
    """What is known, by the words of a table; None where our sources do not say it."""
    from densevit.weights import known_weights, origin_of_published

    normalization = file.normalization and {k: v for k, v in file.normalization.items() if k != "type"}
    return dict(
        name=file.name,
        model=file.model,
        classes=file.num_classes,
        short=file.short,
        licence=file.licence,
        commercial=SAID[origin_of_published(file, known_weights()).commercial],
        started_from=file.started_from,
        trained_on=file.trained_on,
        score=file.score,
        options={**file.options, **file.decoder_options} or None,
        normalization=normalization,
        lies_at=file.address or f"{file.name} of the Hugging Face hub, {' or '.join(file.files)}",
        revision=file.revision,
        sha256=file.sha256,
        gated="its terms must be accepted on its page" if file.gated else None,
        source=file.source,
    )


def _write(args: argparse.Namespace, content: Any) -> None:
    if args.json:
        write_text(Path(args.json), json.dumps(content, indent=2) + "\n")
