"""Ready values of `VolumeAugmentOptions`'s keys, which a config takes by name and changes one by one."""

_MILD = dict(
    scale=(0.9, 1.1),
    scale_prob=1.0,
    rotate=10.0,
    rotate_in_plane=None,
    rotate_prob=1.0,
    elastic=None,
    elastic_prob=0.2,
    flips=(0.0, 0.0, 0.0),
    foreground=0.5,
    foreground_weights=None,
    intensity=0.1,
    noise=0.0,
    extra=(),
)

# The probabilities and ranges that nnU-Net publishes in its supplement (https://doi.org/10.1038/s41592-020-01008-z),
# for crops of cubes. Where it decides by sample and then by channel, the channel's own probability is the product.
# Others than there: the deviation of the noise is drawn evenly, not its square; low resolution comes back linearly,
# not by cubes; contrast turns on the image's mean, as its code does.
_NNUNET = dict(
    _MILD,
    scale=(0.7, 1.4),
    scale_prob=0.2,
    rotate=30.0,
    rotate_prob=0.2,
    flips=(0.5, 0.5, 0.5),
    foreground=1 / 3,
    intensity=0.0,
    extra=(
        dict(type="RandGaussianNoise", prob=0.15, std=0.1**0.5),
        dict(
            type="RandGaussianSmooth",
            prob=0.2 * 0.5,
            per_channel=True,
            **dict.fromkeys(("sigma_x", "sigma_y", "sigma_z"), (0.5, 1.5)),
        ),
        dict(type="RandScaleIntensity", prob=0.15, factors=(-0.3, 0.3)),
        dict(type="RandScaleIntensityFixedMean", prob=0.15, factors=(-0.35, 0.5), preserve_range=True),
        dict(
            type="RandSimulateLowResolution",
            prob=0.25 * 0.5,
            per_channel=True,
            zoom_range=(0.5, 1.0),
            downsample_mode="nearest-exact",  # "nearest" would move the image by up to half a voxel
        ),
        dict(type="RandAdjustContrast", prob=0.15 * 0.15, gamma=(0.7, 1.5), invert_image=True),
        dict(type="RandAdjustContrast", prob=0.15 * 0.85, gamma=(0.7, 1.5)),
    ),
)

PRESETS = {"mild": _MILD, "nnunet": _NNUNET}
