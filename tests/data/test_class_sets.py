"""Sets of images that are of one class each: folders and tables, pictures and volumes."""

import numpy as np
import pytest
from PIL import Image

from densevit.data.augment.class_options import ClassAugmentOptions, RandAugmentOptions
from densevit.data.class_set import CLASS_DATASETS, ClassDataset
from densevit.data.dataset import check_dataset_config
from densevit.data.stream import TrainStream
from densevit.data.view import ViewOptions
from densevit.sides import read_sides


def save(path, value=100, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def open_set(**keys):
    return check_dataset_config(keys, CLASS_DATASETS).open()


@pytest.fixture
def imagenet(tmp_path):
    """ImageNet's layout, in whose validation part one class is missing."""
    for name, count in (("n01", 2), ("n02", 3), ("n03", 1)):
        for i in range(count):
            save(tmp_path / "train" / name / f"{name}_{i}.JPEG")
    save(tmp_path / "val" / "n01" / "a.JPEG")
    save(tmp_path / "val" / "n03" / "b.JPEG")
    return tmp_path


def test_classes_are_numbered_alike_in_every_split_although_one_lacks_some(imagenet):
    train, val = (open_set(type="class_folder", root=str(imagenet), split=split) for split in ("train", "val"))
    assert train.classes == val.classes == ("n01", "n02", "n03")
    assert train.targets.tolist() == [0, 0, 1, 1, 1, 2]
    assert val.targets.tolist() == [0, 2]
    named = open_set(type="class_folder", root=str(imagenet), names={"n02": "tench"}, classes=["n03", "n02", "n01"])
    assert named.classes == ("n03", "tench", "n01")
    assert named.targets.tolist() == [2, 2, 1, 1, 1, 0]


def test_a_table_names_each_image_once(tmp_path):
    for i in range(4):
        save(tmp_path / "photos" / f"{i}.png")
    rows = ["file,kind,part", "photos/0.png,cat,train", "photos/1.png,dog,train", "photos/2.png,cat,val"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    keys = dict(type="class_table", root=str(tmp_path), table="table.csv", image="file", label="kind")
    assert open_set(**keys, split_column="part").targets.tolist() == [0, 1]
    assert open_set(**keys, split_column="part", split="val").targets.tolist() == [0]
    (tmp_path / "table.csv").write_text("\n".join([*rows, "photos/0.png,dog,train"]))
    with pytest.raises(ValueError, match=r"table.csv, line 5: photos/0.png stands there twice"):
        open_set(**keys, split_column="part")
    (tmp_path / "table.csv").write_text("\n".join([*rows, "photos/9.png,dog,train"]))
    with pytest.raises(ValueError, match="line 5: an image that exists and its class are needed"):
        open_set(**keys, split_column="part")
    with pytest.raises(ValueError, match="has no column 'image', but file, kind, part"):
        open_set(type="class_table", root=str(tmp_path), table="table.csv")


def test_a_set_that_is_not_split_is_divided_class_by_class_and_never_within_a_group(tmp_path):
    for name in ("a", "b"):
        for subject in range(4):
            for i in range(2):
                save(tmp_path / "all" / name / f"{name}{subject}_{i}.png")
    keys = dict(type="class_folder", root=str(tmp_path), images="all", val_every=2, group=r"/([ab]\d)_")
    train, val = (open_set(**keys, split=split) for split in ("train", "val"))
    assert train.targets.tolist() == val.targets.tolist() == [0] * 4 + [1] * 4
    assert not {name[-8:-6] for name in train.names} & {name[-8:-6] for name in val.names}


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (dict(split="test"), r"has no image in split 'test', but train \(6\), val \(2\); val_every=5"),
        (dict(split="dev"), "split must be 'train', 'val' or 'test', got 'dev'"),
        (dict(classes=["n01", "n02"]), r"is of the class 'n03', which classes does not name"),
        (dict(spacing=(1.0, 1.0, 1.0)), "spacing is of scans"),
        (dict(imges="x"), "the dataset 'class_folder' has no key 'imges'; did you mean images"),
    ],
)
def test_what_does_not_fit_is_one_sentence(keys, sentence, imagenet):
    (imagenet / "test").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=sentence):
        open_set(**{"type": "class_folder", "root": str(imagenet), **keys})


def test_a_mirrored_image_is_of_the_other_side(tmp_path):
    for name in ("left_hip", "right_hip"):
        save(tmp_path / "train" / name / "x.png")
    dataset = open_set(type="class_folder", root=str(tmp_path))
    sides = read_sides(dataset.classes)
    for flip, expected in ((0.0, [0, 1]), (1.0, [1, 0])):
        augment = ClassAugmentOptions(crop_size=(8, 8), flip=flip).create(fill=(0, 0, 0), sides=sides)
        found = [dataset.train_sample(i, augment=augment, rng=np.random.default_rng(0)).label for i in range(2)]
        assert [int(label) for label in found] == expected


def test_repeats_draw_each_image_several_times_in_a_row(imagenet):
    dataset = open_set(type="class_folder", root=str(imagenet))
    augment = ClassAugmentOptions(crop_size=(8, 8)).create(fill=(0, 0, 0))
    stream = TrainStream(dataset, augment, seed=0, repeats=3)
    names = [stream[draw].meta["image"] for draw in range(36)]
    assert all(len({*names[i : i + 3]}) == 1 for i in range(0, 36, 3))
    assert sorted(names[:18:3]) == sorted(names[18::3]) == sorted(dataset.names)


def test_rand_augment_and_erasing_keep_size_and_type_and_depend_on_the_generator_alone():
    options = ClassAugmentOptions(crop_size=(16, 24), rand_augment=RandAugmentOptions(), erase=0.5)
    augment = options.create(fill=(124, 116, 104))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 40, 30), dtype=np.uint8)
    dataset = ClassDataset(_Fixed(image), [1], classes=("a", "b"))
    seen = []
    for seed in range(40):
        first, second = (dataset.train_sample(0, augment=augment, rng=np.random.default_rng(seed)) for _ in range(2))
        assert first.image.shape == (3, 16, 24)
        assert first.image.dtype == np.uint8
        assert int(first.label) == 1
        np.testing.assert_array_equal(first.image, second.image)
        seen.append(first.image)
    assert len({each.tobytes() for each in seen}) == 40


class _Fixed:
    """A set of one image."""

    spatial_dims, in_channels, normalization, fill, spacing, cases, names = 2, 3, {}, (0,), None, [None], ["x.png"]

    def __init__(self, image):
        self.image = image

    def __len__(self):
        return 1

    def train_sample(self, index, *, augment, rng):
        from densevit.data.dataset import Sample
        from densevit.volumes.grid import Grid

        return augment(Sample(image=self.image, label=None, grid=Grid(self.image.shape[1:])), rng)


@pytest.mark.parametrize(("shape", "size"), [((40, 60), (28, 28)), ((20, 18), (28, 28)), ((64, 24), (32, 16))])
def test_a_view_is_the_middle_of_the_image_at_the_published_scale(shape, size):
    import torch

    rows = torch.linspace(-1, 1, shape[0])[:, None].expand(shape)
    image = torch.stack([rows, torch.linspace(-1, 1, shape[1])[None].expand(shape)])
    view = ViewOptions(size=size).of(image)
    assert view.shape == (2, *size)
    factor = max(wanted / 0.875 / length for wanted, length in zip(size, shape, strict=True))
    for axis, (wanted, length) in enumerate(zip(size, shape, strict=True)):
        line = view[axis].select(1 - axis, 5)
        covered = wanted / (length * factor) * length / (length - 1)
        assert float(line[-3] - line[2]) == pytest.approx(2 * covered * (wanted - 5) / wanted, rel=0.08)
        assert float(line.mean()) == pytest.approx(0, abs=0.06)


def test_scans_keep_their_scale_and_are_filled_up_with_their_mean():
    import torch

    volume = torch.arange(4 * 6 * 8.0).reshape(1, 4, 6, 8)
    view = ViewOptions(size=(6, 6, 4), crop_ratio=None).of(volume)
    torch.testing.assert_close(view[:, 1:5], volume[..., 2:6])
    assert not view[:, [0, 5]].any()
