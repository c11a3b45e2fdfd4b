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
class AugmentSection:
    """Arguments of `densevit.data.augment.augment_2d.create_augment_2d`; sizes are (height, width)."""

    crop_size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    base_size: tuple[int, int] | None = None
    cat_max_ratio: float = 0.75
    flip: float = 0.5
    photometric: bool = True
    extra: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class VolumeAugmentSection:
    """Arguments of `densevit.data.augment.augment_3d.create_augment_3d`; sizes and flips are (depth, height, width).

    What is None is as `preset` says (`densevit/data/augment/presets_3d.py`): "mild" zooms by 0.9 to 1.1 and turns by up
    to 10 degrees; "nnunet" is nnU-Net's published augmentation.
    `scale` is a range of zooms, 2 doubling the voxels; `rotate` the largest angle about each axis in degrees, and
    `rotate_in_plane` that about the depth axis alone, where slices are thick; `elastic` the largest displacement of
    control points and their distance, in mm; `*_prob` is how often each of these happens.
    `foreground` is how often a crop holds a voxel chosen by class: every class but 0 alike, or as often as
    `foreground_weights` says, one number a class with background first. `flips` is how often each axis is turned
    round; `intensity` the largest change of contrast and brightness; `noise` the largest deviation of added noise;
    `extra` holds random intensity transforms of MONAI, such as dict(type="RandBiasField", prob=0.1).
    """

    crop_size: tuple[int, int, int]
    preset: Literal["mild", "nnunet"] = "mild"
    scale: tuple[float, float] | None = None
    scale_prob: float | None = None
    rotate: float | None = None
    rotate_in_plane: float | None = None
    rotate_prob: float | None = None
    elastic: tuple[float, float] | None = None
    elastic_prob: float | None = None
    flips: tuple[float, float, float] | None = None
    foreground: float | None = None
    foreground_weights: tuple[float, ...] | None = None
    intensity: float | None = None
    noise: float | None = None
    extra: tuple[dict[str, Any], ...] | None = None


AUGMENT_SECTIONS = {2: AugmentSection, 3: VolumeAugmentSection}  # by model.spatial_dims


@dataclass(frozen=True, kw_only=True)
class TrainDataSection:
    """Where training samples come from, and how many at once on each process; `augment` is one of AUGMENT_SECTIONS."""

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
