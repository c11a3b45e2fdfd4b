"""Save a model with its card, share it on the Hugging Face hub, and get it back."""

import shutil
import tempfile
from pathlib import Path

from torch import nn

from densevit.checkpoint import (
    Header,
    build_backbone,
    build_classifier,
    build_clip,
    build_model,
    find_weights,
    open_checkpoint,
    write_checkpoint,
)
from densevit.files import write_text
from densevit.report.board import board_pictures, save_pictures
from densevit.runs.folder import BOARD, is_run
from densevit.runs.run import Run, open_runs
from densevit.sharing.card import CARD, PICTURES, model_card
from densevit.weights.files import WEIGHTS
from densevit.weights.named import HUB, check_commercial, fetch_weights
from densevit.weights.origin import Origin, read_origins, say_licence

MOST_PICTURES = 4


def save_pretrained(
    source: str | Path | nn.Module,
    folder: str | Path,
    *,
    header: Header | None = None,
    title: str | None = None,
    licence: str | None = None,
    repository: str = "USER/MODEL",
) -> Path:
    """Write a folder that others can use: weights.safetensors with its header, and a card made from the run.

    `source` is the folder of a run, whose best weights are taken, a checkpoint, or a module with its `header`.
    `licence` is what you give the weights; what they began with stands in the card in any case. Returns the folder;
    raises FileNotFoundError and ValueError for a source that is no checkpoint.
    """
    folder, run = Path(folder), None
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, nn.Module):
        if header is None:
            raise ValueError("a module needs the header that says what it is; give header=Header(model=...), or a run")
        write_checkpoint(folder / WEIGHTS, source, header)
    else:
        header = open_checkpoint(source, classifiers=True, backbones=True).header  # read whole, and so checked
        path = find_weights(source)
        if path.resolve() != (folder / WEIGHTS).resolve():
            shutil.copyfile(path, folder / WEIGHTS)
        run = open_runs([source])[0] if is_run(Path(source)) else None
    pictures = [] if run is None else _pictures(run, folder)
    title = title or (run.name if run else folder.resolve().name)
    about = dict(title=title, run=run, licence=licence, pictures=pictures, repository=repository)
    write_text(folder / CARD, model_card(header, **about))
    return folder


def _pictures(run: Run, folder: Path) -> list[str]:
    """Some that the run drew of its best validation, as files beside the card."""
    drawn = board_pictures(run.folder / BOARD, iteration=run.best.iteration if run.best else None)
    chosen = dict(list(drawn.items())[:MOST_PICTURES])
    return [f"{PICTURES}/{path.name}" for path in save_pictures(chosen, folder / PICTURES)]


def from_pretrained(source: str | Path, *, revision: str | None = None, commercial: bool = False) -> nn.Module:
    """The model of a folder that `save_pretrained` wrote, of a run, or of a repository "USER/MODEL" of the hub.

    It comes with its weights, on the CPU and in eval mode: a `Segmentor`, `Classifier`, `Clip`, or the backbone in a
    `FeatureModel`. `revision` is a branch, tag or commit; `commercial` refuses what began with weights that are not
    known to permit commercial use. `fetch_weights` and `open_checkpoint` say what is raised.
    """
    path = Path(source)
    if not path.exists():
        name = str(source) if str(source).startswith(HUB) else f"{HUB}{source}"
        path = fetch_weights(name, revision=revision, file=WEIGHTS).path
    opened = open_checkpoint(path, classifiers=True, backbones=True)
    header = opened.header
    origin = Origin(name=str(source), source="densevit", started_from=read_origins(header.started_from))
    if commercial:
        check_commercial(origin)
    say_licence(origin)
    if header.is_of_clip:
        return build_clip(opened)
    build = build_classifier if header.is_of_classifier else build_backbone if header.is_of_backbone else build_model
    return build(opened)


def push_to_hub(
    source: str | Path | nn.Module,
    repository: str,
    *,
    header: Header | None = None,
    title: str | None = None,
    licence: str | None = None,
    private: bool = False,
    message: str = "Share a model of densevit",
) -> str:
    """Save as `save_pretrained` does and upload it to the repository "USER/MODEL"; returns its address.

    The repository is made where there is none. You must be logged in (`hf auth login`, or HF_TOKEN).
    """
    from densevit.weights.hub import upload_folder

    with tempfile.TemporaryDirectory() as folder:
        about = dict(header=header, title=title or repository.rpartition("/")[2], licence=licence)
        save_pretrained(source, folder, repository=repository, **about)
        return upload_folder(Path(folder), repository, private=private, message=message)
