"""How an image is seen at inference: whole, by windows or by slices, once or flipped and at several scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from densevit.inference.windows import Windows
from densevit.options import check_range, read_options
from densevit.sides import read_sides

Flip = int | tuple[int, ...]
PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # of (D, H, W), which point to superior, anterior and right
# The grid and the blend of each mode's windows, see `Windows`.
SLIDES = {
    "slide": ("mmseg", "constant"),
    "slide_gaussian": ("even", "gaussian"),
    "slide_nnunet": ("nnunet", "nnunet"),
    "slide_monai": ("monai", "constant"),
    "slide_monai_gaussian": ("monai", "gaussian"),
}
SIZES = ("roi_size", "stride", "divisor", "base_size")  # one number, or one for each axis
LARGEST, LARGEST_SCALE = 2**16, 16  # sizes and factors beyond which no memory holds what is asked for


@dataclass(frozen=True, kw_only=True)
class SliceOptions:
    """`axis`: the axis (D, H, W) that slices are stacked along, 0 to 2, or the name of their plane.

    `neighbours` slices on either side are seen together with each slice, as further channels.
    """

    axis: int | Literal["axial", "coronal", "sagittal"] = "axial"
    neighbours: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.axis, str):
            check_range(self, ["axis"], least=0, most=2)
        check_range(self, ["neighbours"], least=0)

    @property
    def dim(self) -> int:
        """The axis as a number."""
        return PLANES[self.axis] if isinstance(self.axis, str) else self.axis

    @property
    def show_sides(self) -> bool:
        """Whether slices reach from left to right, along their last axis."""
        return self.dim != PLANES["sagittal"]

    @property
    def count(self) -> int:
        """The slices that are seen together."""
        return 2 * self.neighbours + 1


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """A network sees `frames` frames of a video at once, `step` apart: every frame, every second, ..."""

    frames: int
    step: int = 1

    def __post_init__(self) -> None:
        check_range(self, ["frames", "step"], least=1)


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """What a config's `inference`, a checkpoint's header and the keywords of `Predictor` say, for every rank.

    `mode` is "whole", "slide" (windows on mmsegmentation's grid, averaged), "slide_gaussian" (evenly spaced windows
    whose middle counts more, as is usual for volumes), "slide_nnunet" (the same on nnU-Net's grid, view after view),
    "slide_monai" or "slide_monai_gaussian" (averaged on MONAI's grid, or with more weight in the middle).
    `roi_size` is the size of a window and `stride` the step from one to the next, half a window if None; an int stands
    for every axis. `batch_size` counts windows, or views of the whole image, and "auto" measures. Each window, or the
    whole image, is also seen once for every entry of `flips`, a spatial axis or several (-1 is the last, left to
    right), at each of `scales`, to which it is resized; the logits of all are averaged. `divisor`: zeros fill what the
    model sees up to multiples of it; 1 for none, None for what the model needs (`Segmentor.divisor`). `base_size`: the
    image is first resized to the largest size that fits into this box, long side to long side.

    `sides` are pairs of classes that are each other's mirror image, by name or number: where a view is mirrored from
    left to right, their logits change places. None is for what the classes' names say, () for no sides; training's
    flips follow it too.

    With `overlapping`, classes lie within one another, as an organ and its tumour do: a place gets the last of them
    whose logit is above 0, and the first class where none is.

    Raises ValueError, one sentence that begins with the name of a field, for what no image could be seen by.
    """

    mode: Literal["whole", "slide", "slide_gaussian", "slide_nnunet", "slide_monai", "slide_monai_gaussian"] = "whole"
    roi_size: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    batch_size: int | Literal["auto"] = 1
    flips: tuple[Flip, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    divisor: int | tuple[int, ...] | None = None
    base_size: tuple[int, ...] | None = None
    sides: tuple[tuple[str | int, str | int], ...] | None = None
    overlapping: bool = False

    def __post_init__(self) -> None:
        check_range(self, SIZES, least=1, most=LARGEST)
        if self.batch_size != "auto":
            check_range(self, ["batch_size"], least=1)
        if self.mode != "whole" and self.roi_size is None:
            raise ValueError(f"mode {self.mode!r} needs the size of its windows; give roi_size, such as (512, 512)")
        check_scales(self.scales)

    @classmethod
    def read(cls, given: "InferenceOptions | Mapping[str, Any]", *, where: str = "inference") -> "InferenceOptions":
        """The options that a dictionary says; ValueError names unknown keys and values that do not fit."""
        return read_options(cls, given, where=where)

    def override(self, **given: Any) -> "InferenceOptions":
        """What is given and not None in the place of what was said; ValueError for windows that would not be used."""
        given = {key: value for key, value in given.items() if value is not None}
        options = read_options(InferenceOptions, {**vars(self), **given})
        for key in ("roi_size", "stride"):
            if options.mode == "whole" and key in given:
                raise ValueError(
                    f"{key} belongs to modes {', '.join(map(repr, SLIDES))}, but images are seen whole; ask for one too"
                )
        return options

    def on_axes(self, spatial_dims: int) -> "InferenceOptions":
        """The same with one number an axis; ValueError for what does not fit images of so many axes."""
        sizes = {}
        for name in SIZES:
            value = getattr(self, name)
            sizes[name] = (value,) * spatial_dims if isinstance(value, int) else value
            if sizes[name] is not None and len(sizes[name]) != spatial_dims:
                raise ValueError(f"{name} must be one number for each of {spatial_dims} axes, got {value}")
        roi_size, stride = sizes["roi_size"], sizes["stride"]
        if self.mode != "whole" and stride is not None and any(s > r for s, r in zip(stride, roi_size, strict=True)):
            raise ValueError(
                f"stride must be 1 to roi_size on every axis, got stride {stride} for roi_size {roi_size}; give both"
            )
        for flip in self.flips:
            flip_axes(flip, spatial_dims)
        return replace(self, **sizes)

    def for_classes(
        self, classes: Sequence[str], *, spatial_dims: int, slices: SliceOptions | None
    ) -> "InferenceOptions":
        """The same with `sides` as the numbers of classes that change places where the last axis is mirrored.

        `slices` are those of volumes, for a model that sees them. ValueError where images are to be seen mirrored and
        it is not known what a class becomes, and for pictures with sides that are turned in other ways.
        """
        if not self.flips:
            return self
        if slices is not None and not slices.show_sides:
            return replace(self, sides=())
        sides, mirrored = read_sides(classes, self.sides), [flip_axes(flip, spatial_dims) for flip in self.flips]
        image_dims = spatial_dims + (slices is not None)
        if image_dims < 3 and sides.any and any(axes != (-1,) for axes in mirrored):
            raise ValueError(
                f"flips of pictures whose classes have sides can be -1 alone, left to right, got {self.flips}; "
                "leave out the others, or declare the config's inference.sides=[]"
            )
        if not any(-1 in axes for axes in mirrored):
            return replace(self, sides=sides.pairs)
        return replace(self, sides=sides.check(what="flips", otherwise="leave flips out"))

    def on_clips(self, size: Sequence[int], clips: ClipOptions) -> "InferenceOptions":
        """The same for a video (T, H, W) of `size`: one that is seen whole is seen in clips, each half over the next.

        ValueError for windows of frames that are no multiple of the step between those that are seen together.
        """
        options, step = self, min(clips.step, size[0])
        length = min(clips.frames, size[0] // step) * step
        if self.mode == "whole":
            stride = (max(1, length // 2), *size[1:])
            options = replace(self, mode="slide_gaussian", roi_size=(length, *size[1:]), stride=stride)
        if options.roi_size[0] % step:
            raise ValueError(
                f"roi_size must begin with a multiple of {step} frames, for the model sees frames together that are "
                f"{step} apart, got {options.roi_size}"
            )
        return options

    def windows(self, size: Sequence[int]) -> Windows:
        """How `sliding_window` sees an image (*S) of `size`; an image that is seen whole is one window."""
        if self.mode == "whole":
            return Windows(roi_size=tuple(size), stride=tuple(size), blend="constant", batch_size=self.batch_size)
        grid, blend = SLIDES[self.mode]
        return Windows(roi_size=self.roi_size, stride=self.stride, grid=grid, blend=blend, batch_size=self.batch_size)


def flip_axes(flip: Flip, spatial_dims: int) -> tuple[int, ...]:
    """The axes that one entry of `flips` names, counted from the end; ValueError where an image has no such axes."""
    named = (flip,) if isinstance(flip, int) else tuple(flip)
    axes = {axis % spatial_dims - spatial_dims for axis in named}
    if not named or any(not -spatial_dims <= axis < spatial_dims for axis in named) or len(axes) < len(named):
        raise ValueError(
            f"flips must name spatial axes, {-spatial_dims} to {spatial_dims - 1}, each once, got {flip!r}; "
            "-1 is left to right"
        )
    return tuple(axes)


def check_scales(scales: Sequence[float]) -> None:
    """Raise ValueError for factors by which no image can be resized, and where there are none."""
    if not scales or not all(0 < scale <= LARGEST_SCALE for scale in scales):
        raise ValueError(
            f"scales must be positive factors of the image size, got {tuple(scales)}; give {LARGEST_SCALE} at most"
        )
