"""Every check of `doctor` finds its fault, in pictures and in scans, and finds nothing in healthy sets."""

import pickle
import tracemalloc
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from densevit.data.dataset import create_dataset
from densevit.doctor.examine import examine
from densevit.doctor.look import look_through
from tests.doctor.sets import MadeSet, make_sample

BOTH = pytest.mark.parametrize("rank", [2, 3], ids=["pictures", "scans"])


@pytest.fixture
def made(tmp_path):
    return lambda rank, **options: MadeSet(rank, tmp_path / "set", **options)


def found_in(made_set):
    return examine(made_set.write()).findings


def only(findings):
    (finding,) = findings
    return finding


def names(finding):
    return [path.rpartition("/")[2].partition(".")[0] for path in finding.files]


@BOTH
def test_a_healthy_set_has_no_findings(made, rank):
    found = examine(made(rank).write())
    assert found.findings == []
    assert {name: split.readable for name, split in found.splits.items()} == {"train": 12, "val": 4}


@BOTH
def test_label_values_outside_of_the_classes_are_one_error_for_all_files(made, rank):
    bad = made(rank)
    for index in (2, 5):
        bad.labels["train"][index] = np.where(bad.labels["train"][index] == 2, 9, bad.labels["train"][index])
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("error", "files", ["t02", "t05"])
    assert "9" in finding.what
    assert "and 1 more" in finding.what


@BOTH
def test_labels_that_count_from_one_are_told_so(made, rank):
    bad = made(rank)
    bad.labels["train"] = [label + 1 for label in bad.labels["train"]]
    error = next(finding for finding in found_in(bad) if finding.severity == "error")
    assert "count from 1" in error.mend
    assert len(error.files) == 12


@BOTH
def test_names_that_are_off_by_one_are_warned_of(made, rank):
    bad = made(rank, classes=("nothing", "ground", "house", "tree"))
    for split, labels in bad.labels.items():
        bad.labels[split] = [label + 1 for label in labels]
    for finding in found_in(bad):
        assert (finding.severity, finding.check) == ("warning", "classes")
        assert "off by one" in finding.mend


def test_a_class_0_that_reduce_zero_label_hides_is_warned_of_and_a_0_that_is_none_is_not(made):
    right = made(2, extra=dict(reduce_zero_label=True))
    for split, labels in right.labels.items():
        right.labels[split] = [np.where(np.arange(60) < 6, 0, label + 1) for label in labels]
    assert found_in(right) == []
    bad = made(2, extra=dict(reduce_zero_label=True))  # ground, house and tree are 0, 1 and 2 in the files
    found = found_in(bad)
    assert {(finding.severity, finding.check) for finding in found} == {("warning", "zero"), ("warning", "classes")}
    said = next(finding for finding in found if finding.check == "zero")
    assert "no label holds 3, which stands for the last class tree" in said.what
    assert "leave reduce_zero_label out" in said.mend


@pytest.mark.parametrize(
    ("classes", "zeros", "said"),
    [(("background", "house", "tree"), 6, "called background"), (("ground", "house", "tree"), 40, "% of all pixels")],
)
def test_other_signs_of_a_hidden_class_0_are_its_name_and_its_share(made, classes, zeros, said):
    bad = made(2, classes=classes, extra=dict(reduce_zero_label=True))
    for split, labels in bad.labels.items():
        bad.labels[split] = [np.where(np.arange(60) < zeros, 0, label + 1) for label in labels]
    for finding in found_in(bad):
        assert finding.check == "zero"
        assert said in finding.what


@BOTH
def test_labels_of_one_class_in_which_all_else_is_ignored_are_warned_of(made, rank):
    bad = made(rank, classes=("ground", "house") if rank == 2 else ("ignore", "house"))
    for split, labels in bad.labels.items():
        bad.labels[split] = [np.where(label == 0, 255 if rank == 2 else 0, 1) for label in labels]
    said = [finding.what for finding in found_in(bad) if "all else is ignored" in finding.what]
    assert len(said) == 2
    assert all("no class but house" in each for each in said)


@BOTH
def test_masks_of_0_and_255_are_an_error_that_says_how_to_read_them(made, rank):
    bad = made(rank, classes=("ground", "house"))
    for split, labels in bad.labels.items():
        bad.labels[split] = [np.where(label > 0, 255, 0) for label in labels]
    for finding in found_in(bad):
        assert finding.severity == "error"
        assert "black-and-white" in finding.mend
        assert "255" in finding.text


@BOTH
def test_an_image_whose_label_is_all_ignored_is_warned_of(made, rank):
    bad = made(rank)
    if rank == 3:
        bad.classes = (*bad.classes, "ignore")
    bad.labels["train"][3] = np.full_like(bad.labels["train"][3], 255 if rank == 2 else 3)
    warned = [finding for finding in found_in(bad) if finding.check == "ignored"]
    assert only(warned).severity == "warning"
    assert names(warned[0]) == ["t03"]


@BOTH
def test_a_set_whose_labels_are_all_ignored_is_an_error(made, rank):
    bad = made(rank)
    if rank == 3:
        bad.classes = (*bad.classes, "ignore")
    for split, labels in bad.labels.items():
        bad.labels[split] = [np.full_like(label, 255 if rank == 2 else 3) for label in labels]
    found = found_in(bad)
    assert {(finding.severity, finding.check) for finding in found} == {("error", "ignored")}
    assert "nothing can be learned or scored" in found[0].what


@BOTH
def test_a_label_of_another_size_is_an_error(made, rank):
    bad = made(rank)
    bad.labels["train"][1] = bad.labels["train"][1][:-2]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("error", "files", ["t01"])


def test_a_label_on_another_place_than_its_scan_is_an_error(made):
    bad = made(3)
    bad.affines[4] = np.array([[1.0, 0, 0, 30], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    finding = only(found_in(bad))
    assert (finding.severity, names(finding)) == ("error", ["t04"])


@BOTH
def test_flipped_labels_of_a_whole_set_are_warned_of(made, rank):
    bad = made(rank)
    bad.labels["train"] = [label[..., ::-1] for label in bad.labels["train"]]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, finding.split) == ("warning", "turned", "train")
    assert "flipped along width" in finding.what


@BOTH
@pytest.mark.parametrize("number", [4, 6, 9])
def test_flipped_labels_of_a_part_of_a_set_are_named(made, rank, number):
    bad = made(rank)
    bad.labels["train"] = [label[::-1] if index < number else label for index, label in enumerate(bad.labels["train"])]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check) == ("warning", "turned")
    assert names(finding) == [f"t{index:02}" for index in range(number)]
    assert f"flipped along {'height' if rank == 2 else 'depth'}" in finding.what


@BOTH
@pytest.mark.parametrize("axis", [0, -1])
def test_a_single_flipped_label_is_named(made, rank, axis):
    bad = made(rank)
    bad.labels["train"][7] = np.flip(bad.labels["train"][7], axis)
    finding = only(found_in(bad))
    assert (finding.check, names(finding)) == ("turned", ["t07"])


@BOTH
def test_labels_that_were_exchanged_are_named(made, rank):
    bad = made(rank)
    labels = bad.labels["train"]
    labels[2], labels[9] = labels[9], labels[2]
    finding = only(found_in(bad))
    assert finding.check == "swapped"
    assert sorted(names(finding)) == ["t02", "t09"]


@BOTH
def test_labels_that_have_nothing_to_do_with_edges_are_not_said_to_be_turned(made, rank):
    vague = made(rank)
    vague.labels["train"] = [make_sample(rank, 500 + index)[1] for index in range(12)]
    assert [finding for finding in found_in(vague) if finding.check in ("turned", "swapped")] == []


@BOTH
def test_a_constant_image_is_named(made, rank):
    bad = made(rank)
    bad.images["train"][6] = np.full_like(bad.images["train"][6], 80)
    if rank == 2:
        bad.images["train"][6] = np.full((40, 60, 3), 80)
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("warning", "constant", ["t06"])


def test_a_constant_channel_is_named(made):
    bad = made(2)
    picture = np.stack([bad.images["train"][0]] * 3, -1)
    picture[..., 1] = 7
    bad.images["train"][0] = picture
    finding = only(found_in(bad))
    assert (finding.check, names(finding)) == ("constant", ["t00"])


@BOTH
def test_an_image_of_another_range_is_named(made, rank):
    bad = made(rank)
    small = bad.images["train"][6] / 60
    bad.images["train"][6] = np.stack([small, small / 2, small], -1) if rank == 2 else small
    finding = only([finding for finding in found_in(bad) if finding.check == "range"])
    assert names(finding) == ["t06"]
    assert finding.severity == ("warning" if rank == 2 else "note")  # which z-scores make up for


def test_a_scan_without_negative_values_among_others_is_named(made):
    bad = made(3)
    bad.images["train"] = [image - 100 for image in bad.images["train"]]
    bad.images["val"] = [image - 100 for image in bad.images["val"]]
    bad.images["train"][2] = bad.images["train"][2] + 200
    finding = only(found_in(bad))
    assert (finding.check, names(finding)) == ("range", ["t02"])


def test_scans_without_a_common_unit_are_told_of_once(made):
    bad = made(3)
    bad.images["train"] = [image * 10.0 ** (index % 4) for index, image in enumerate(bad.images["train"])]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check) == ("note", "range")
    assert "no unit in common" in finding.what


def test_grey_pictures_among_coloured_ones_are_noted(made):
    bad = made(2)
    bad.images["train"][1] = np.stack([bad.images["train"][1]] * 3, -1)
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("note", "grey", ["t01"])


@BOTH
def test_an_image_that_is_there_twice_is_warned_of(made, rank):
    bad = made(rank)
    bad.images["train"][8] = bad.images["train"][1]
    bad.labels["train"][8] = bad.labels["train"][1]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("warning", "copies", ["t01", "t08"])


@BOTH
def test_an_image_of_both_splits_is_an_error(made, rank):
    bad = made(rank)
    for arrays in (bad.images, bad.labels):
        arrays["val"][2] = arrays["train"][4]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("error", "leak", ["v02"])
    assert finding.split == "train, val"


@BOTH
def test_nearly_the_same_image_in_both_splits_is_warned_of(made, rank):
    bad = made(rank)
    noise = np.random.default_rng(9).normal(0, 4, bad.images["train"][4].shape)
    bad.images["val"][2] = bad.images["train"][4] * 0.9 + noise
    bad.labels["val"][2] = bad.labels["train"][4]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("warning", "leak", ["v02"])


@BOTH
def test_nearly_the_same_images_of_one_split_are_noted(made, rank):
    bad = made(rank)
    bad.images["train"][5] = bad.images["train"][4] * 0.9
    bad.labels["train"][5] = bad.labels["train"][4]
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("note", "alike", ["t04", "t05"])


def test_a_subject_on_both_sides_is_warned_of_where_the_layout_knows_subjects(made):
    bad = made(3, extra=dict(group=r"(\d\d)$"))
    found = found_in(bad)
    assert "subject that is trained on" in only(found).what


@BOTH
def test_images_of_both_splits_that_are_called_after_one_patient_are_noted(made, rank):
    bad = made(rank, stems={("train", 3): "p07_scan1", ("train", 4): "p08_scan1", ("val", 1): "p07_scan2"})
    finding = only(found_in(bad))
    assert (finding.severity, finding.check, names(finding)) == ("note", "leak", ["p07_scan2"])


@BOTH
def test_a_case_of_another_size_is_noted(made, rank):
    bad = made(rank)
    for arrays in (bad.images, bad.labels):
        arrays["train"][3] = np.kron(arrays["train"][3], np.ones([3] * rank))
    assert ["t03"] in [names(finding) for finding in found_in(bad) if finding.check == "size"]


def test_a_scan_of_another_spacing_is_noted_where_all_are_resampled_and_else_an_error(made):
    bad = made(3, extra=dict(spacing=(1.0, 1.0, 1.0)))
    bad.spacings["train", 5] = (1.0, 1.0, 6.0)
    noted = only([finding for finding in found_in(bad) if finding.check == "spacing"])
    assert (noted.severity, names(noted)) == ("note", ["t05"])
    bad.extra = {}
    error = next(finding for finding in found_in(bad) if finding.severity == "error")
    assert (error.check, names(error)) == ("spacing", ["t05"])


def test_a_structure_that_is_far_too_small_or_missing_is_noted(made):
    bad = made(3)
    bad.images["train"] += [make_sample(3, 40 + index)[0] for index in range(12)]
    bad.labels["train"] += [make_sample(3, 40 + index)[1] for index in range(12)]
    label = bad.labels["train"][2]
    label[label == 2] = 1
    other = bad.labels["train"][3]
    few = np.flatnonzero(other == 2)[60:]
    other.ravel()[few] = 1
    said = {finding.check: names(finding) for finding in found_in(bad)}
    assert said["missing"] == ["t02"]
    assert said["volume"] == ["t03"]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_warned_of_while_a_file_is_read_is_a_finding(made, workers):
    bad = made(3)
    configs = bad.write()
    for name in ("t02", "t03"):
        for kind in ("images", "labels"):
            path = bad.folder / kind / "train" / f"{name}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj), None), path)
    found = [each for each in examine(configs, num_workers=workers).findings if each.check == "files"]
    assert [(each.severity, names(each)) for each in found] == [("warning", ["t02", "t03"])]
    assert "which way its axes run" in found[0].what


@BOTH
def test_a_broken_file_is_an_error_and_the_others_are_looked_at(made, rank):
    bad = made(rank)
    configs = bad.write()
    path = next((bad.folder / "images" / "train").glob("t05.*"))
    path.write_bytes(path.read_bytes()[:200])
    found = examine(configs)
    finding = only(found.findings)
    assert (finding.severity, finding.check, names(finding)) == ("error", "files", ["t05"])
    assert found.splits["train"].readable == 11


@BOTH
def test_a_set_that_cannot_be_opened_is_an_error_and_others_are_looked_at(made, rank):
    configs = made(rank).write()
    configs["test"] = dict(configs["val"], split="nowhere")
    found = examine(configs)
    assert (only(found.findings).severity, found.findings[0].check) == ("error", "open")
    assert list(found.splits) == ["train", "val"]


@BOTH
def test_workers_find_the_same(made, rank):
    bad = made(rank)
    bad.labels["train"][7] = bad.labels["train"][7][::-1]
    configs = bad.write()
    alone, together = examine(configs), examine(configs, num_workers=2)
    assert [finding.text for finding in alone.findings] == [finding.text for finding in together.findings]


@BOTH
def test_weights_favour_rare_classes(made, rank):
    rare = made(rank)
    for label in rare.labels["train"]:
        label[label == 2] = 0
        label.ravel()[:20] = 2
    classes = {each.name: each for each in examine(rare.write()).splits["train"].classes}
    assert classes["tree"].weight > classes["house"].weight > classes["ground"].weight
    assert sum(each.share for each in classes.values()) == pytest.approx(1)


@BOTH
def test_what_is_kept_of_a_sample_is_small_whatever_its_size(made, rank):
    large = made(rank)
    for split, images in large.images.items():
        images[:] = [np.kron(image, np.ones([3] * rank)) for image in images[:2]]
        large.labels[split][:] = [np.kron(label, np.ones([3] * rank, np.uint8)) for label in large.labels[split][:2]]
    sizes = []
    for each in (MadeSet(rank, large.folder.parent / "small"), large):
        dataset = create_dataset(each.write()["train"])
        kept = [replace(look, agreement=None) for look in look_through(dataset)]
        sizes.append(max(len(pickle.dumps(look)) for look in kept))
    assert sizes[1] < 1.1 * sizes[0]
    assert sizes[1] < 32 * 1024


def test_memory_grows_by_a_small_part_of_the_images_that_were_looked_at(made):
    many = made(2)
    for arrays in (many.images, many.labels):
        arrays["train"] = [np.kron(array, np.ones((6, 6), array.dtype)) for array in arrays["train"]]
        arrays["val"] = arrays["train"][:4]
    configs, peaks = many.write(), {}
    for split, config in configs.items():
        tracemalloc.start()
        assert examine({split: config}).splits[split].readable == len(many.images[split])
        peaks[split] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    one_image = 4 * 3 * 240 * 360  # bytes in float32
    assert peaks["train"] - peaks["val"] < 8 * one_image / 10
