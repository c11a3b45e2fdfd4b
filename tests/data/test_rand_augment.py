"""RandAugment beside timm: each change at the same strength, and the strengths that a magnitude allows."""

import numpy as np
import pytest
from PIL import Image

from densevit.data.augment.class_options import RandAugmentOptions
from densevit.data.augment.extra_2d import A
from densevit.data.augment.rand_augment import changes, rand_augment
from tools.peers import import_peer

FILL = (124, 116, 104)
HEIGHT, WIDTH = 32, 40
NAMES = list(changes(9, fill=FILL))
WITHOUT = ("AutoContrast", "Equalize", "Invert")  # a strength
OF_PLACE = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")


def photo():
    """A smooth picture of many colours, none of which is at the end of the range."""
    small = np.random.default_rng(0).integers(40, 200, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def drawn(name, magnitude, *, seed, image):
    """What a change makes of a picture, and the strength that it drew, in timm's unit."""
    change = changes(magnitude, fill=FILL)[name]
    done = A.Compose([change], save_applied_params=True, seed=seed)(image=image)
    ((_, drew),) = done["applied_transforms"]
    strength = {
        "Rotate": lambda: drew["rotate"],
        "ShearX": lambda: -drew["matrix"][0][1],
        "ShearY": lambda: -drew["matrix"][1][0],
        "TranslateXRel": lambda: -drew["matrix"][0][2] / image.shape[1],
        "TranslateYRel": lambda: -drew["matrix"][1][2] / image.shape[0],
        "PosterizeIncreasing": lambda: drew["num_bits"],
        "SolarizeIncreasing": lambda: 255 * drew["threshold"],
        "SolarizeAdd": lambda: drew["add"],
        "ColorIncreasing": lambda: drew["saturation"],
        "ContrastIncreasing": lambda: drew["contrast"],
        "BrightnessIncreasing": lambda: drew["brightness"],
        "SharpnessIncreasing": lambda: drew["factor"],
    }
    return done["image"], None if name in WITHOUT else strength[name]()


def timms(name, strength, image):
    import_peer("timm")
    from timm.data.auto_augment import NAME_TO_OP

    kept = dict(fillcolor=FILL, resample=Image.Resampling.BILINEAR)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(NAME_TO_OP[name](picture, *([] if strength is None else [strength]), **kept))


@pytest.mark.parity
@pytest.mark.parametrize("magnitude", [3, 9])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "Equalize"])
def test_a_change_is_that_of_timm_at_the_same_strength(name, magnitude):
    image = photo()
    for seed in range(3):
        found, strength = drawn(name, magnitude, seed=seed, image=image)
        # Shears of the half whose corner is in the middle of the picture, which ours leave where it is.
        half = dict(ShearX=np.s_[HEIGHT // 2 :], ShearY=np.s_[:, WIDTH // 2 :]).get(name, np.s_[:])
        difference = np.abs(found[half].astype(int) - timms(name, strength, image[half])).max(-1)
        if name in OF_PLACE:  # the border, where ours mix the picture with what is beyond it
            difference = difference[~edges(timms(name, strength, np.full_like(image[half], 255)))]
            assert difference.size > found[half][..., 0].size / 3
        assert difference.max() <= 2, (strength, difference.max())


def edges(moved):
    """Pixels of a white picture that was moved which have one beside them that came from beyond the border."""
    beyond = np.pad((moved != 255).any(-1), 1, constant_values=True)
    steps = (0, 1, 2)
    height, width = moved.shape[:2]
    return np.any([beyond[y : y + height, x : x + width] for y in steps for x in steps], axis=0)


@pytest.mark.parity
def test_equalizing_counts_the_pixels_of_a_value_too_and_is_lighter_by_no_more_than_these():
    image = photo()
    found = drawn("Equalize", 9, seed=0, image=image)[0].astype(int)
    theirs = timms("Equalize", None, image)
    for channel in range(3):
        largest = np.bincount(image[..., channel].ravel()).max()
        step = (image[..., channel].size - (image[..., channel] == image[..., channel].max()).sum()) // 255
        difference = found[..., channel] - theirs[..., channel]
        assert difference.min() >= 0
        assert 0 < difference.max() <= largest / step + 1


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT])
def test_strengths_reach_up_to_those_of_timm_at_the_magnitude(name):
    import_peer("timm")
    from timm.data.auto_augment import LEVEL_TO_ARG

    unchanged = dict.fromkeys(("ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing"), 1.0)
    unchanged |= dict(SharpnessIncreasing=1.0, PosterizeIncreasing=4, SolarizeIncreasing=255)
    (largest,) = LEVEL_TO_ARG[name](9, {})
    largest = abs(largest - unchanged.get(name, 0))
    image = np.zeros((100, 100, 3), np.uint8)
    strengths = [drawn(name, 9, seed=seed, image=image)[1] for seed in range(20)]
    found = [abs(strength - unchanged.get(name, 0)) for strength in strengths]
    assert min(found) <= 0.2 * largest
    assert 0.8 * largest <= max(found) <= 1.01 * largest


@pytest.mark.parity
def test_the_changes_are_the_increasing_ones_of_timm():
    import_peer("timm")
    from timm.data.auto_augment import rand_augment_transform

    steps = rand_augment_transform("rand-m9-inc1", {}).ops
    assert sorted(NAMES) == sorted(step.name for step in steps)


def test_every_change_comes_up_and_a_label_map_moves_with_its_picture():
    count = rand_augment(RandAugmentOptions(count=3), fill=FILL)
    assert (count.n, len(count.transforms)) == (3, 15)
    image = photo()
    label = (image[..., 0] > 128).astype(np.uint8)
    for name in OF_PLACE:
        change = changes(9, fill=FILL)[name]
        done = A.Compose([change], seed=0)(image=np.repeat(label[..., None] * 255, 3, -1), mask=label)
        known = done["mask"] != 255
        assert 0 < (~known).sum() < known.sum()
        agree = (done["image"][..., 0] > 128)[known] == (done["mask"] > 0)[known]
        assert agree.mean() > 0.95
