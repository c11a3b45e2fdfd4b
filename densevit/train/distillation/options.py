"""The section `distillation` of a config: of segmentation, and of classification."""

from dataclasses import dataclass
from typing import Any, Literal

from densevit.options import check_range

TEMPERATURES = {"logits": 1.0, "channel": 4.0, "features": 1.0}


@dataclass(frozen=True, kw_only=True)
class DenseTermOptions:
    """One thing that a segmentor learns from its teachers; `temperature` is 1, and 4 of "channel", unless given.

    type: "logits", the classes of each pixel (https://arxiv.org/abs/1503.02531); "channel", where each channel is high
        (https://arxiv.org/abs/2011.13256); "features", their values (https://arxiv.org/abs/1412.6550).
    level: of the backbone, 0 being the finest, for "features" and, in place of the logits, for "channel";
        teacher_level: that of the teachers, None for the same.
    """

    type: Literal["logits", "channel", "features"] = "logits"
    weight: float = 1.0
    temperature: float | None = None
    level: int | None = None
    teacher_level: int | None = None

    def __post_init__(self) -> None:
        check_range(self, ["weight", "level", "teacher_level"], least=0)
        if self.temperature is not None and self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.type == "logits" and self.level is not None:
            raise ValueError("level is for 'channel' and 'features'; take it out of 'logits'")
        if self.type == "features" and self.level is None:
            raise ValueError("level is missing: 'features' needs that of the backbone, 0 being the finest")

    @property
    def name(self) -> str:
        """What its loss is called in the log."""
        return f"loss_distil_{self.type}" + ("" if self.level is None else f"_{self.level}")

    @property
    def softness(self) -> float:
        """The temperature that is used."""
        return TEMPERATURES[self.type] if self.temperature is None else self.temperature


@dataclass(frozen=True, kw_only=True)
class ShallowOptions:
    """Self-distillation from deep to shallow: what training adds learns from the main output.

    Those are the auxiliary heads and the maps of deep supervision (https://arxiv.org/abs/1905.08094).
    """

    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, ["weight"], least=0)
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")


@dataclass(frozen=True, kw_only=True)
class TeachersOptions:
    """What both kinds of distillation have.

    teachers: checkpoints or folders of runs; exported programs (.ts of TorchScript, .pt2 of torch.export); or keywords
        of the builder, as dict(backbone="monai.DynUNet", decoder=None, weights="best.pt"). Of several the mean of the
        probabilities is learned.
    cache: a folder that keeps their logits, as float16, for images that are seen again, in this run or another.
    """

    teachers: tuple[str | dict[str, Any], ...]
    cache: str | None = None


@dataclass(frozen=True, kw_only=True)
class DenseDistillationOptions(TeachersOptions):
    """The section `distillation` of segmentation.

    terms: what is learned, the logits if it is empty. label_weight: of the losses on labels. ignored: whether pixels
    that are ignored in the labels, and those beyond the image, are learned from the teachers.
    """

    teachers: tuple[str | dict[str, Any], ...] = ()
    terms: tuple[DenseTermOptions, ...] = ()
    label_weight: float = 1.0
    ignored: bool = False
    shallow: ShallowOptions | None = None

    def __post_init__(self) -> None:
        check_range(self, ["label_weight"], least=0)
        if not self.teachers and self.shallow is None:
            raise ValueError("teachers is empty: name a run, a checkpoint or an exported model, or set shallow")
        names = [term.name for term in self.terms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"terms has {name.removeprefix('loss_distil_')!r} twice; give the sum of the weights")
        if self.cache is not None and any(term.level is not None for term in self.terms):
            raise ValueError("cache keeps logits alone, and terms has levels of the backbone; take one of them out")


@dataclass(frozen=True, kw_only=True)
class ClassDistillationOptions(TeachersOptions):
    """The section `distillation` of classification, as in DeiT (https://arxiv.org/abs/2012.12877).

    type: "hard", the class that the teachers find likeliest, or "soft", their probabilities at `temperature`. `alpha`
    is the weight of that, and 1 - alpha that of the labels. A distilled head learns it by its second token.
    """

    type: Literal["hard", "soft"] = "hard"
    alpha: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, ["alpha"], least=0, most=1)
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not self.teachers:
            raise ValueError("teachers is empty: name a run, a checkpoint or an exported model")
