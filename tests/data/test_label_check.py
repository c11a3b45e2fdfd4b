"""Labels are checked when a set is opened and on every load, and what was found is remembered while files stay."""

import time

import numpy as np
import pytest
from PIL import Image

from densevit.data import create_dataset
from densevit.pictures.reading import read_oriented_image

LABEL = np.arange(80).reshape(8, 10) % 3


def settle():
    """Files stamped a moment ago are not remembered: they may change again within one tick of the clock."""
    time.sleep(0.03)


def config(root, **options):
    return dict(type="folder", root=root, **options)


def test_a_bad_value_is_named_when_the_set_is_opened(folder_set):
    root = folder_set([LABEL, np.where(LABEL == 2, 7, LABEL)])
    with pytest.raises(ValueError, match=r"01\.png has the label value 7 \(26 pixels\), but the 3 classes take 0 to 2"):
        create_dataset(config(root))


def test_a_bad_value_is_named_on_every_load(folder_set):
    dataset = create_dataset(config(folder_set([np.full((8, 10), 3)]), check="load"))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"00\.png has the label value 3"):
            dataset[0]


def test_a_label_of_another_size_is_refused_when_opened_and_when_loaded(folder_set):
    root = folder_set([np.zeros((8, 9))])
    with pytest.raises(ValueError, match=r"labels/train/00\.png is 9 x 8 and its image .*00\.png is 10 x 8"):
        create_dataset(config(root))
    with pytest.raises(ValueError, match=r"labels/train/00\.png is 9 x 8 and its image .*00\.png is 10 x 8"):
        create_dataset(config(root, check="load"))[0]


def test_a_label_on_its_side_is_refused_when_opened(folder_set):
    with pytest.raises(ValueError, match=r"00\.png is 8 x 10 and its image .*00\.png is 10 x 8"):
        create_dataset(config(folder_set([np.zeros((10, 8))])))


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_the_orientation_that_was_applied_is_told(tmp_path, photo, save, ending):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / f"{orientation}.{ending}", photo, exif=exif)
        pixels, turned = read_oriented_image(path)
        assert (pixels.shape[:2], turned) == ((20, 12) if orientation >= 5 else (12, 20), orientation)


def test_pixels_are_counted_by_class(folder_set):
    labels = [LABEL, np.where(LABEL == 1, 255, 2)]
    report = create_dataset(config(folder_set(labels))).check()
    assert report.counts.tolist() == [[np.count_nonzero(k == LABEL) for k in range(3)], [0, 0, (labels[1] == 2).sum()]]
    assert report.ignored.tolist() == [0, (LABEL == 1).sum()]


def test_labels_without_any_class_are_warned_of_by_name(folder_set, caplog):
    root = folder_set([LABEL, np.full((8, 10), 255)])
    create_dataset(config(root))
    assert "in 1 of 2 labels every pixel is ignored" in caplog.text
    assert "01.png" in caplog.text


def test_a_set_without_any_labelled_pixel_is_an_error(folder_set):
    root = folder_set([np.full((8, 10), 255)] * 2)
    with pytest.raises(ValueError, match=r"in all 2 labels every pixel is ignored .*nothing can be learned or scored"):
        create_dataset(config(root))


def test_black_and_white_masks_are_not_taken_for_ignored_pixels(folder_set):
    root = folder_set([np.where(LABEL == 1, 255, 0)] * 2)
    with pytest.raises(ValueError, match=r"no values but 0 and 255 .*label_map=\{255: 1\}"):
        create_dataset(config(root))


def files_read(dataset):
    """How many labels a check reads, and what it finds."""
    calls = []
    report = dataset.check(progress=lambda *call: calls.append(call))
    return len(calls), report


def test_what_was_found_is_remembered_until_a_file_changes(folder_set, save):
    root = folder_set([LABEL, LABEL])
    settle()
    first = create_dataset(config(root)).check().counts
    number, again = files_read(create_dataset(config(root, check="load")))
    assert number == 0
    np.testing.assert_array_equal(again.counts, first)
    save(root / "labels/train/01.png", np.full((8, 10), 2, np.uint8))
    number, changed = files_read(create_dataset(config(root, check="load")))
    assert number == 1
    np.testing.assert_array_equal(changed.counts, [first[0], [0, 0, 80]])
    save(root / "labels/train/01.png", np.full((8, 10), 9, np.uint8))
    with pytest.raises(ValueError, match=r"01\.png has the label value 9"):
        create_dataset(config(root))


def test_what_was_found_holds_for_one_meaning_of_the_values(folder_set):
    root = folder_set([LABEL])
    create_dataset(config(root))
    with pytest.raises(ValueError, match="label value 2"):
        create_dataset(config(root, classes=["a", "b"]))


@pytest.mark.parametrize("content", ["", "[1]", '{"x": 3}', "no json"])
def test_a_damaged_memory_is_done_without(folder_set, own_cache, content):
    root = folder_set([LABEL])
    settle()
    create_dataset(config(root))
    (path,) = own_cache.iterdir()
    path.write_text(content)
    assert create_dataset(config(root)).check().counts.sum() == 80


def test_a_cache_folder_that_cannot_be_written_is_done_without(folder_set, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DENSEVIT_CACHE", str(tmp_path / "file" / "below"))
    assert len(create_dataset(config(folder_set([LABEL])))) == 1


def test_progress_is_told_file_by_file(folder_set):
    calls = []
    dataset = create_dataset(config(folder_set([LABEL] * 3), check="load"))
    dataset.check(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.fixture
def turned_set(tmp_path, photo, save):
    """One photo (12, 20) stored with an EXIF orientation, and a label of the given size and tag."""

    def write(orientation, size, *, label_orientation=1):
        def tag(value):
            exif = Image.Exif()
            exif[0x0112] = value
            return exif

        label = (np.arange(size[0] * size[1]).reshape(size) % 3).astype(np.uint8)
        save(tmp_path / "set/images/train/a.png", photo, exif=tag(orientation))
        options = {} if label_orientation == 1 else dict(exif=tag(label_orientation))
        save(tmp_path / "set/labels/train/a.png", label, **options)
        return dict(type="folder", root=tmp_path / "set", classes=["a", "b", "c"]), label

    return write


def test_a_label_drawn_on_the_upright_photo_fits(turned_set, photo):
    config, label = turned_set(6, (20, 12))
    sample = create_dataset(config)[0]
    np.testing.assert_array_equal(sample.image.transpose(1, 2, 0), np.rot90(photo, -1))
    np.testing.assert_array_equal(sample.label, label)


def test_a_label_is_turned_by_its_own_orientation(turned_set, photo):
    config, label = turned_set(6, (12, 20), label_orientation=6)
    sample = create_dataset(config)[0]
    np.testing.assert_array_equal(sample.image.transpose(1, 2, 0), np.rot90(photo, -1))
    np.testing.assert_array_equal(sample.label, np.rot90(label, -1))


def test_a_label_drawn_on_the_stored_pixels_is_refused_with_the_way_out(turned_set, photo):
    config, label = turned_set(6, (12, 20))
    with pytest.raises(ValueError, match=r"a\.png is turned by its EXIF orientation \(6\) .* set exif='ignore'"):
        create_dataset(config)
    with pytest.raises(ValueError, match="EXIF orientation"):
        create_dataset(dict(config, check="load"))[0]
    sample = create_dataset(dict(config, exif="ignore"))[0]
    np.testing.assert_array_equal(sample.image.transpose(1, 2, 0), photo)
    np.testing.assert_array_equal(sample.label, label)


def test_a_turn_that_keeps_the_size_needs_to_be_decided(turned_set, photo):
    config, label = turned_set(3, (12, 20))
    with pytest.raises(ValueError, match="exif='apply' if on the upright view, exif='ignore' if on the stored pixels"):
        create_dataset(config)
    with pytest.raises(ValueError, match="EXIF orientation"):
        create_dataset(dict(config, check="load"))[0]
    for exif, expected in (("apply", photo[::-1, ::-1]), ("ignore", photo)):
        sample = create_dataset(dict(config, exif=exif))[0]
        np.testing.assert_array_equal(sample.image.transpose(1, 2, 0), expected)
        np.testing.assert_array_equal(sample.label, label)


def test_an_unknown_exif_mode_is_refused(turned_set):
    config, _ = turned_set(1, (12, 20))
    with pytest.raises(ValueError, match="exif must be None, 'apply' or 'ignore'"):
        create_dataset(dict(config, exif="turn"))


def test_a_class_in_no_label_is_told(folder_set, caplog):
    create_dataset(config(folder_set([LABEL, LABEL % 2], classes=("road", "car", "tree", "ghost"))))
    assert "1 of 4 classes are in none of the 2 labels" in caplog.text
    assert "scored: ghost" in caplog.text


def test_masks_of_two_conventions_in_one_set_are_told(folder_set, caplog):
    root = folder_set([LABEL % 2, LABEL % 2 * 255, LABEL % 2, LABEL % 2 * 255], classes=("background", "object"))
    create_dataset(config(root))
    assert "in 2 of 4 labels the only class is background and all else is ignored" in caplog.text
    assert "01.png" in caplog.text


def test_pictures_of_one_value_are_told(folder_set, save, caplog):
    root = folder_set([LABEL, LABEL])
    save(root / "images/train/01.png", np.full((8, 10, 3), 7, np.uint8))
    create_dataset(config(root))
    assert "in 1 images every value is the same" in caplog.text
    assert "01.png" in caplog.text


def test_a_good_set_is_opened_without_a_word(folder_set, caplog):
    create_dataset(config(folder_set([LABEL, LABEL])))
    assert not caplog.text


@pytest.mark.parametrize("kind", ["transparent", "pages", "cut off"])
def test_a_photo_that_cannot_be_read_is_named_when_the_set_is_opened(folder_set, save, kind):
    root = folder_set([LABEL, LABEL])
    path = root / "images/train/01.png"
    if kind == "transparent":
        save(path, np.zeros((8, 10, 4), np.uint8))
    elif kind == "pages":
        path.unlink()
        pages = [Image.fromarray(np.zeros((8, 10, 3), np.uint8)) for _ in range(2)]
        pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"01\.(png|tif)"):
        create_dataset(config(root))


def test_a_photo_in_place_of_a_label_is_called_so(folder_set):
    with pytest.raises(ValueError, match=r"00\.png has the label values .*looks like a photo: were image and label"):
        create_dataset(config(folder_set([np.arange(80).reshape(8, 10) * 3])))
