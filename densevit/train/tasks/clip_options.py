"""What a config of image-text pairs may hold: task="clip"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from densevit.clip import Clip, create_clip
from densevit.clip.model import WIDTHS
from densevit.clip.prompts import TEMPLATES, check_templates
from densevit.data.augment.class_options import CLASS_AUGMENTS, ClassAugmentOptions
from densevit.data.augment.options import VolumeAugmentOptions
from densevit.data.dataset import check_dataset_config
from densevit.data.pair_set import PAIR_DATASETS
from densevit.data.view import ViewOptions
from densevit.options import check_range, fit
from densevit.registry import BACKBONES, check_known
from densevit.train.schema import WEIGHTS, EvalDataOptions, LoopOptions, RunConfig, network_options
from densevit.train.tasks.classify_options import ClassEvalData


@dataclass(frozen=True, kw_only=True)
class ClipModelOptions:
    """The section `model`: arguments of `densevit.create_clip`; what `text` leaves out is as published, or 512."""

    backbone: str
    width: int | None = None
    text: dict[str, Any] = field(default_factory=dict)
    in_channels: int = 3
    spatial_dims: int = 2
    weights: str | dict[str, Any] | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fit(self.weights, WEIGHTS, where="weights")
        check_known(self.backbone, BACKBONES.names(), what="unknown backbone")

    def create(self, *, vocab: int, trained: bool = False) -> Clip:
        """The model for so many tokens; `trained` for one whose weights come later, so that none are loaded here."""
        options = network_options(self.backbone_options) if trained else self.backbone_options
        if self.text.get("vocab", vocab) != vocab:
            raise ValueError(f"model.text.vocab is {self.text['vocab']}, and the tokenizer has {vocab}; leave it out")
        try:
            return create_clip(
                self.backbone,
                width=self.width,
                text={**self.text, "vocab": vocab},
                in_channels=self.in_channels,
                spatial_dims=self.spatial_dims,
                weights=None if trained else self.weights,
                **options,
            )
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"model: {error.args[0]}") from None

    def described(self, vocab: int) -> dict[str, Any]:
        """What a header says of it."""
        shared, of_texts = WIDTHS.get(self.backbone, (512, 512))
        return dict(
            backbone=self.backbone,
            num_classes=shared if self.width is None else self.width,
            in_channels=self.in_channels,
            spatial_dims=self.spatial_dims,
            class_head=None,
            text={"dim": of_texts, **self.text, "vocab": vocab},
            backbone_options=network_options(self.backbone_options),
        )


@dataclass(frozen=True, kw_only=True)
class ClipLoopOptions(LoopOptions):
    """The section `train_cfg`, whose best weights are chosen by retrieval or, with `zero_shot`, by its scores."""

    best: Literal["recall", "top1", "mAcc"] = "recall"


@dataclass(frozen=True, kw_only=True)
class PairTrainData:
    """The section `train_data`."""

    dataset: dict[str, Any]
    augment: ClassAugmentOptions | VolumeAugmentOptions
    batch_size: int
    num_workers: int = 4

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset, PAIR_DATASETS)
        check_range(self, ["batch_size"], least=2)


@dataclass(frozen=True, kw_only=True)
class PairEvalData(EvalDataOptions):
    """The sections `val_data` and `test_data`; images are seen in batches, each as the section `view` says."""

    batch_size: int = 16

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset, PAIR_DATASETS)
        check_range(self, ["batch_size"], least=1)


@dataclass(frozen=True, kw_only=True)
class ClipConfig(RunConfig):
    """A whole config file of image-text pairs.

    `tokenizer`: a file as `find_tokenizer` reads it, None for CLIP's own vocabulary, or a number: so many pairs of
    letters and pieces are merged, as the texts of `train_data` have them. `zero_shot` are images by class, on which
    classes are told by their names after each validation; `templates` is what is said of a class.
    """

    model: ClipModelOptions
    train_cfg: ClipLoopOptions
    train_data: PairTrainData
    val_data: PairEvalData | None = None
    test_data: PairEvalData | None = None
    zero_shot: ClassEvalData | None = None
    view: ViewOptions
    tokenizer: str | int | None = None
    templates: tuple[str, ...] = TEMPLATES
    augments: ClassVar[Mapping[int, type]] = CLASS_AUGMENTS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_templates(self.templates)
        self.view.check_axes(self.model.spatial_dims)
        if isinstance(self.tokenizer, int) and self.tokenizer < 1:
            raise ValueError(f"tokenizer must be a file, or how many pairs are merged, got {self.tokenizer}")
        if self.train_cfg.best != "recall" and self.zero_shot is None:
            raise ValueError(f"train_cfg.best {self.train_cfg.best!r} is of classes; add zero_shot, or use 'recall'")
