"""Classes by their names for the models of pictures and scans: a CLIP in, a segmentor or a classifier out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from densevit.checkpoint import Checkpoint, Header, build_clip, build_model
from densevit.clip import Clip
from densevit.clip.prompts import TEMPLATES, class_embeddings
from densevit.clip.tokenizer import TextTokenizer
from densevit.clip.zero_shot import ZeroShotClassifier, dense_state
from densevit.inference import InferenceOptions
from densevit.labels import default_palette
from densevit.predictor.clip_files import open_clip, tokenizer_of
from densevit.segmentor import Segmentor, create_segmentor
from densevit.weights.names import UNREAD, is_like

BOX = 3  # pictures are fitted into a box of so many windows along each side


def create_zero_shot_segmentor(
    checkpoint: str | Path | Checkpoint,
    classes: Sequence[str],
    *,
    templates: Sequence[str] | None = None,
    tokenizer: TextTokenizer | None = None,
    prompt_denoising: float = 0.0,
    key_smoothing: float = 0.0,
) -> Segmentor:
    """A segmentor of classes that nobody trained it for, from a CLIP, as MaskCLIP makes it: (B, C, *S) -> (B, K, *S).

    `checkpoint` is what `open_clip` reads: a run with task="clip", or a file of OpenAI, open_clip or transformers.
    `templates` are texts with {} for the name, as in training, or "a photo of a {}."; `tokenizer` is by default that of
    the checkpoint or of the files beside it. `prompt_denoising` (0.5 in the paper) takes classes out of an image in no
    cell of which they have this probability; with `key_smoothing` cells whose likeliest class has at most this one
    (1 in the paper: all) get the mean of those with alike keys. Zero is for neither. The model takes images normalised
    as CLIP's; `densevit.Predictor`, given what `segmentor_of` makes of the same arguments, does that.
    https://arxiv.org/abs/2112.01071
    """
    refined = dict(prompt_denoising=prompt_denoising, key_smoothing=key_smoothing)
    return build_model(segmentor_of(checkpoint, classes, templates=templates, tokenizer=tokenizer, **refined))


def segmentor_of(
    checkpoint: str | Path | Checkpoint,
    classes: Sequence[str],
    *,
    templates: Sequence[str] | None = None,
    tokenizer: TextTokenizer | None = None,
    prompt_denoising: float = 0.0,
    key_smoothing: float = 0.0,
) -> Checkpoint:
    """The same segmentor as an opened checkpoint, whose header names the classes, for `Predictor`.

    Images are seen in windows of the size that CLIP was trained on, pictures first fitted into a box of three of them.
    """
    opened, model, embeddings = _name(checkpoint, classes, templates, tokenizer)
    refined = dict(prompt_denoising=prompt_denoising, key_smoothing=key_smoothing)
    described, state = dense_state(model, embeddings, **refined)
    own = {key: opened.header.model[key] for key in ("backbone", "spatial_dims", "in_channels")}
    given = {**(opened.header.model.get("backbone_options") or {}), **described["backbone_options"]}
    description = {**described, **own, "backbone_options": given}
    segmentor = create_segmentor(**description)
    missing, unexpected = segmentor.load_state_dict(state, strict=False)
    odd = [*unexpected, *(name for name in missing if not is_like(name, UNREAD))]
    if odd:
        raise ValueError(f"{opened.path} lacks {odd[0]}, which its segmentor needs")
    return Checkpoint(_header(opened.header, description, classes), segmentor.state_dict(), opened.path)


def classifier_of(
    checkpoint: str | Path | Checkpoint,
    classes: Sequence[str],
    *,
    templates: Sequence[str] | None = None,
    tokenizer: TextTokenizer | None = None,
) -> tuple[nn.Module, Header, Path]:
    """A classifier of named classes, the header that names them, and where the CLIP lies."""
    opened, model, embeddings = _name(checkpoint, classes, templates, tokenizer)
    described = dict(opened.header.model, num_classes=len(classes))
    del described["text"]
    header = replace(opened.header, model=described, classes=tuple(classes), palette=_palette(classes))
    return ZeroShotClassifier(model, embeddings).eval(), header, opened.path


def _name(
    checkpoint: str | Path | Checkpoint,
    classes: Sequence[str],
    templates: Sequence[str] | None,
    tokenizer: TextTokenizer | None,
) -> tuple[Checkpoint, Clip, Tensor]:
    """What was read, its CLIP, and the vectors of the classes (K, width); templates are those of training if None."""
    opened = open_clip(checkpoint)
    model, said = build_clip(opened), opened.header.more.get("templates")
    templates = templates or (said if isinstance(said, list | tuple) else TEMPLATES)
    return opened, model, class_embeddings(model, classes, tokenizer or tokenizer_of(opened), templates=templates)


def _palette(classes: Sequence[str]) -> tuple:
    return tuple(default_palette(len(classes)))


def _header(clip: Header, description: dict, classes: Sequence[str]) -> Header:
    view = clip.more.get("view", {}).get("size")
    seen = {} if view is None else dict(mode="slide", roi_size=tuple(view))
    if view is not None and not clip.is_of_volumes:
        seen |= dict(base_size=tuple(BOX * length for length in view))
    more = {key: value for key, value in clip.more.items() if key == "custom_imports"}
    return replace(
        clip,
        model=description,
        classes=tuple(classes),
        palette=_palette(classes),
        inference=InferenceOptions(**seen),
        training=None,
        more=more,
    )
