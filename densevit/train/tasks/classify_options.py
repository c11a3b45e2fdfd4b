"""What a config of classification may hold: task="classify"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from densevit.backbones.class_heads import HEADS
from densevit.classifier import Classifier, create_classifier
from densevit.data.augment.class_options import CLASS_AUGMENTS, ClassAugmentOptions
from densevit.data.augment.options import VolumeAugmentOptions
from densevit.data.class_set import CLASS_DATASETS
from densevit.data.dataset import check_dataset_config
from densevit.data.view import ViewOptions
from densevit.options import check_range, fit
from densevit.registry import BACKBONES, check_known
from densevit.train.distillation.options import ClassDistillationOptions
from densevit.train.mixing import MixingOptions
from densevit.train.schema import WEIGHTS, EvalDataOptions, LoopOptions, RunConfig, network_options


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """The section `model`: arguments of `densevit.create_classifier`; head None is that of the family's paper."""

    backbone: str
    num_classes: int
    in_channels: int = 3
    spatial_dims: int = 2
    head: str | None = None
    head_options: dict[str, Any] = field(default_factory=dict)
    weights: str | dict[str, Any] | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fit(self.weights, WEIGHTS, where="weights")
        check_known(self.backbone, BACKBONES.names(), what="unknown backbone")
        if self.head is not None:
            check_known(self.head, HEADS, what="no class head named")

    def create(self, *, trained: bool = False) -> Classifier:
        """The classifier; `trained` for one whose weights come later, so that none are loaded here."""
        options = network_options(self.backbone_options) if trained else self.backbone_options
        try:
            return create_classifier(
                self.backbone,
                num_classes=self.num_classes,
                in_channels=self.in_channels,
                spatial_dims=self.spatial_dims,
                head=self.head,
                head_options=self.head_options,
                weights=None if trained else self.weights,
                **options,
            )
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"model: {error.args[0]}") from None

    def described(self) -> dict[str, Any]:
        """What a header says of it."""
        options = network_options(self.backbone_options)
        of_head = dict(class_head=self.head, head_options=self.head_options)
        of_all = dict(num_classes=self.num_classes, in_channels=self.in_channels, spatial_dims=self.spatial_dims)
        return dict(backbone=self.backbone, backbone_options=options, **of_head, **of_all)


@dataclass(frozen=True, kw_only=True)
class ClassifyLoopOptions(LoopOptions):
    """The section `train_cfg`, whose best weights are chosen by the share of images or the mean over classes."""

    best: Literal["top1", "mAcc"] = "top1"


@dataclass(frozen=True, kw_only=True)
class ClassTrainData:
    """The section `train_data`; each image is drawn `repeats` times in a row, changed anew each time.

    Repeated augmentation: https://arxiv.org/abs/1901.09335. With several processes its copies lie on several.
    """

    dataset: dict[str, Any]
    augment: ClassAugmentOptions | VolumeAugmentOptions
    batch_size: int
    num_workers: int = 4
    repeats: int = 1

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset, CLASS_DATASETS)
        check_range(self, ["batch_size", "repeats"], least=1)


@dataclass(frozen=True, kw_only=True)
class ClassEvalData(EvalDataOptions):
    """The sections `val_data` and `test_data`; images are seen in batches, each as the section `view` says."""

    batch_size: int = 16

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset, CLASS_DATASETS)
        check_range(self, ["batch_size"], least=1)


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(RunConfig):
    """A whole config file of classification.

    `label_smoothing` is spread over all classes. `loss`: "cross_entropy" of the classes' shares, or "binary": each
    class by itself (https://arxiv.org/abs/2110.00476). `sides` declares pairs of classes that are each other's mirror
    image, as `inference.sides` does for segmentation.
    """

    model: ClassifierOptions
    train_cfg: ClassifyLoopOptions
    train_data: ClassTrainData
    val_data: ClassEvalData | None = None
    test_data: ClassEvalData | None = None
    view: ViewOptions
    loss: Literal["cross_entropy", "binary"] = "cross_entropy"
    label_smoothing: float = 0.0
    mixing: MixingOptions = field(default_factory=MixingOptions)
    sides: tuple[tuple[str | int, str | int], ...] | None = None
    distillation: ClassDistillationOptions | None = None
    augments: ClassVar[Mapping[int, type]] = CLASS_AUGMENTS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ["label_smoothing"], least=0, most=1)
        self.view.check_axes(self.model.spatial_dims)
        augment = self.train_data.augment
        if isinstance(augment, VolumeAugmentOptions) and (augment.foreground or augment.foreground_weights):
            raise ValueError("train_data.augment.foreground is for label maps, which classes of scans have not")
        if (self.mixing.mixup or self.mixing.cutmix) and self.train_data.batch_size < 2:
            raise ValueError("mixing needs two images in a batch; set train_data.batch_size to 2 or more")
