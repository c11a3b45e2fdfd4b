"""What a config of self-distillation without labels may hold: task="dino"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from densevit.backbones.base import Backbone
from densevit.classifier import published_for_classes
from densevit.data.augment.view_options import MULTI_CROPS, AnyMultiCrop, MultiCropOptions
from densevit.data.class_set import CLASS_DATASETS, registry_of
from densevit.data.dataset import check_dataset_config
from densevit.data.view import ViewOptions
from densevit.options import check_range, fit
from densevit.registry import BACKBONES, check_known
from densevit.segmentor import create_backbone
from densevit.train.dino.network import DinoHead, load_head
from densevit.train.schema import (
    WEIGHTS,
    EvalDataOptions,
    LoopOptions,
    RunConfig,
    TrainDataOptions,
    network_options,
)


@dataclass(frozen=True, kw_only=True)
class DinoModelOptions:
    """The section `model`: arguments of `densevit.create_backbone`.

    Options with which a family was published for classes, such as the class token of ViT, are the defaults.
    """

    backbone: str
    in_channels: int = 3
    spatial_dims: int = 2
    backbone_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_known(self.backbone, BACKBONES.names(), what="unknown backbone")
        fit(self.backbone_options.get("weights"), WEIGHTS, where="backbone_options.weights")
        if "neck" in self.backbone_options:
            raise ValueError("backbone_options.neck changes maps, and DINO reads what is before it; leave it out")

    def create(self) -> Backbone:
        shape = dict(in_channels=self.in_channels, spatial_dims=self.spatial_dims)
        try:
            return create_backbone(self.backbone, **shape, **self._options())
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"model: {error.args[0]}") from None

    def _options(self) -> dict[str, Any]:
        return {**published_for_classes(self.backbone), **self.backbone_options}

    def described(self) -> dict[str, Any]:
        """What a header says of it."""
        options = network_options(self._options())
        of_all = dict(num_classes=1, in_channels=self.in_channels, spatial_dims=self.spatial_dims, features_only=True)
        return dict(backbone=self.backbone, backbone_options=options, **of_all)


@dataclass(frozen=True, kw_only=True)
class DinoHeadOptions:
    """The section `head`, see `DinoHead`; `weights` is a checkpoint of DINO's authors with a head of these sizes."""

    out_dim: int = 65536
    hidden_dim: int = 2048
    bottleneck_dim: int = 256
    num_layers: int = 3
    batch_norm: bool = False
    norm_last_layer: bool = True
    weights: str | None = None

    def __post_init__(self) -> None:
        check_range(self, ["out_dim"], least=2)
        check_range(self, ["hidden_dim", "bottleneck_dim", "num_layers"], least=1)

    def create(self, dim: int) -> DinoHead:
        head = DinoHead(dim, **{key: value for key, value in vars(self).items() if key != "weights"})
        if self.weights is not None:
            load_head(head, self.weights)
        return head


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The section `teacher`: the running average of the student, and how sharp it speaks.

    `momentum` rises to 1 along half a cosine. The temperature goes from `first_temperature` to `temperature` in a line
    over `warmup_iters`. `centre_momentum` is that of the mean which is taken away from its outputs.
    """

    momentum: float = 0.996
    temperature: float = 0.04
    first_temperature: float = 0.04
    warmup_iters: int = 0
    centre_momentum: float = 0.9

    def __post_init__(self) -> None:
        check_range(self, ["momentum", "centre_momentum"], least=0, most=1)
        check_range(self, ["warmup_iters"], least=0)
        check_range(self, ["temperature", "first_temperature"], least=1e-3)


@dataclass(frozen=True, kw_only=True)
class DinoLoopOptions(LoopOptions):
    """The section `train_cfg`; the best weights are chosen by what `val_data` is scored by."""

    best: Literal["top1", "mAcc", "mIoU"] = "top1"


@dataclass(frozen=True, kw_only=True)
class DinoTrainData(TrainDataOptions):
    """The section `train_data`: any set of pictures or volumes, whose labels are not read."""

    augment: AnyMultiCrop = field(default_factory=MultiCropOptions)
    rare_class_sampling: None = None

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset, registry_of(self.dataset))
        check_range(self, ["batch_size"], least=1)


@dataclass(frozen=True, kw_only=True)
class DinoEvalData(EvalDataOptions):
    """The sections `val_data` and `reference_data`: images of classes, or with label maps."""

    batch_size: int = 16

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset, registry_of(self.dataset))
        check_range(self, ["batch_size"], least=1)

    @property
    def of_classes(self) -> bool:
        """Whether each image is of one class."""
        return registry_of(self.dataset) is CLASS_DATASETS


@dataclass(frozen=True, kw_only=True)
class DinoConfig(RunConfig):
    """A whole config file of DINO.

    `student_temperature` sharpens what the student says; `freeze_last_layer_iters` are the first iterations, in which
    the last layer of its head stays. With `val_data` the teacher's frozen features are scored on the way by
    `neighbours` of `reference_data` (default: train_data's own set), images of classes as `view` says.
    """

    model: DinoModelOptions
    head: DinoHeadOptions = field(default_factory=DinoHeadOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    student_temperature: float = 0.1
    freeze_last_layer_iters: int = 0
    train_cfg: DinoLoopOptions
    train_data: DinoTrainData
    val_data: DinoEvalData | None = None
    reference_data: DinoEvalData | None = None
    view: ViewOptions | None = None
    neighbours: int = 20
    augments: ClassVar[Mapping[int, type]] = MULTI_CROPS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ["student_temperature"], least=1e-3)
        check_range(self, ["freeze_last_layer_iters"], least=0)
        check_range(self, ["neighbours"], least=1)
        if self.train_cfg.ema is not None:
            raise ValueError("train_cfg.ema averages weights, and the teacher is their average; leave it out")
        rank, augment = self.model.spatial_dims, self.train_data.augment
        if not isinstance(augment, MULTI_CROPS.get(rank, object)):
            raise ValueError(f"train_data.augment says nothing of views with {rank} spatial dimensions; write it")
        if self.val_data is not None:
            self._check_scored(self.val_data)

    @property
    def known(self) -> DinoEvalData:
        """The set whose labels are known where `val_data` is asked."""
        if self.reference_data is not None:
            return self.reference_data
        return DinoEvalData(dataset=self.train_data.dataset, batch_size=self.val_data.batch_size)

    def _check_scored(self, asked: DinoEvalData) -> None:
        if asked.of_classes != self.known.of_classes:
            raise ValueError(
                "val_data is scored by reference_data of the same kind; name one with classes like its own"
            )
        if asked.of_classes and self.view is None:
            raise ValueError(
                "val_data of classes needs view, the size at which images are seen, as dict(size=(224, 224))"
            )
        if self.view is not None:
            self.view.check_axes(self.model.spatial_dims)
        if asked.of_classes == (self.train_cfg.best == "mIoU"):
            scores = "'top1' or 'mAcc'" if asked.of_classes else "'mIoU'"
            raise ValueError(
                f"train_cfg.best must be {scores}, by which val_data is scored, got {self.train_cfg.best!r}"
            )
