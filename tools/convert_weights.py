"""Convert a released checkpoint to our safetensors: `python tools/convert_weights.py mit_b2.pth mit_b2.safetensors`.

IN is a file, or the name of published weights (`densevit weights list`), which are fetched. The model is recognised by
its tensors; the options below overrule that. Exit code 2 and one sentence on any fault.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

import densevit
from densevit.data.layouts import ade20k, cityscapes
from densevit.data.layouts.classes import read_classes
from densevit.imports import import_modules
from densevit.quoting import message, printable
from densevit.texts import parse_literal
from densevit.weights import (
    describe,
    guess_source,
    known_sources,
    load_weights,
    locate,
    needed_options,
    read_checkpoint,
    save_weights,
    sources_of,
    to_ours,
)

SETS = dict(cityscapes=cityscapes, ade20k=ade20k)  # whose classes can be named by these words


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, as attributes."""
    sources = "; ".join(f"{name}: {source.title}" for name, source in known_sources().items())
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], epilog=f"Sources: {sources}.")
    parser.add_argument("input", type=Path, help=".pth, .pt, .bin or .safetensors, or a name of published weights")
    parser.add_argument("output", type=Path, help=".safetensors to write")
    parser.add_argument("--source", help="key map, or publisher (timm); guessed from the tensors' names")
    parser.add_argument("--backbone", "--model", metavar="NAME", help="such as mit_b2; recognised by its tensors")
    parser.add_argument("--decoder", metavar="NAME", help="decoder of a whole model; recognised by its tensors")
    parser.add_argument("--backbone-options", nargs="+", metavar="K=V", help="such as merge_order=legacy", default=())
    parser.add_argument("--decoder-options", nargs="+", metavar="K=V", help="such as dim=256", default=())
    parser.add_argument("--num-classes", type=int, help="classes of the model; those of the file")
    parser.add_argument(
        "--custom-imports", action="append", metavar="MODULE", default=[], help="a module of your own to import first"
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="what the classes are called: cityscapes, ade20k, or a file as data sets have it (classes.txt or .json)",
    )
    parser.add_argument("--in-channels", type=int, help="input channels of the model; those of the file")
    parser.add_argument("--spatial-dims", type=int, choices=(2, 3), help="rank of the model; that of the file")
    parser.add_argument("--new-head", action="store_true", help="fresh classifier, for other classes than the file's")
    parser.add_argument("--adapt-channels", choices=("sum", "tile"), help="fit the first layer to --in-channels")
    parser.add_argument("--inflate", choices=("center", "mean"), help="fit 2D weights to --spatial-dims 3")
    parser.add_argument("--backbone-only", action="store_true", help="leave out decoder and head")
    parser.add_argument("--classifier", action="store_true", help="keep the head that classifies whole images")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; 0, or 2 after a sentence on standard error."""
    args = parse(argv)
    try:
        return convert(args)
    except (ValueError, KeyError, TypeError, OSError) as error:
        sentence = error.args[0] if isinstance(error, KeyError) else error
        print(f"convert_weights: {message(sentence)}", file=sys.stderr)
        return 2


def convert(args: argparse.Namespace) -> int:
    """Read, recognise, load into a model of ours, write; prints the report."""
    import_modules(args.custom_imports, folders=[Path()])
    if args.output.suffix != ".safetensors":
        raise ValueError(f"the output must end in .safetensors, got {args.output}")
    fetched = locate(args.input)
    state, meta = read_checkpoint(fetched.path)
    asked = args.source or (fetched.origin and fetched.origin.source)
    source = guess_source(state, among=asked)
    ours = to_ours(state, source)
    described = meta.get("model") if source == "densevit" else None
    options = model_options(ours.state, args, source=source, described=described)
    model, given = build(options), _parse_pairs(args.backbone_options)
    needed = {} if known_sources()[source].unsure and asked != source else needed_options(model.modules(), source)
    if source != "densevit" and needed.keys() - given.keys():
        options["backbone_options"] = {**options.get("backbone_options", {}), **needed, **given}
        model = build(options)
    report = load_weights(
        model,
        fetched,
        source=asked,
        new_head=args.new_head,
        adapt_channels=args.adapt_channels,
        inflate=args.inflate,
    )
    kept = {} if args.new_head else classes_of(meta, options.get("num_classes"))
    if "num_classes" in options:
        kept |= named_classes(args, options["num_classes"], known="classes" in kept)
    if fetched.origin is not None or report.origin.started_from is not None:
        kept["started_from"] = [report.origin.as_dict()]
    save_weights(model, args.output, config={"model": options, **kept, "converted": {"source": source}})
    print(printable(report, keep="\n"))
    count = sum(p.numel() for p in model.parameters())
    print(f"wrote {message(args.output)}: {options['backbone']}, {count:,} parameters")
    return 0


def model_options(
    state: dict, args: argparse.Namespace, *, source: str, described: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the model of these tensors is built from: a `Segmentor`, a `Classifier` with "class_head", or a backbone.

    `described` are the options that our own files hold.
    """
    found, described = describe(state), described if isinstance(described, Mapping) else {}
    backbone = args.backbone or described.get("backbone") or _choose(found.backbones, source)
    if backbone is None:
        raise ValueError(f"the backbone of {args.input} is none that we know by its tensors; name it with --backbone")
    known = described.get("backbone_options", found.backbone_options) if args.backbone is None else {}
    options = {
        "backbone": backbone,
        "spatial_dims": args.spatial_dims or found.spatial_dims or 2,
        "in_channels": args.in_channels or found.in_channels or 3,
        **_if_any(backbone_options={**known, **_parse_pairs(args.backbone_options)}),
    }
    if args.classifier:
        if found.class_head is None and not args.new_head:
            raise ValueError(f"{args.input} holds no classifier of whole images; leave --classifier out")
        options["backbone_options"] = {**found.told, **known, **_parse_pairs(args.backbone_options)}
        return options | {"class_head": found.class_head, "num_classes": args.num_classes or found.num_classes}
    decoder = args.decoder or described.get("decoder") or found.decoder
    if args.backbone_only or decoder is None:
        return options
    options |= {"decoder": decoder, "num_classes": args.num_classes or found.num_classes}
    if options["num_classes"] is None:
        raise ValueError(f"{args.input} holds no classifier; say --num-classes and --new-head, or --backbone-only")
    known = described.get("decoder_options", found.decoder_options) if args.decoder in (None, found.decoder) else {}
    return options | _if_any(decoder_options={**known, **_parse_pairs(args.decoder_options)})


def _choose(names: Sequence[str], source: str) -> str | None:
    """The name whose family has this release, where several backbones have the same tensors."""
    return next((name for name in names if source in sources_of(name)), next(iter(names), None))


def _parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """["dim=256", "merge_order=legacy"] -> {"dim": 256, "merge_order": "legacy"}."""
    parsed = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ValueError(f"options are written key=value, got {pair!r}")
        try:
            parsed[key] = parse_literal(value)
        except ValueError:
            parsed[key] = value
    return parsed


def _if_any(**options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value}


def build(options: dict[str, Any]) -> nn.Module:
    """The model of these options."""
    if "decoder" in options:
        return densevit.create_segmentor(**options)
    shape = dict(spatial_dims=options["spatial_dims"], in_channels=options["in_channels"])
    shape |= options.get("backbone_options", {})
    if "class_head" not in options:
        return densevit.create_backbone(options["backbone"], **shape)
    head = options["class_head"] if options["class_head"] == "map" else None  # the others come with their family
    return densevit.create_classifier(options["backbone"], num_classes=options["num_classes"], head=head, **shape)


def classes_of(meta: dict, num_classes: int | None) -> dict[str, list]:
    """Names and colours of the classes, where the checkpoint has them for exactly these classes."""
    described = meta.get("dataset_meta") if isinstance(meta.get("dataset_meta"), dict) else meta
    described = {str(key).lower(): value for key, value in described.items()}
    classes, palette = described.get("classes"), described.get("palette")
    found = {}
    if _is_sequence(classes) and len(classes) == num_classes and all(isinstance(name, str) for name in classes):
        found["classes"] = list(classes)
    if _is_sequence(palette) and len(palette) == num_classes and all(map(_is_colour, palette)):
        found["palette"] = [list(colour) for colour in palette]
    return found


def named_classes(args: argparse.Namespace, num_classes: int, *, known: bool) -> dict[str, list]:
    """Names, colours and label values of the classes that --classes names, or, where none are `known`, the file's name.

    ValueError where they are not as many as the model's outputs.
    """
    name = args.classes
    if name is None and not known and not args.new_head:
        parts = args.input.name.lower()
        said = (each for each in SETS if re.search(f"(?<![a-z]){each.removesuffix('20k')}", parts))
        found = [each for each in said if len(SETS[each].CLASSES) == num_classes]
        name = found[0] if len(found) == 1 else None
        if name is not None:
            print(
                f"the {num_classes} classes are taken for those of {name}, as the file's name says; --classes overrules"
            )
    if name is None:
        return {}
    if name in SETS:
        said = dict(classes=list(SETS[name].CLASSES), palette=[list(color) for color in SETS[name].PALETTE])
        counts_from_1 = name == "ade20k"
    else:
        file = read_classes(name)
        said = dict(classes=list(file.classes), **_if_any(palette=file.palette and [list(c) for c in file.palette]))
        counts_from_1 = bool(file.reduce_zero_label)
    if len(said["classes"]) != num_classes:
        raise ValueError(
            f"--classes {name} names {len(said['classes'])} classes, and the model has {num_classes} outputs"
        )
    return said | _if_any(label_values=counts_from_1 and list(range(1, num_classes + 1)))


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_colour(value: Any) -> bool:
    return _is_sequence(value) and len(value) == 3 and all(isinstance(part, int) and 0 <= part < 256 for part in value)


if __name__ == "__main__":
    sys.exit(main())
