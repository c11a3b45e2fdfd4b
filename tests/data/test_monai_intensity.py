"""MONAI's intensity transforms in a chain: by name, with checked arguments, seeded, plain tensors in and out."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from densevit.data.augment import create_augment
from densevit.data.augment.monai_intensity import IntensityChain, _known_transforms
from densevit.data.augment.options import PRESETS
from densevit.data.dataset import Sample
from densevit.volumes.grid import Grid

NEEDED = {  # arguments that have no default, or whose default changes nothing or takes half of a small image
    "RandShiftIntensity": dict(offsets=0.5),
    "RandStdShiftIntensity": dict(factors=0.5),
    "RandScaleIntensity": dict(factors=0.5),
    "RandScaleIntensityFixedMean": dict(factors=0.5),
    "RandCoarseDropout": dict(holes=2, spatial_size=3),
    "RandCoarseShuffle": dict(holes=2, spatial_size=3),
    "RandKSpaceSpikeNoise": dict(channel_wise=False),
}


@pytest.fixture
def image():
    values = np.random.default_rng(0).normal(size=(2, 12, 10, 11))
    return torch.from_numpy(ndimage.gaussian_filter(values, (0, 1, 1, 1)).astype(np.float32))


@pytest.mark.parametrize("name", _known_transforms())
def test_every_transform_is_seeded_and_keeps_size_and_kind(image, name):
    chain = IntensityChain([dict(type=name, prob=1.0, **NEEDED.get(name, {}))])
    done = []
    for seed in (1, 2, 1):
        torch.manual_seed(len(done))
        np.random.seed(len(done))
        done.append(chain(image.clone(), seed=seed))
    assert all((type(d), d.dtype, d.shape) == (torch.Tensor, torch.float32, image.shape) for d in done)
    assert torch.equal(done[0], done[2])
    assert not torch.equal(done[0], done[1])
    assert not torch.equal(done[0], image)


def test_transforms_are_made_in_their_order(image):
    steps = [dict(type="RandScaleIntensity", prob=1.0, factors=(1.0, 1.0))]
    steps += [dict(type="RandShiftIntensity", prob=1.0, offsets=(3.0, 3.0))]
    torch.testing.assert_close(IntensityChain(steps)(image, seed=0), image * 2 + 3)
    torch.testing.assert_close(IntensityChain(steps[::-1])(image, seed=0), (image + 3) * 2)


def test_each_channel_may_have_its_own_chance(image):
    step = dict(type="RandShiftIntensity", prob=0.5, offsets=(3.0, 3.0))
    apart, together = IntensityChain([dict(step, per_channel=True)]), IntensityChain([step])
    changed = [(apart(image, seed=s) != image).flatten(1).any(1).tolist() for s in range(40)]
    assert {tuple(c) for c in changed} == {(a, b) for a in (True, False) for b in (True, False)}
    changed = [(together(image, seed=s) != image).flatten(1).any(1).tolist() for s in range(40)]
    assert {tuple(c) for c in changed} == {(True, True), (False, False)}


def test_the_probability_is_that_of_the_transform(image):
    chain = IntensityChain([dict(type="RandShiftIntensity", prob=0.25, offsets=(3.0, 3.0))])
    share = np.mean([not torch.equal(chain(image, seed=seed), image) for seed in range(400)])
    assert share == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("entry", PRESETS["nnunet"]["extra"], ids=lambda entry: entry["type"])
def test_the_preset_moves_no_voxel(entry):
    """A blob stays where it is on average: its centre of mass moves by less than a fifth of a voxel."""
    axes = np.meshgrid(*(np.arange(24) - 11.5,) * 3, indexing="ij")
    blob = torch.from_numpy(np.exp(-sum(axis**2 for axis in axes) / 32).astype(np.float32))[None]
    entry = dict(entry, prob=1.0, **({"std": 0.01} if "std" in entry else {}))
    done = [IntensityChain([entry])(blob, seed=seed)[0].numpy() for seed in range(30)]
    centres = [ndimage.center_of_mass(np.maximum(d, 0.2 * d.max()) - 0.2 * d.max()) for d in done]
    assert abs(np.mean(centres, axis=0) - 11.5).max() < 0.2
    assert not np.array_equal(done[0], blob[0])


def test_an_image_of_one_value_stays_finite():
    chain = IntensityChain([dict(entry, prob=1.0) for entry in PRESETS["nnunet"]["extra"]])
    assert torch.isfinite(chain(torch.zeros(1, 8, 8, 8), seed=0)).all()


def test_the_label_is_left_alone():
    image, label = np.random.default_rng(0).normal(size=(1, 9, 9, 9)).astype(np.float32), np.zeros((9, 9, 9), np.uint8)
    label[2:5] = 1
    volume = Sample(image=image, label=label, grid=Grid.at_origin(label.shape, (1.0, 1.0, 1.0)))
    config = dict(crop_size=(6, 6, 6), rotate=20.0, foreground=0.0)
    with_noise = create_augment(dict(config, extra=[dict(type="RandGaussianNoise", prob=1.0)]), spatial_dims=3)
    plain = create_augment(config, spatial_dims=3)
    for seed in range(4):
        one, other = (augment(volume, np.random.default_rng(seed)) for augment in (with_noise, plain))
        np.testing.assert_array_equal(one.label, other.label)
        assert np.abs(one.image - other.image).max() > 1e-3


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (dict(type="RandGaussianNoize"), "no random intensity transform named 'RandGaussianNoize'; did you mean Rand"),
        (dict(type="RandFlip", prob=0.5), "no random intensity transform named 'RandFlip'"),
        (dict(type="RandIntensityRemap"), "no random intensity transform named 'RandIntensityRemap'"),
        (dict(type="ScaleIntensity"), "no random intensity transform named 'ScaleIntensity'"),
        (dict(prob=0.5), "no random intensity transform named None"),
        (dict(type="RandGaussianNoise", stdd=0.5), "RandGaussianNoise has no key 'stdd'; did you mean std"),
        (dict(type="RandGaussianNoise", per_chanel=True), "no key 'per_chanel'; did you mean per_channel"),
        (dict(type="RandShiftIntensity", prob=0.5), "RandShiftIntensity cannot be made of .*offsets"),
        (
            dict(type="RandScaleIntensity", factors=(1, 2, 3)),
            "RandScaleIntensity cannot be made of .*factors should be",
        ),
        (dict(type="RandGaussianNoise", prob=0.1, dtype="uint8"), "RandGaussianNoise turns float32 numbers into uint8"),
    ],
    ids=str,
)
def test_a_wrong_name_or_argument_is_one_sentence_before_training(entry, said):
    with pytest.raises(ValueError, match=f"augment.extra: .*{said}") as caught:
        create_augment(dict(crop_size=(4, 4, 4), extra=(entry,)), spatial_dims=3)
    assert "\n" not in str(caught.value)


def test_a_warning_says_what_is_done_to_every_volume_of_training_and_to_none_that_is_predicted(caplog):
    entries = [dict(type="RandAdjustContrast", prob=prob, gamma=(2.0, 2.0)) for prob in (1.0, 0.9)]
    create_augment(dict(crop_size=(4, 4, 4), extra=entries), spatial_dims=3)
    assert [record.getMessage().split(" to every")[0] for record in caplog.records] == [
        "augment.extra: RandAdjustContrast does the same"
    ]


def test_without_monai_a_config_that_needs_it_says_so(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "monai.transforms", None)
    create_augment(dict(crop_size=(4, 4, 4)), spatial_dims=3)
    with pytest.raises(ValueError, match=r"augment\.extra needs MONAI; pip install 'densevit\[medical\]'"):
        create_augment(dict(crop_size=(4, 4, 4), preset="nnunet"), spatial_dims=3)
