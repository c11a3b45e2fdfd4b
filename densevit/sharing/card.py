"""The card of a model: what it is, on what it was trained, how well it does, and what it began with, as Markdown.

Everything comes from the run and from the header of its weights; what neither says is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from densevit.checkpoint import Header
from densevit.quoting import printable
from densevit.runs.folder import section
from densevit.runs.run import Run
from densevit.tables import format_table
from densevit.weights import Origin, read_origins

CARD, PICTURES = "README.md", "pictures"
LICENCES = ("Apache-2.0", "MIT", "CC-BY-NC-4.0", "BSD-3-Clause")  # which the hub writes in small letters
PERMITTED = {
    True: "All of these licences permit commercial use.",
    False: "**These licences do not permit commercial use of this model.**",
    None: "Whether all of these may be used commercially is not known.",
}


def model_card(
    header: Header,
    *,
    title: str,
    run: Run | None = None,
    licence: str | None = None,
    pictures: Sequence[str] = (),
    repository: str = "USER/MODEL",
) -> str:
    """A README.md with the metadata that the hub reads at its beginning.

    `licence` is what the author gives the weights; `pictures` are paths of files beside the card, `repository` the name
    under which it can be fetched.
    """
    parts = [
        _metadata(header, licence),
        f"# {printable(title)}\n",
        _model(header),
        _use(header, repository),
        *([_data(run), _scores(run)] if run else []),
        _licences(header, licence),
        "".join(f"![image, truth and prediction]({path})\n" for path in pictures),
    ]
    return "\n".join(part for part in parts if part)


def _metadata(header: Header, licence: str | None) -> str:
    task = "image-classification" if header.is_of_classifier else "image-segmentation"
    said = dict(library_name="densevit", pipeline_tag=task, tags=["densevit", str(header.model["backbone"])])
    if licence is not None:
        said |= dict(license=licence.lower()) if licence in LICENCES else dict(license="other", license_name=licence)
    bases = [each.name for each in read_origins(header.started_from) or () if "/" in each.name]
    return f"---\n{yaml.safe_dump(said | (dict(base_model=bases) if bases else {}), sort_keys=False)}---\n"


def _model(header: Header) -> str:
    names = [str(header.model.get(key)) for key in ("backbone", "decoder") if header.model.get(key)]
    seen = "scans" if header.is_of_volumes else "pictures" if header.clips is None else "videos"
    classes = ", ".join(map(printable, header.classes))
    normalization = {key: value for key, value in header.normalization.items() if value is not None}
    return (
        f"{' + '.join(names)} of {seen} with {header.image_channels} channels, made with densevit {header.version}.\n\n"
        f"* Classes: {classes}\n* Images are normalised by `{normalization}`.\n"
        + (f"* Spacing in millimetres: {header.spacing}\n" if header.spacing is not None else "")
    )


def _use(header: Header, repository: str) -> str:
    example = "scan.nii.gz" if header.is_of_volumes else "photo.jpg"
    command = "classify" if header.is_of_classifier else "predict"
    out = "" if header.is_of_classifier else " -o out"
    return (
        f"```bash\npip install 'densevit[hub]'\ndensevit {command} hf:{repository} {example}{out}\n```\n\n"
        f'```python\nimport densevit\n\nmodel = densevit.from_pretrained("{repository}")\n```\n'
    )


def _data(run: Run) -> str:
    facts = run.facts()
    lines = [
        f"* {what}: {_described(section(run.settings, key, 'dataset'))}"
        + (f", {facts[f'{what} images']} images" if facts.get(f"{what} images") else "")
        for key, what in (("train_data", "training"), ("val_data", "validation"))
        if section(run.settings, key, "dataset")
    ]
    return "## Data\n\n" + "\n".join(lines) + "\n" if lines else ""


def _described(dataset: Mapping[str, Any]) -> str:
    """Its type and split; where it lies on the author's machine is nobody's business."""
    split = dataset.get("split")
    return f"`{dataset.get('type')}`" + (f", split `{split}`" if split else "")


def _scores(run: Run) -> str:
    if run.best is None:
        return ""
    rows = [{"score": run.metric, "value": run.best.value, "at iteration": run.best.iteration}]
    by_class = [{"class": printable(name), **scores} for name, scores in (run.best.classes or {}).items()]
    config = section(run.settings, "name") or run.name
    tables = [format_table(found, style="markdown") for found in (rows, by_class) if found]
    return (
        f"## Scores\n\nOn its validation images, in percent, by `densevit train {printable(config)}.py`, "
        f"{run.iterations} iterations, seed {section(run.settings, 'seed')}.\n\n" + "\n\n".join(tables) + "\n"
    )


def _licences(header: Header, licence: str | None) -> str:
    begun = read_origins(header.started_from)
    if begun is None:
        began = "What its training began with is not known.\n"
    elif not begun:
        began = "Its training began with no weights of others.\n"
    else:
        chain = [each for first in begun for each in (first, *first.chain())]
        chained = Origin(name="", source="densevit", started_from=begun)
        began = "Its training began with\n\n" + "".join(f"* {_in_words(each)}\n" for each in chain)
        began += f"\n{PERMITTED[chained.commercial]}\n"
    own = f"The weights are under {printable(licence)}. " if licence else ""
    return f"## Licences\n\n{own}{began}"


def _in_words(origin: Origin) -> str:
    at = f" at `{origin.revision}`" if origin.revision else ""
    trained = f", trained on {origin.trained_on}" if origin.trained_on else ""
    return printable(f"{origin.name}{at}: {origin.licence or 'no licence that is known'}{trained}")
