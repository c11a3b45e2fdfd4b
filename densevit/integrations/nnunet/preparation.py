"""How nnU-Net lays a scan before a network, as sections of our header: normalization, scans, slices, inference."""

from itertools import combinations
from typing import Any, Literal

from densevit.inference import InferenceOptions, SliceOptions
from densevit.integrations.nnunet.plans import Configuration, Plans
from densevit.registry import check_known
from densevit.volumes.seen_scan import ScanOptions

READERS: dict[str, Literal["file", "standard"]] = {
    "SimpleITKIO": "file",
    "NibabelIO": "file",
    "NibabelIOWithReorient": "standard",
    "SimpleITKIOWithReorient": "standard",
}
AXES = ("Z", "Y", "X")  # of what nnU-Net reads, before it transposes
UNEVEN = 3.0  # nnU-Net's ratio of spacings, which its plans do not hold
USUAL = ("LabelManager", "DefaultPreprocessor")
SPLINES, LINEAR = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"
ORDERS = {3: "cubic", 1: "linear"}


def scan_options(plans: Plans, configuration: Configuration, *, axes: str | None) -> ScanOptions:
    """How scans are turned, cut out and resampled; `axes` in the place of those of the plans' reader of images."""
    made_by = plans.get("label_manager", str, USUAL[0]), configuration.get("preprocessor_name", str, USUAL[1])
    for found, usual in zip(made_by, USUAL, strict=True):
        if found != usual:
            raise ValueError(f"{plans.path} names {found} in the place of nnU-Net's {usual}; predict it with nnU-Net")
    if axes is None:
        reader = plans.get("image_reader_writer", str)
        if reader not in READERS:
            raise ValueError(
                f"{plans.path} reads images by {reader}, and scans by {', '.join(READERS)} are known here; predict it "
                "with nnU-Net"
            )
        axes = READERS[reader]
    spacing = configuration.spacing
    image, separate = _resampling(configuration, "resampling_fn_data")
    logits, separate_logits = _resampling(configuration, "resampling_fn_probabilities")
    if logits != "linear" or separate != separate_logits:
        raise ValueError(
            f"{configuration.path}: configurations.{configuration.name} resamples logits in another way than linearly "
            "and as its images; predict it with nnU-Net"
        )
    masked = configuration.get("use_mask_for_norm", tuple[bool, ...])
    schemes = configuration.get("normalization_schemes", tuple[str, ...])
    return ScanOptions(
        axes=axes,
        order=plans.get("transpose_forward", tuple[int, int, int]),
        spacing=(*(None,) * (len(AXES) - len(spacing)), *spacing),
        crop="nonzero",
        masked=tuple(m and s == "ZScoreNormalization" for m, s in zip(masked, schemes, strict=True)),
        resampling=image,
        uneven=UNEVEN if separate else None,
    )


def normalization(plans: Plans, configuration: Configuration, *, channels: int) -> dict[str, Any]:
    """By channel; ValueError for a scheme that is none of nnU-Net's own."""
    schemes = configuration.get("normalization_schemes", tuple[str, ...])
    if len(schemes) != channels:
        raise ValueError(f"{plans.path} normalises {len(schemes)} channels, and dataset.json names {channels}")
    made = [_normalization(scheme, plans, str(channel)) for channel, scheme in enumerate(schemes)]
    return dict(type="by_channel", channels=made)


def inference(
    configuration: Configuration, mirrored: tuple[int, ...], *, overlapping: bool = False
) -> InferenceOptions:
    """Windows of the plan, half over the next, each seen in all mirrors along the axes `mirrored`."""
    flips = [axes for count in range(1, len(mirrored) + 1) for axes in combinations(mirrored, count)]
    return InferenceOptions(
        mode="slide_nnunet",
        roi_size=configuration.patch_size,
        flips=tuple(flips),
        sides=(),  # nnU-Net leaves classes as they are in mirrors
        overlapping=overlapping,
    )


def slices(configuration: Configuration) -> SliceOptions | None:
    """Of a configuration of pictures: slices along the network's first axis."""
    return SliceOptions(axis=0) if len(configuration.patch_size) < len(AXES) else None


def _resampling(configuration: Configuration, key: str) -> tuple[str, bool]:
    """Its kind, and whether an uneven axis is resampled by itself."""
    name = configuration.get(key, str, SPLINES)
    given = configuration.get(f"{key}_kwargs", dict[str, Any], {})
    where = f"{configuration.path}: configurations.{configuration.name}.{key}"
    check_known(name, (SPLINES, LINEAR), what=f"{where} names")
    order, separate = given.get("order", 3), given.get("force_separate_z", False if name == SPLINES else None)
    known = given.get("order_z", 0) == 0 and given.get("mode", "linear") == "linear" and separate in (None, False)
    known &= given.get("aniso_axis_mode", "nearest-exact") == "nearest-exact" and order in ORDERS
    threshold = given.get("separate_z_anisotropy_threshold", UNEVEN)
    if not known or threshold != UNEVEN:
        raise ValueError(
            f"{where} has options {given} that nnU-Net's own planners do not write; predict it with nnU-Net"
        )
    return ("linear" if name == LINEAR else ORDERS[order]), separate is None


def _normalization(scheme: str, plans: Plans, channel: str) -> dict[str, Any]:
    simple = dict(
        ZScoreNormalization=dict(type="zscore", percentiles=None),
        NoNormalization=dict(type="mean_std", mean=[0.0], std=[1.0]),
        RescaleTo01Normalization=dict(type="unit_range"),
        RGBTo01Normalization=dict(type="mean_std", mean=[0.0], std=[255.0]),
    )
    check_known(scheme, (*simple, "CTNormalization"), what=f"{plans.path} names the normalisation")
    if scheme in simple:
        return simple[scheme]
    key = "foreground_intensity_properties_per_channel"
    if key not in plans.content:
        key = "foreground_intensity_properties_by_modality"  # of plans before 2023
    measured = plans.get(key, dict[str, dict[str, Any]]).get(channel, {})
    numbers = dict(low="percentile_00_5", high="percentile_99_5", mean="mean", std="std")
    missing = [name for name in numbers.values() if not isinstance(measured.get(name), int | float)]
    if missing:
        raise ValueError(
            f"{plans.path} lacks {', '.join(missing)} of channel {channel}, which its CTNormalization needs"
        )
    found = {name: float(measured[theirs]) for name, theirs in numbers.items()}
    return dict(type="ct", **{**found, "std": max(found["std"], 1e-8)})
