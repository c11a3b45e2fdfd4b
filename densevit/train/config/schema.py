"""What a config may hold: one dataclass a section, with types and defaults; `check_config` reads them as the schema.

An iteration is one update of the weights: it takes `accumulate` batches of `batch_size` on each process, so the batch
of a recipe is batch_size * accumulate * processes, and its schedule stays as published however it is split.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """Arguments of `densevit.create_segmentor`; decoder None if `backbone` is a whole network ("monai.SegResNet")."""

    backbone: str
    decoder: str | None
    num_classes: int
    in_channels: int = 3
    spatial_dims: int = 2
    weights: str | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)
    decoder_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OptimizerSection:
    """`no_decay` and `lr_multipliers` name parts of the model; None leaves the optimizer's own default."""

    type: str = "AdamW"
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] | None = None
    eps: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    no_decay: tuple[str, ...] = ()
    lr_multipliers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ScheduleSection:
    """Learning rate over iterations: linear warm-up from `warmup_ratio` of it, then `type` down to `min_lr`."""

    type: str = "poly"
    power: float = 1.0
    min_lr: float = 0.0
    warmup_iters: int = 0
    warmup_ratio: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class TrainSection:
    """The run itself. `clip_grad` is the largest norm of all gradients; `ema` the decay of the averaged weights.

    `best` is the score by which the best weights are chosen: a mean of `SegmentationScores`.
    """

    max_iters: int
    val_interval: int = 1000
    checkpoint_interval: int = 1000
    log_interval: int = 50
    accumulate: int = 1
    clip_grad: float | None = None
    amp: Literal["bf16", "fp16"] | None = None
    ema: float | None = None
    checkpointing: bool = False
    sync_bn: bool = True
    compile: bool = False
    max_keep: int = 2
    deterministic: bool = False
    best: Literal["mIoU", "mDice", "mCaseDice"] = "mIoU"


@dataclass(frozen=True, kw_only=True)
class TrainDataSection:
    """Where training samples come from, and how many at once; `augment` is as `densevit.data.augment.options` says."""

    dataset: dict[str, Any]
    augment: dict[str, Any]
    batch_size: int
    num_workers: int = 4
    rare_class_sampling: dict[str, Any] | bool | None = None


@dataclass(frozen=True, kw_only=True)
class EvalDataSection:
    """Where validation or test images come from; they are used one by one at their own size."""

    dataset: dict[str, Any]
    num_workers: int = 2


@dataclass(frozen=True, kw_only=True)
class InferenceSection:
    """Arguments of `densevit.inference.predict_logits`.

    `divisor`: zeros fill an image up to multiples of it, so that no cell of a coarse map reaches beyond; 1 for none,
    None for what the model needs (`Segmentor.divisor`).
    `base_size` (height, width): the image is first resized to the largest size that fits, as ADE20K's protocol does.
    """

    mode: Literal["whole", "slide", "slide_gaussian"] = "whole"
    roi_size: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None
    batch_size: int = 1
    flips: tuple[Any, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    divisor: int | None = None
    base_size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class AuxiliarySection:
    """A head on one level of the backbone (0 is the finest) that training alone has; `loss` None is the main one."""

    level: int
    dim: int = 256
    weight: float = 0.4
    dropout: float = 0.1
    loss: list[dict[str, Any]] | dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DeepSupervisionSection:
    """Losses on the decoder's own maps, fine to coarse, the first being its output; "halving" is 1, 1/2, 1/4, ...

    The halving weights are divided by their sum; numbers, one a map, are used as they are, and 0 leaves a map out.
    """

    weights: tuple[float, ...] | Literal["halving"] = "halving"


@dataclass(frozen=True, kw_only=True)
class VisualizationSection:
    """TensorBoard on or off, and how many validation images are drawn as image, truth, prediction."""

    tensorboard: bool = True
    num_images: int = 4


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A whole config file. `custom_imports` are modules to import first: they register what the config names."""

    model: ModelSection
    loss: list[dict[str, Any]] | dict[str, Any]
    optimizer: OptimizerSection
    schedule: ScheduleSection
    train_cfg: TrainSection
    train_data: TrainDataSection
    auxiliary: list[AuxiliarySection] = field(default_factory=list)
    deep_supervision: DeepSupervisionSection | None = None
    val_data: EvalDataSection | None = None
    test_data: EvalDataSection | None = None
    inference: InferenceSection = field(default_factory=InferenceSection)
    visualization: VisualizationSection = field(default_factory=VisualizationSection)
    custom_imports: tuple[str, ...] = ()
    seed: int = 0
    load_from: str | None = None
    work_dir: str | None = None
