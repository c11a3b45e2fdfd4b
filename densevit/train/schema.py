"""What a config file may hold: every section is the frozen options class of the room that uses it.

An iteration is one update of the weights: it takes `accumulate` batches of `batch_size` on each process, so the batch
of a recipe is batch_size * accumulate * processes, and its schedule stays as published however it is split.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, ClassVar, Literal

from densevit.data.augment.clip_options import ClipAugmentOptions
from densevit.data.augment.options import AUGMENTS, AnyAugmentOptions, VolumeAugmentOptions
from densevit.data.dataset import check_dataset_config
from densevit.data.stream import RareClassOptions
from densevit.inference import InferenceOptions
from densevit.losses import check_loss
from densevit.options import check_bools, check_range, fit
from densevit.registry import BACKBONES, DECODERS, NETWORKS, check_known
from densevit.segmentor import create_backbone
from densevit.train.distillation.options import DenseDistillationOptions
from densevit.train.optim import OptimizerOptions, ScheduleOptions
from densevit.train.record import VisualizationOptions
from densevit.train.tasks.supervision import AuxiliaryOptions, DeepSupervisionOptions
from densevit.weights import LoadOptions

WEIGHTS = str | LoadOptions | None  # a path, or keywords of `load_weights`
# Keywords of a builder that the model's own options set.
OF_THE_MODEL = ("self", "name", "options", "spatial_dims", "in_channels", "in_strides", "num_classes")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Arguments of `densevit.create_segmentor`; decoder None if `backbone` is a whole network ("monai.SegResNet")."""

    backbone: str
    decoder: str | None
    num_classes: int
    in_channels: int = 3
    spatial_dims: int = 2
    weights: str | dict[str, Any] | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)
    decoder_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Names and keywords; what only the builders know, they say when the model is built."""
        fit(self.weights, WEIGHTS, where="weights")
        fit(self.backbone_options.get("weights"), WEIGHTS, where="backbone_options.weights")
        if self.decoder is None:
            if self.backbone in NETWORKS:
                self._check_keys("backbone_options", NETWORKS.parameters(self.backbone))
            return
        check_known(self.backbone, BACKBONES.names(), what="unknown backbone")
        check_known(self.decoder, DECODERS.names(), what="unknown decoder")
        of_all = signature(create_backbone).parameters
        self._check_keys("backbone_options", {**of_all, **BACKBONES.parameters(self.backbone)})
        self._check_keys("decoder_options", DECODERS.parameters(self.decoder))

    def _check_keys(self, where: str, takes: Mapping[str, Parameter]) -> None:
        known = sorted(set(takes).difference(OF_THE_MODEL))
        for key in getattr(self, where):
            check_known(key, known, what="unknown key", prefix=f"{where}.")
        check_bools(takes, getattr(self, where), where=f"{where}.")


def network_options(backbone_options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that make the network: without the weights that it begins with, and without what training leaves alone."""
    return {key: value for key, value in backbone_options.items() if key not in ("weights", "frozen")}


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """The section `train_cfg` of a config: the run itself.

    `clip_grad` is the largest norm of all gradients, or with `clip_each` of each parameter's alone; `ema` the decay of
    the averaged weights; `best` the score by which the best weights are chosen, a mean of `SegmentationScores`.
    """

    max_iters: int
    val_interval: int = 1000
    checkpoint_interval: int = 1000
    log_interval: int = 50
    accumulate: int = 1
    clip_grad: float | None = None
    clip_each: bool = False
    amp: Literal["bf16", "fp16"] | None = None
    ema: float | None = None
    checkpointing: bool = False
    sync_bn: bool = True
    compile: bool = False
    max_keep: int = 2
    deterministic: bool = False
    best: Literal["mIoU", "mDice", "mCaseDice"] = "mIoU"

    def __post_init__(self) -> None:
        counts = ("max_iters", "val_interval", "checkpoint_interval", "log_interval", "accumulate", "max_keep")
        check_range(self, counts, least=1)
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must lie between 0 and 1, got {self.ema}")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise ValueError(f"clip_grad must be above 0, got {self.clip_grad}")


@dataclass(frozen=True, kw_only=True)
class TrainDataOptions:
    """Where training samples come from, and how many at once; `augment` is as `densevit.data.augment.options` says."""

    dataset: dict[str, Any]
    augment: AnyAugmentOptions
    batch_size: int
    num_workers: int = 4
    rare_class_sampling: RareClassOptions | bool | None = None

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset)
        check_range(self, ["batch_size"], least=1)


@dataclass(frozen=True, kw_only=True)
class EvalDataOptions:
    """Where validation or test images come from; they are used one by one at their own size."""

    dataset: dict[str, Any]
    num_workers: int = 2

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every config file holds, whatever it trains. `name` is that of the file, unless the file gives another.

    `task` is what is trained, see `densevit.train.task`. `custom_imports` are modules to import first: they register
    what the config names. `custom_hooks` are hooks of mmengine's registry, such as dict(type="EMAHook").
    """

    optimizer: OptimizerOptions
    schedule: ScheduleOptions
    train_cfg: LoopOptions
    train_data: TrainDataOptions
    val_data: EvalDataOptions | None = None
    test_data: EvalDataOptions | None = None
    visualization: VisualizationOptions = field(default_factory=VisualizationOptions)
    custom_imports: tuple[str, ...] = ()
    custom_hooks: list[dict[str, Any]] = field(default_factory=list)
    seed: int = 0
    load_from: str | dict[str, Any] | None = None
    work_dir: str | None = None
    name: str = "config"
    task: str = "segment"
    augments: ClassVar[Mapping[int | str, type]] = {}  # options of train_data.augment, by rank or type of the data set

    def __post_init__(self) -> None:
        fit(self.load_from, WEIGHTS, where="load_from")
        if self.schedule.end_weight_decay is not None and not self.optimizer.weight_decay:
            raise ValueError("schedule.end_weight_decay needs a decay to begin with; set optimizer.weight_decay")

    @property
    def import_names(self) -> list[str]:
        """What a checkpoint says of `custom_imports`: names of modules, without the folders of this machine."""
        return [Path(name).name.removesuffix(".py") for name in self.custom_imports]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, which make the same config again."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ConfigFile(RunConfig):
    """A whole config file of segmentation, checked."""

    model: ModelOptions
    loss: list[dict[str, Any]] | dict[str, Any]
    auxiliary: list[AuxiliaryOptions] = field(default_factory=list)
    deep_supervision: DeepSupervisionOptions | None = None
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    distillation: DenseDistillationOptions | None = None
    augments: ClassVar[Mapping[int | str, type]] = {**AUGMENTS, "clips": ClipAugmentOptions}

    def __post_init__(self) -> None:
        super().__post_init__()
        for loss in [self.loss, *(head.loss for head in self.auxiliary if head.loss is not None)]:
            check_loss(loss, num_classes=self.model.num_classes)
        augment = self.train_data.augment
        of_volumes = isinstance(augment, VolumeAugmentOptions)
        if of_volumes and self.inference.base_size is not None:
            raise ValueError("inference.base_size is for pictures; see volumes at another size by inference.scales")
        if of_volumes and self.train_data.rare_class_sampling:
            raise ValueError("rare_class_sampling is for pictures; crop volumes by train_data.augment.foreground")
        weights, classes = augment.foreground_weights if of_volumes else None, self.model.num_classes
        if weights is not None and len(weights) != classes:
            raise ValueError(
                f"train_data.augment.foreground_weights has {len(weights)} numbers and the model {classes} classes; "
                "give one for each class, background first"
            )
        if self.train_cfg.best == "mCaseDice" and not (of_volumes or self.train_data.dataset.get("slices")):
            raise ValueError("train_cfg.best 'mCaseDice' is the mean over the cases of 3D data; use 'mIoU' or 'mDice'")
        learns = self.distillation is not None and self.distillation.shallow is not None
        if learns and not self.auxiliary and self.deep_supervision is None:
            raise ValueError("distillation.shallow is for heads that training adds; set auxiliary or deep_supervision")
        try:
            self.inference.on_axes(self.model.spatial_dims)
        except ValueError as error:
            raise ValueError(f"inference.{error}") from None
