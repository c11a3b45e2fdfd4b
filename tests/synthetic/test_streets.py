"""The rendered street scenes: what they show, and how a set of them comes to lie on disk."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densevit.data.layouts.cityscapes import CLASSES, LABEL_ID_TO_TRAIN_ID, PALETTE
from densevit.synthetic.streets import make_street_scenes, render_street_scene, writer
from densevit.synthetic.streets.meshes import IGNORE, Camera, Label
from densevit.synthetic.streets.render import draw_meshes
from densevit.synthetic.streets.street import sample_light, sample_street
from densevit.synthetic.streets.things import pedestrian
from densevit.synthetic.streets.vehicles import car, tram

SIZE = (64, 128)


def generator(index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[5, index]))


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [render_street_scene(generator(i), (128, 256)) for i in range(60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_street_scenes(tmp_path_factory.mktemp("sets") / "scenes", num_train=3, num_val=2, num_test=1, size=SIZE)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_scene_is_an_rgb_image_and_a_label_map_of_the_asked_size():
    for size in ((64, 128), (96, 96), (130, 251), (16, 16)):
        image, label = render_street_scene(generator(0), size)
        assert image.shape == (*size, 3)
        assert label.shape == size
        assert image.dtype == label.dtype == np.uint8


def test_one_generator_state_gives_one_scene_and_another_gives_another():
    first, again, other = (render_street_scene(generator(i), SIZE) for i in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_every_class_is_seen_in_at_least_a_seventh_of_the_scenes(scenes):
    seen = sum((np.bincount(label.ravel(), minlength=256) >= 20).astype(int) for _, label in scenes)
    rare = {CLASSES[i]: int(seen[i]) for i in range(19) if seen[i] < 60 / 7}
    assert not rare


def test_labels_hold_train_ids_and_the_ignored_value_only(scenes):
    values = set(np.unique(np.stack([label for _, label in scenes])).tolist())
    assert values == {*range(19), IGNORE}


def test_ignored_pixels_lie_at_the_lower_edge_of_every_scene(scenes):
    for _, label in scenes:
        rows = np.nonzero(label == IGNORE)[0]
        assert 0.005 < len(rows) / label.size < 0.12
        assert rows.min() > 0.8 * label.shape[0]


def test_sky_is_above_buildings_and_road_is_below_them(scenes):
    def mean_row(label: np.ndarray, value: int) -> float:
        return float(np.nonzero(label == value)[0].mean())

    for _, label in scenes:
        if all((label == value).any() for value in (Label.SKY, Label.BUILDING, Label.ROAD)):
            assert mean_row(label, Label.SKY) < mean_row(label, Label.BUILDING) < mean_row(label, Label.ROAD)


def test_no_class_fills_the_set_and_common_classes_are_common(scenes):
    counts = sum(np.bincount(label.ravel(), minlength=256)[:19] for _, label in scenes)
    share = counts / counts.sum()
    assert share.max() < 0.5
    assert min(share[i] for i in (Label.ROAD, Label.SIDEWALK, Label.BUILDING, Label.SKY, Label.CAR)) > 0.01


def test_the_color_of_a_class_differs_from_scene_to_scene(scenes):
    for value in (Label.ROAD, Label.SKY, Label.CAR, Label.BUILDING):
        means = np.array([image[label == value].mean(0) for image, label in scenes if (label == value).sum() > 50])
        assert means.std(0).mean() > 8


CAMERA = Camera(height=1.5, focal=300.0, center=(128.0, 55.0), size=(128, 256), bend=0.0)


def test_a_nearer_car_is_larger_in_the_picture():
    heights = [np.ptp(CAMERA.project(car(generator(0), lamps=1.0).placed(2.0, z).corners)[..., 1]) for z in (8, 16, 32)]
    assert heights[0] > 1.8 * heights[1] > 3.2 * heights[2]


def test_a_car_shows_its_red_lamps_from_behind_only():
    def red(yaw: float) -> int:
        picture = Image.new("RGBA", (256, 128))
        draw_meshes(picture, [car(generator(3), lamps=1.0).placed(0.0, 9.0, yaw=yaw)], camera=CAMERA, light=light)
        values = np.asarray(picture).astype(int)
        return int((values[..., 0] > 2.5 * values[..., 1:3].max(-1)).sum())

    light = sample_light(generator(0))
    assert red(0.0) > 50
    assert red(np.pi) == 0


def test_meshes_carry_the_label_of_what_they_show():
    assert set(pedestrian(generator(0)).labels) == {Label.PERSON}
    assert {int(v) for part in tram(generator(0), lamps=1.0) for v in part.labels} == {Label.TRAIN}


def test_houses_cover_both_sides_of_the_street_without_overlap():
    for i in range(20):
        street = sample_street(generator(i), rails=i % 2 == 0)
        left, right = street.sides
        for side in street.sides:
            assert all(start < end for start, end, _ in side.plots)
            assert all(one[1] == following[0] for one, following in pairwise(side.plots))
            assert side.plots[0][0] < 0 < 140 < side.plots[-1][1]
        assert left.front < left.kerb < street.lines[0] < right.kerb < right.front


def test_the_sun_is_a_unit_vector_above_the_horizon():
    for i in range(20):
        light = sample_light(generator(i))
        assert light.sun[1] > 0.1
        assert np.linalg.norm(light.sun) == pytest.approx(1.0, abs=1e-5)


def test_a_tiny_size_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        render_street_scene(generator(0), (8, 64))


def test_a_set_has_the_layout_of_cityscapes(made):
    assert {path.name for path in made.iterdir()} == {"leftImg8bit", "gtFine", "street_scenes.json"}
    images = sorted(made.glob("leftImg8bit/*/*/*_leftImg8bit.png"))
    assert [path.parent.parent.name for path in images] == ["test", "train", "train", "train", "val", "val"]
    for path in images:
        city, sequence, frame, _ = path.stem.split("_")
        assert (city, len(sequence), len(frame)) == (path.parent.name, 6, 6)
        stem = path.name.removesuffix("_leftImg8bit.png")
        truth = made / "gtFine" / path.parent.parent.name / city
        assert {p.name for p in truth.glob(f"{stem}_*")} == {
            f"{stem}_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds", "color")
        }


def test_label_ids_train_ids_and_colors_agree(made):
    for path in made.glob("gtFine/*/*/*_labelTrainIds.png"):
        train_ids = np.asarray(Image.open(path))
        label_ids = np.asarray(Image.open(str(path).replace("labelTrainIds", "labelIds")))
        colors = np.asarray(Image.open(str(path).replace("labelTrainIds", "color")))
        table = np.array([LABEL_ID_TO_TRAIN_ID.get(i, 300) for i in range(256)])
        np.testing.assert_array_equal(table[label_ids], train_ids)
        np.testing.assert_array_equal(colors, np.array([*PALETTE, *[(0, 0, 0)] * 237])[train_ids])
        assert set(label_ids[train_ids == IGNORE].tolist()) <= {1}


def test_images_on_disk_are_rgb_and_labels_are_single_channel(made):
    for path in made.rglob("*.png"):
        with Image.open(path) as picture:
            assert picture.size == SIZE[::-1]
            assert picture.mode == ("L" if "label" in path.name else "RGB")


def test_the_same_seed_makes_the_same_files_and_another_seed_others(made, tmp_path):
    same = make_street_scenes(tmp_path / "same", num_train=3, num_val=2, num_test=1, size=SIZE)
    other = make_street_scenes(tmp_path / "other", num_train=3, num_val=2, num_test=1, size=SIZE, seed=1)
    assert files(same) == files(made)
    assert all(content != files(made)[name] for name, content in files(other).items())


def test_scenes_do_not_depend_on_how_many_are_made(made, tmp_path):
    few = files(make_street_scenes(tmp_path / "few", num_train=1, num_val=2, size=SIZE))
    assert all(content == files(made)[name] for name, content in few.items() if name.endswith(".png"))


def test_splits_share_no_picture(made):
    pictures = [path.read_bytes() for path in made.glob("leftImg8bit/*/*/*.png")]
    assert len(set(pictures)) == len(pictures) == 6


def test_a_complete_set_is_used_again(made):
    calls, before = [], {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    make_street_scenes(
        made, num_train=3, num_val=2, num_test=1, size=SIZE, progress=lambda done, total: calls.append(done)
    )
    assert calls == []
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_progress_is_told_after_each_scene(tmp_path):
    calls = []
    make_street_scenes(
        tmp_path / "set", num_train=2, num_val=1, size=(16, 32), progress=lambda *call: calls.append(call)
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_interrupted_creation_leaves_nothing_behind(tmp_path, error):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise error("stopped")

    with pytest.raises(error, match="stopped"):
        make_street_scenes(tmp_path / "set", num_train=3, num_val=1, size=(16, 32), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "set").mkdir()
    root = make_street_scenes(tmp_path / "set", num_train=1, num_val=0, size=(16, 32))
    assert len(files(root)) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no set of street scenes; choose another folder"):
        make_street_scenes(tmp_path, num_train=1, num_val=1, size=SIZE)
    assert files(tmp_path) == {"notes.txt": b"mine"}


def test_a_set_made_with_other_arguments_is_left_alone(made):
    with pytest.raises(ValueError, match="asked for"):
        make_street_scenes(made, num_train=4, num_val=2, num_test=1, size=SIZE)
    assert len(list(made.glob("leftImg8bit/train/*/*.png"))) == 3


def test_a_set_with_a_missing_file_is_not_taken_for_complete(tmp_path):
    root = make_street_scenes(tmp_path / "set", num_train=2, num_val=0, size=(16, 32))
    next(root.glob("gtFine/train/*/*_labelIds.png")).unlink()
    with pytest.raises(ValueError, match="lacks 1 file"):
        make_street_scenes(root, num_train=2, num_val=0, size=(16, 32))


@pytest.mark.parametrize("asked", [dict(num_train=0, num_val=0), dict(num_train=-1, num_val=2)])
def test_a_set_without_scenes_is_refused(tmp_path, asked):
    with pytest.raises(ValueError, match="at least one scene"):
        make_street_scenes(tmp_path / "set", **asked)


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a seed from 0 up"):
        make_street_scenes(tmp_path / "set", num_train=1, num_val=1, seed=-1)


def test_the_manifest_names_what_was_asked_for(made):
    found = json.loads((made / writer.MANIFEST).read_text())
    assert found["counts"] == dict(train=3, val=2, test=1)
    assert (found["size"], found["seed"]) == (list(SIZE), 0)
