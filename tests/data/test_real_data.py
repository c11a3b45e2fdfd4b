"""The real sets and the collection of awkward files, each read right or refused in one sentence."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from densevit.data import create_dataset, read_image, read_label

pytestmark = pytest.mark.real
REFUSED = {  # file -> what the sentence says
    "1_trns.png": "transparent",
    "broken_data_stream.png": "unrecognized data stream",
    "i_trns.png": "transparent",
    "png_decompression_dos.png": "too large",
    "rgb_trns.png": "transparent",
    "transparent.png": "transparent",
    "truncated_image.png": "truncated",
    "truncated_jpeg.jpg": "truncated",
    "uncompressed_la.png": "transparent",
    "biomedical.nii.gz": "not a PNG",
    "biomedical_ann.nii.gz": "not a PNG",
}
ENDINGS = (".png", ".jpg", ".tif", ".gz")


def expected_rgb(path):
    """By another way: OpenCV where the file has 16 bits, otherwise PIL's own conversions."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw.dtype == np.uint16:
        raw = np.rint(raw / 257)
        return np.stack([raw] * 3, -1) if raw.ndim == 2 else raw[..., 2::-1]
    with Image.open(path) as image:
        image.load()
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def test_every_awkward_picture_is_read_right_or_refused_in_one_sentence(shared_data):
    paths = [path for path in sorted((shared_data / "awkward_2d").rglob("*")) if path.suffix in ENDINGS]
    assert len(paths) > 50
    for path in paths:
        if path.name in REFUSED:
            with pytest.raises(ValueError, match=REFUSED[path.name]) as caught:
                read_image(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
        else:
            np.testing.assert_array_equal(read_image(path), expected_rgb(path), err_msg=str(path))


def test_one_crop_reads_the_same_from_every_bit_depth_and_format(shared_data):
    images = [read_image(path) for path in sorted((shared_data / "awkward_2d" / "bitdepths").glob("*"))]
    images = [image for image in images if image.shape == (256, 256, 3)]
    assert len(images) >= 11
    assert all(np.array_equal(image, images[0]) for image in images)


def test_photos_of_every_orientation_look_alike(shared_data):
    folder = shared_data / "awkward_2d" / "pillow"
    upright = [read_image(folder / f"hopper_orientation_{k}.jpg").astype(int) for k in range(2, 9)]
    assert all(np.abs(image - upright[0]).mean() < 5 for image in upright)  # a wrong turn differs by more than 60


@pytest.mark.parametrize(("version", "indices"), [("v1.2", [17, 44, 45]), ("v2.0", [27, 84, 85])])
def test_mapillary_palette_labels_keep_their_indices(shared_data, version, indices):
    (path,) = (shared_data / "awkward_2d" / "mmseg_pseudo_mapillary" / version).glob("*.png")
    assert np.unique(read_label(path)).tolist() == indices


def test_a_palette_set_with_suffixes_and_split_files_is_read(shared_data):
    config = dict(type="folder", root=shared_data / "awkward_2d" / "mmseg_pseudo_dataset", images="imgs", labels="gts")
    config |= dict(image_suffix="_img.jpg", label_suffix="_gt.png", split_file="splits/{split}.txt")
    config |= dict(classes=["a", "b", "c", "d"])
    sizes = [len(create_dataset(dict(config, split=split))) for split in ("train", "val")]
    assert sizes == [4, 1]


@pytest.mark.parametrize(("split", "number"), [("train", 367), ("val", 101), ("test", 147)])
def test_camvid_opens_with_its_root_alone(shared_data, split, number):
    dataset = create_dataset(dict(type="folder", root=shared_data / "camvid11", split=split))
    assert (len(dataset), dataset.num_classes, dataset.classes[0]) == (number, 11, "Sky")
    label = dataset[0].label
    raw = read_label(dataset.cases[0].label)
    np.testing.assert_array_equal(label, np.where(raw == 11, 255, raw))


def test_cityscapes_label_ids_convert_to_the_train_ids_beside_them(shared_data):
    root = shared_data / "cityscapes_mini"
    dataset = create_dataset(dict(type="cityscapes", root=root, split="train"))
    assert len(dataset) == 8
    for case in dataset.cases[:3]:
        path = case.label.replace("labelTrainIds", "labelIds")
        converted = dataset.codings["_labelIds.png"].decode(read_label(path), path=path)
        np.testing.assert_array_equal(converted, read_label(case.label))


def test_instance_ids_are_no_labels(shared_data):
    root = shared_data / "cityscapes_mini"
    dataset = create_dataset(dict(type="cityscapes", root=root, split="val", check="load"))
    instances = next((root / "gtFine" / "val").rglob("*_instanceIds.png"))
    with pytest.raises(ValueError, match="instance ids"):
        dataset.codings["_labelTrainIds.png"].decode(read_label(instances), path=str(instances))


def test_a_davis_video_is_a_set_of_one_labelled_clip(shared_data):
    folders = dict(images="JPEGImages/480p", labels="Annotations/480p")
    coding = dict(classes=["background", "car"], label_map={255: 1}, ignore_index="none")
    dataset = create_dataset(dict(type="clips", root=str(shared_data / "video_carshadow"), **folders, **coding))
    (case,) = dataset.cases
    assert (len(case.labels), len(case.frames)) == (40, 40)
    assert dataset.check().counts.sum() == 40 * 480 * 854
