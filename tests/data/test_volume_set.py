"""Volumes in a Decathlon folder: read in one orientation, checked against their labels, cropped by seed."""

import json
import time

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, ornt_transform

from densevit.data import create_dataset
from densevit.data.augment import create_augment
from densevit.data.case import Case, names_of_channels
from densevit.data.dataset import Sample
from densevit.data.stream import EvalSet, TrainStream
from densevit.data.volume_set import VolumeDataset
from densevit.normalization import create_normalization
from densevit.volumes.grid import Grid
from densevit.volumes.volume import open_volume

AUGMENT = dict(
    crop_size=(4, 6, 5),
    scale=(1.0, 1.0),
    rotate=0.0,
    foreground=0.0,
    flips=(0.0, 0.0, 0.0),
    intensity=0.0,
    noise=0.0,
)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
SIZE = (7, 8, 6)  # X, Y, Z


def write(path, values, affine=AFFINE, *, axes=None):
    """Save a volume given in RAS, stored in the orientation `axes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, affine)
    if axes is not None:
        image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes)))
    nibabel.save(image, path)


@pytest.fixture
def decathlon(tmp_path):
    """Write a folder of random cases; `labels` and `images` override single ones."""

    def make(count=4, *, labels=None, images=None, validation=1, **description):
        rng = np.random.default_rng(0)
        entries = []
        for i in range(count):
            name = f"case_{i:02}.nii.gz"
            image = rng.normal(100, 10, SIZE).astype(np.float32)
            label = rng.integers(0, 3, SIZE).astype(np.uint8)
            write(tmp_path / "imagesTr" / name, *(images or {}).get(i, (image,)))
            write(tmp_path / "labelsTr" / name, *(labels or {}).get(i, (label,)))
            entries.append(dict(image=f"./imagesTr/{name}", label=f"./labelsTr/{name}"))
        content = dict(
            labels={"0": "background", "1": "front", "2": "back"},
            modality={"0": "MRI"},
            training=entries[validation:],
            validation=entries[:validation],
        )
        (tmp_path / "dataset.json").write_text(json.dumps({**content, **description}))
        return tmp_path

    return make


def open_set(root, **options):
    return create_dataset(dict(type="msd", root=str(root), **options))


def test_a_sample_has_axes_depth_height_width_and_says_where_it_lies(decathlon):
    dataset = open_set(decathlon())
    sample = dataset[0]
    assert sample.image.shape == (1, 6, 8, 7)
    assert sample.label.shape == sample.grid.size == (6, 8, 7)
    assert sample.grid.spacing == (3.0, 2.0, 1.0)
    stored = nibabel.load(dataset.cases[0].label)
    np.testing.assert_array_equal(sample.label, np.asarray(stored.dataobj).T)
    assert (dataset.classes, dataset.num_classes) == (("background", "front", "back"), 3)
    assert (dataset.spatial_dims, dataset.in_channels) == (3, 1)


@pytest.mark.parametrize("axes", ["LPS", "PIR", "ASL", "SLP"])
def test_every_orientation_reads_as_the_same_array(tmp_path, axes):
    values = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    write(tmp_path / "ras.nii.gz", values)
    write(tmp_path / "other.nii.gz", values, axes=axes)
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "other.nii.gz").affine) == tuple(axes)
    expected = open_volume(tmp_path / "ras.nii.gz")
    got = open_volume(tmp_path / "other.nii.gz")
    np.testing.assert_array_equal(got.image, expected.image)
    assert got.grid.distance(expected.grid) < 1e-5


def test_an_image_and_a_label_stored_in_two_orientations_fit(decathlon, tmp_path):
    label = np.zeros(SIZE, np.uint8)
    label[5, 1, 2] = 2
    root = decathlon()
    write(root / "labelsTr" / "case_01.nii.gz", label, axes="LPS")
    sample = open_set(root)[0]
    assert np.argwhere(sample.label == 2).tolist() == [[2, 1, 5]]


def test_a_fourth_axis_holds_channels(decathlon):
    image = np.random.default_rng(0).normal(size=(*SIZE, 2)).astype(np.float32)
    root = decathlon(1, images={0: (image,)}, validation=0, modality={"0": "T1", "1": "T2"})
    dataset = open_set(root)
    assert dataset[0].image.shape == (2, 6, 8, 7)
    got = open_volume(dataset.cases[0].images[0])
    np.testing.assert_array_equal(got.image[1], image[..., 1].T)


def test_intensities_of_any_range_become_comparable():
    volume = np.random.default_rng(0).normal(size=(1, 20, 20, 20))
    wild = volume * 1e5 + 1e6
    wild[0, 0, 0, 0] = 1e12
    clipped = create_normalization(dict(type="zscore", percentiles=(0.5, 99.5)))
    one, other = clipped(volume), clipped(wild)
    for values in (one, other):
        assert values.dtype == np.float32
        assert (abs(values.mean()), values.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    np.testing.assert_allclose(other[0, 1:], one[0, 1:], atol=1e-2)


def test_a_constant_volume_becomes_zeros():
    assert not create_normalization(dict(type="zscore"))(np.full((1, 3, 3, 3), 7.0)).any()


def test_dataset_json_says_which_cases_are_for_validation(decathlon):
    root = decathlon(5, validation=2)
    train, val = (open_set(root, split=split).cases for split in ("train", "val"))
    assert (len(train), len(val)) == (3, 2)
    assert not set(train) & set(val)


def test_folds_part_the_sorted_cases(decathlon):
    root = decathlon(7, validation=0)
    folds = [open_set(root, split="val", val_every=3, fold=fold).cases for fold in range(3)]
    assert [len(files) for files in folds] == [3, 2, 2]
    assert sorted(pair for files in folds for pair in files) == open_set(root).cases
    train = open_set(root, val_every=3, fold=1).cases
    assert set(train) == set(open_set(root).cases) - set(folds[1])


def test_label_values_need_not_be_consecutive(decathlon):
    label = np.zeros(SIZE, np.float32)
    label[1], label[2] = 5, 300
    root = decathlon(1, labels={0: (label,)}, validation=0)
    content = json.loads((root / "dataset.json").read_text())
    content["labels"] = {"300": "liver", "0": "background", "5": "tumour"}
    (root / "dataset.json").write_text(json.dumps(content))
    dataset = open_set(root)
    assert dataset.classes == ("background", "tumour", "liver")
    assert [dataset[0].label[0, 0, x] for x in range(4)] == [0, 1, 2, 0]


def moved(by):
    affine = AFFINE.copy()
    affine[0, 3] += by
    return affine


BAD_LABELS = {
    "another value": ((np.full(SIZE, 3, np.uint8),), r"case_01.*holds 3, and the labels are 0 \(background\), 1"),
    "a fraction": ((np.full(SIZE, 0.5, np.float32),), r"case_01.*holds 0.5, and labels are whole numbers"),
    "not a number": ((np.full(SIZE, np.nan, np.float32),), r"holds nan, and labels are whole numbers"),
    "another size": ((np.zeros((7, 8, 5), np.uint8),), r"has 5 x 8 x 7 voxels and its image .* 6 x 8 x 7"),
    "another place": ((np.zeros(SIZE, np.uint8), moved(0.38)), r"lies up to 0.38 mm away from its image"),
    "four axes": ((np.zeros((*SIZE, 2), np.uint8),), r"has 4 axes, and a label volume has three"),
}


@pytest.mark.parametrize(("case", "said"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_wrong_label_is_named_when_the_set_is_opened(decathlon, case, said):
    with pytest.raises(ValueError, match=said) as caught:
        open_set(decathlon(labels={1: case}))
    assert "\n" not in str(caught.value)


def test_a_label_a_hair_off_its_image_is_fine(decathlon):
    assert len(open_set(decathlon(labels={1: (np.zeros(SIZE, np.uint8), moved(0.005))}))) == 3


def test_an_image_in_place_of_a_label_is_called_so(decathlon):
    image = np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE)
    with pytest.raises(ValueError, match=r"case_01.*it looks like an image: were image and label exchanged"):
        open_set(decathlon(labels={1: (image,)}))


def test_a_label_whose_spacing_was_rounded_is_read_with_a_remark(decathlon, caplog):
    assert len(open_set(decathlon(labels={1: (np.zeros(SIZE, np.uint8), moved(0.046))}))) == 3
    assert "case_01" in caplog.text
    assert "4.6 % of a voxel, and is read as on it" in caplog.text


def test_a_label_with_another_header_is_not_sent_to_be_emptied(decathlon):
    with pytest.raises(
        ValueError, match=r"only its header is wrong, copy the image's header .*; if the label does lie"
    ):
        open_set(decathlon(labels={1: (np.zeros(SIZE, np.uint8), np.eye(4) * 9)}))


def test_cases_of_two_spacings_are_refused(decathlon):
    other = np.diag([1.0, 2.0, 3.1, 1.0])
    zeros = np.zeros(SIZE, np.float32)
    root = decathlon(images={2: (zeros, other)}, labels={2: (zeros, other)})
    with pytest.raises(ValueError, match=r"case_02.* are 3.1 x 2 x 1 mm and those of .*case_01.* 3 x 2 x 1 mm"):
        open_set(root)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.full(SIZE, np.inf, np.float32), r"holds 336 voxels that are no finite number"),
        (np.zeros(SIZE, np.complex64), r"holds complex64 values"),
        (np.zeros((*SIZE, 1, 3), np.float32), r"has the shape \(7, 8, 6, 1, 3\)"),
    ],
)
def test_an_unusable_image_is_named(decathlon, image, said):
    root = decathlon(images={1: (image,)})
    with pytest.raises(ValueError, match=rf"case_01.*{said}"):
        open_set(root)[0]


def test_another_number_of_channels_is_named_when_the_set_is_opened(decathlon):
    root = decathlon(images={1: (np.zeros((*SIZE, 2), np.float32),)})
    with pytest.raises(ValueError, match=r"case_01.*has 2 channels, and this set has 1"):
        open_set(root)


def test_a_damaged_file_is_named(decathlon):
    root = decathlon()
    path = root / "imagesTr" / "case_01.nii.gz"
    dataset = open_set(root)
    content = path.read_bytes()
    path.write_bytes(content[:-60])
    with pytest.raises(ValueError, match=r"case_01\.nii\.gz is damaged"):
        dataset[0]
    path.write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"case_01\.nii\.gz cannot be read as NIfTI"):
        dataset[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(split="valid"), "split must be 'train', 'val' or 'test', got 'valid'"),
        (dict(split="val"), "lists no case for split 'val'; set val_every=5"),
        (dict(val_every=1), "val_every must be at least 2"),
        (dict(val_every=3, fold=3), "fold 0 to val_every - 1"),
        (dict(normalization=dict(type="zscore", percentiles=(99, 1))), "two rising numbers"),
        (dict(vall_every=3), "no key 'vall_every'; did you mean val_every"),
        (dict(normalization=dict(type="zscore", percentiles=("1", "99"))), "two rising numbers"),
        (dict(spacing=("1", "1", "1")), "spacing must be three positive millimetres"),
        (dict(read=dict(max_bytes="8GB")), "read.max_bytes must be a whole number, got '8GB'"),
        (dict(spacing=(0.001, 0.001, 0.001)), r"case_00\.nii\.gz has .* take 8\.06 TB, where 8\.59 GB are allowed"),
        (
            dict(val_every=3, leave_out=["case_01"]),
            r"split 'train'; .* with labels \(1\) are too few",
        ),
    ],
    ids=str,
)
def test_a_wrong_description_is_one_sentence(decathlon, options, said):
    root = decathlon(2, validation=0)
    with pytest.raises(ValueError, match=said):
        open_set(root, **options)


@pytest.mark.parametrize(
    ("wanted", "warned"), [((1.0, 1.0, 5.0), True), ((5.0, 1.0, 1.0), False), ((2.0, 1.0, 1.0), False)]
)
def test_a_spacing_that_fits_only_backwards_is_doubted(decathlon, caplog, wanted, warned):
    root = decathlon(2, validation=0)
    for kind in ("imagesTr", "labelsTr"):
        for path in (root / kind).iterdir():
            values = np.asarray(nibabel.load(path).dataobj)
            nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 4.5, 1.0])), path)
    open_set(root, spacing=wanted)
    assert ("did you mean spacing=(5.0, 1.0, 1.0)?" in caplog.text) == warned


def test_more_classes_than_a_label_of_8_bits_holds_are_refused():
    names = [f"class {i}" for i in range(256)]
    with pytest.raises(ValueError, match="there can be 255 classes of volumes at most, got 256"):
        VolumeDataset([Case(("a.nii",))], classes=names, label_values=range(256))


def test_a_folder_that_is_no_decathlon_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"dataset\.json does not exist"):
        open_set(tmp_path)
    for image in ("x", "x" * 999):  # the second is longer than the names that a disk can hold
        content = dict(labels={"0": "a"}, training=[dict(image=image, label="y")])
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"lists .*x.*, which does not exist"):
            open_set(tmp_path)


def numbered(size=(9, 11, 10)):
    """A volume whose voxels tell where they were, and its label."""
    image = np.arange(np.prod(size), dtype=np.float32).reshape(1, *size)
    return image, (image[0] % 3).astype(np.uint8)


def crop_of(config, *, seed=0, volume=None):
    image, label = volume or numbered()
    sample = Sample(image=image, label=label, grid=Grid.at_origin(label.shape, (1.0, 1.0, 1.0)))
    done = create_augment({**AUGMENT, **config}, spatial_dims=3)(sample, np.random.default_rng(seed))
    return done.image, done.label


def test_a_plain_crop_is_a_part_of_the_volume():
    image, label = numbered()
    for seed in range(5):
        got, got_label = crop_of({}, seed=seed)
        start = np.argwhere(np.isclose(image[0], got[0, 0, 0, 0], atol=1e-2))[0]
        part = tuple(slice(s, s + n) for s, n in zip(start, (4, 6, 5), strict=True))
        np.testing.assert_allclose(got[0], image[0][part], atol=1e-2)
        np.testing.assert_array_equal(got_label, label[part])


def test_crops_come_from_everywhere():
    starts = np.array(
        [np.unravel_index(round(float(crop_of({}, seed=s)[0][0, 0, 0, 0])), (9, 11, 10)) for s in range(99)]
    )
    assert starts.min(0).tolist() == [0, 0, 0]
    assert starts.max(0).tolist() == [5, 5, 5]


def test_what_lies_beyond_the_volume_is_ignored():
    image, label = numbered()
    got, got_label = crop_of(dict(crop_size=(13, 11, 10)))
    np.testing.assert_array_equal(got_label[2:11], label)
    np.testing.assert_allclose(got[0, 2:11], image[0], atol=1e-2)
    assert (got_label[:2] == 255).all()
    assert (got_label[11:] == 255).all()
    assert not got[0, :2].any()


def test_a_flip_turns_image_and_label_round():
    whole = dict(crop_size=(9, 11, 10), flips=(0.0, 0.0, 1.0))
    image, label = numbered()
    got, got_label = crop_of(whole)
    np.testing.assert_array_equal(got_label, label[:, :, ::-1])
    np.testing.assert_allclose(got[0], image[0, :, :, ::-1], atol=1e-2)


def test_a_zoom_is_the_resize_that_validation_uses():
    smooth = torch.nn.functional.interpolate(torch.randn(1, 1, 4, 5, 4), (9, 11, 10), mode="trilinear").numpy()[0]
    zoomed, label = crop_of(dict(scale=(2.0, 2.0), crop_size=(18, 22, 20)), volume=(smooth, numbered()[1]))
    resized = torch.nn.functional.interpolate(torch.from_numpy(smooth)[None], scale_factor=2, mode="trilinear")[0]
    inner = (slice(None), *(slice(1, -1),) * 3)
    np.testing.assert_allclose(zoomed[inner], resized.numpy()[inner], atol=1e-5)
    np.testing.assert_array_equal(label, numbered()[1].repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_foreground_crops_hold_the_rare_class():
    label = np.zeros((30, 30, 30), np.uint8)
    label[3, 27, 14] = 1
    image = label[None].astype(np.float32)
    for seed in range(8):
        _, got = crop_of(dict(foreground=1.0), seed=seed, volume=(image, label))
        assert (got == 1).sum() == 1


def test_intensity_and_noise_leave_the_label_alone():
    config = dict(intensity=0.3, noise=0.2)
    image, label = crop_of(config, seed=3)
    plain, plain_label = crop_of({}, seed=3)
    np.testing.assert_array_equal(label, plain_label)
    assert np.abs(image - plain).max() > 0


@pytest.mark.parametrize(
    "config", [dict(crop_size=(0, 4, 4)), dict(scale=(2.0, 1.0)), dict(foreground=2.0), dict(flips=(0.0, -1.0, 0.0))]
)
def test_impossible_augmentation_is_refused(config):
    with pytest.raises(ValueError, match=f"{next(iter(config))} must"):
        create_augment({**AUGMENT, **config}, spatial_dims=3)


def test_a_training_sample_depends_on_seed_and_draw_alone(decathlon):
    dataset = open_set(decathlon())
    augment = create_augment(
        {**AUGMENT, "rotate": 20.0, "scale": (0.8, 1.3), "noise": 0.1, "flips": (0.5, 0.5, 0.5), "foreground": 0.5},
        spatial_dims=3,
    )
    one, other = (TrainStream(dataset, augment, seed=3) for _ in range(2))
    for draw in (7, 0, 12):
        first = one[draw]
        again = other[draw]
        assert torch.equal(first.image, again.image)
        assert torch.equal(first.label, again.label)
        assert first.image.shape == (1, 4, 6, 5)
        assert (first.image.dtype, first.label.dtype) == (torch.float32, torch.int64)
    assert not torch.equal(one[1].image, TrainStream(dataset, augment, seed=4)[1].image)


def test_an_evaluation_sample_is_the_whole_volume(decathlon):
    dataset = open_set(decathlon(), split="val")
    sample = EvalSet(dataset)[0]
    np.testing.assert_array_equal(sample.image, dataset[0].image)
    assert sample.label.dtype == torch.int64


@pytest.mark.real
def test_all_of_the_hippocampus_set_opens(shared_data):
    root = shared_data / "Task04_Hippocampus"
    train, val = (open_set(root, split=split) for split in ("train", "val"))
    assert (len(train), len(val)) == (180, 29)
    assert train.classes == ("background", "Anterior", "Posterior")
    sample = val[0]
    assert sample.grid.spacing == (1.0, 1.0, 1.0)
    assert set(np.unique(sample.label)) == {0, 1, 2}


@pytest.mark.real
def test_ct_of_one_spacing_opens_or_says_why_not(shared_data):
    root = shared_data / "sts_ct"
    sample = open_set(root, split="val", check="load")[0]
    assert set(np.unique(sample.label)) == {0, 1}


def looked_at(dataset):
    """How many cases a check reads."""
    calls = []
    dataset.check(progress=lambda *call: calls.append(call))
    return len(calls)


def test_opening_a_set_again_reads_no_label_until_one_changes(decathlon):
    root = decathlon()
    time.sleep(0.03)  # files stamped a moment ago are not remembered
    first = open_set(root).check()
    assert looked_at(open_set(root, check="load")) == 0
    np.testing.assert_array_equal(open_set(root).check().counts, first.counts)
    write(root / "labelsTr" / "case_02.nii.gz", np.ones(SIZE, np.uint8))
    assert looked_at(open_set(root, check="load")) == 1
    write(root / "labelsTr" / "case_02.nii.gz", np.full(SIZE, 9, np.uint8))
    with pytest.raises(ValueError, match=r"case_02\.nii\.gz holds 9, and the labels are"):
        open_set(root)


@pytest.mark.parametrize("spacing", [None, (3.0, 1.0, 2.0)])
def test_validation_does_not_decode_a_label_again(decathlon, tmp_path, spacing):
    root = decathlon()
    time.sleep(0.03)
    options = dict(split="val", cache=dict(folder=str(tmp_path / "cases")), spacing=spacing)
    first, again = open_set(root, **options), open_set(root, **options)
    label = first.evaluation_sample(0).label
    assert first.cache.num_made == (1 if spacing is None else 2)
    np.testing.assert_array_equal(again.evaluation_sample(0).label, label)
    assert again.cache.num_made == 0


def test_a_network_of_pictures_sees_a_set_of_volumes_by_slices(decathlon):
    dataset = open_set(decathlon(), slices=dict(axis="coronal", neighbours=1))
    assert (dataset.spatial_dims, dataset.in_channels, len(dataset)) == (2, 3, 3)
    augment = create_augment(dict(crop_size=(4, 5)), spatial_dims=2, fill=dataset.fill)
    sample = TrainStream(dataset, augment, seed=0)[0]
    assert (sample.image.shape, sample.label.shape) == ((3, 4, 5), (4, 5))
    whole = dataset.evaluation_sample(0)
    assert (whole.image.shape, whole.label.shape) == ((1, 6, 8, 7), (6, 8, 7))


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        (dict(axes=1), "unknown key 'slices.axes'; did you mean axis"),
        (dict(axis=3), r"slices\.axis must be"),
        (dict(neighbours=-1), r"slices\.neighbours must be"),
    ],
)
def test_wrong_slices_are_one_sentence(decathlon, slices, said):
    with pytest.raises(ValueError, match=said):
        open_set(decathlon(), slices=slices)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/t1.nii.gz b/t2.nii.gz", "c/t1.nii.gz d/t2.nii.gz"], ("t1.nii.gz", "t2.nii.gz")),
        (["p10_t1.nii p10_t2.nii", "p20_t1.nii p20_t2.nii"], ("*_t1.nii", "*_t2.nii")),
        (["t1_10.nii t2_10.nii", "t1_20.nii t2_20.nii"], ("t1_*.nii", "t2_*.nii")),
        (["a/CT a/PT", "b/CT b/PT"], ("CT", "PT")),
        (["a_ct.nii", "b_ct.nii"], ("*_ct.nii",)),
        (["a.nii", "ba.nii"], None),
        (["a.nii", "b.nii"], None),
        (["a.nii b.nii", "c.nii d.nii"], None),
        (["a/t1.nii"], None),  # of one case nothing follows
        ([], None),
    ],
    ids=str,
)
def test_the_names_of_channels_are_what_the_files_of_all_cases_share(files, names):
    assert names_of_channels([tuple(case.split()) for case in files]) == names
