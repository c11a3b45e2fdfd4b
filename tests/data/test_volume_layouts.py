"""Folders of scans as other tools lay them out: which cases belong to a split, and that no subject is on both sides."""

import json
import logging
from pathlib import Path

import nibabel
import numpy as np
import pytest

from densevit.data import create_dataset
from densevit.volumes.formats.dicom_seg import write_dicom_seg
from densevit.volumes.volume import open_volume
from tests.volumes.dicom_files import save, series

SIZE = (5, 6, 4)  # X, Y, Z
LABELS = {"background": 0, "liver": 1, "tumour": 2}


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), path)


def write_case(image, label, *, seed=0):
    """Images, of which the first holds ten times the label, and the label."""
    values = np.random.default_rng(seed).integers(0, 3, SIZE).astype(np.uint8)
    for i, path in enumerate(image if isinstance(image, list) else [image]):
        write(path, (10 * values + i).astype(np.float32))
    if label is not None:
        write(label, values)


def names(dataset):
    return [case.images[0].rsplit("/", 1)[1].split(".")[0].removesuffix("_0000") for case in dataset.cases]


def assert_pairs_fit(dataset):
    """Every image lies with its own label, and every channel in its place."""
    for index in range(len(dataset)):
        image = nibabel.load(dataset.cases[index].images[0]).get_fdata()
        label = nibabel.load(dataset.cases[index].label).get_fdata()
        np.testing.assert_array_equal(image, 10 * label)
        sample = dataset[index]
        assert sample.image.shape == (dataset.in_channels, *SIZE[::-1])
        assert sample.label.shape == SIZE[::-1]


# --- MONAI datalists


@pytest.fixture
def datalist(tmp_path):
    """Write eight cases of one folder each, four subjects of two scans, and the list; `content` overrides its keys."""

    def make(*, channels=1, folds=4, **content):
        training = []
        for i in range(8):
            images = [f"case_{i}/mr_{c}.nii.gz" for c in range(channels)]
            write_case([tmp_path / name for name in images], tmp_path / f"case_{i}/label.nii.gz", seed=i)
            entry = dict(image=images if channels > 1 else images[0], label=f"case_{i}/label.nii.gz")
            training.append(dict(entry, fold=i % folds) if folds else entry)
        listed = dict(labels={"0": "background", "1": "liver", "2": "tumour"}, training=training)
        (tmp_path / "datalist.json").write_text(json.dumps({**listed, **content}))
        return tmp_path

    return make


def open_datalist(root, **options):
    return create_dataset(dict(type="monai_datalist", root=str(root), **options))


def folders(dataset):
    return [case.images[0].split("/")[-2] for case in dataset.cases]


def test_a_fold_of_a_datalist_is_for_validation_and_the_others_for_training(datalist):
    root = datalist()
    train, val = (open_datalist(root, split=split, fold=1) for split in ("train", "val"))
    assert folders(val) == ["case_1", "case_5"]
    assert sorted(folders(train) + folders(val)) == [f"case_{i}" for i in range(8)]
    assert_pairs_fit(val)
    assert val.classes == ("background", "liver", "tumour")


def test_several_files_of_a_case_are_its_channels(datalist):
    dataset = open_datalist(datalist(channels=2), split="val", fold=0)
    assert dataset.in_channels == 2
    assert_pairs_fit(dataset)


def test_a_datalist_may_lie_elsewhere_and_name_no_classes(datalist, tmp_path):
    root = datalist()
    content = json.loads((root / "datalist.json").read_text())
    del content["labels"]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "mine.json").write_text(json.dumps(content))
    path = str(tmp_path / "lists" / "mine.json")
    assert open_datalist(root, datalist=path, classes=LABELS).classes == tuple(LABELS)
    assert open_datalist(root, datalist=path, classes=list(LABELS)).classes == tuple(LABELS)
    with pytest.raises(ValueError, match=r"mine\.json does not name its classes"):
        open_datalist(root, datalist=path)


@pytest.mark.parametrize("key", ["test", "testing"])
def test_test_cases_need_no_label(datalist, key):
    root = datalist(**{key: ["more/a.nii.gz", {"image": "more/b.nii.gz"}]})
    write_case(root / "more/a.nii.gz", None)
    write_case(root / "more/b.nii.gz", None)
    dataset = open_datalist(root, split="test")
    assert (names(dataset), dataset.has_labels) == (["a", "b"], False)
    assert dataset[0].label is None


def test_a_validation_list_is_used_where_no_fold_is_asked_for(datalist):
    root = datalist(folds=0, validation=[dict(image="case_0/mr_0.nii.gz", label="case_0/label.nii.gz")])
    content = json.loads((root / "datalist.json").read_text())
    content["training"] = content["training"][1:]
    (root / "datalist.json").write_text(json.dumps(content))
    assert folders(open_datalist(root, split="val")) == ["case_0"]
    assert "case_0" not in folders(open_datalist(root))


BAD_LISTS = {
    "a path outside": (dict(training=[dict(image="../x.nii", label="y")]), {}, r"names '\.\./x\.nii', which lies outs"),
    "an absolute path": (dict(training=[dict(image="/etc/passwd", label="y")]), {}, r"names '/etc/passwd', which lies"),
    "a hidden way out": (dict(training=[dict(image="case_0/../../x", label="y")]), {}, r"lies outside"),
    "no label": (dict(training=[dict(image="case_0/mr_0.nii.gz")]), {}, r"needs image and label"),
    "several labels": (
        dict(training=[dict(image="case_0/mr_0.nii.gz", label=["case_0/label.nii.gz", "case_1/label.nii.gz"])]),
        {},
        r"a label is one file",
    ),
    "no list": (dict(training={"a": 1}), {}, r"'training' must be a list of cases, got dict"),
    "no such fold": ({}, dict(fold=9), r"has the folds 0 to 3, got fold=9"),
    "a fold for some": (
        dict(training=[dict(image="case_0/mr_0.nii.gz", label="case_0/label.nii.gz", fold="a")]),
        {},
        r"every entry of 'training' needs a fold such as 0, below 1000, or none; one has 'a'",
    ),
    "val without fold": ({}, dict(split="val"), r"lists no case for split 'val'; set fold to one of its own, 0 to 3"),
    "twice": (dict(training=[dict(image="case_0/mr_0.nii.gz", label="case_0/label.nii.gz")] * 2), {}, r"listed twice"),
    "another split": ({}, dict(split="valid"), r"split must be 'train', 'val' or 'test', got 'valid'"),
    "another read option": (
        {},
        dict(read=dict(geometri="qform")),
        r"unknown key 'read.geometri'; did you mean geometry",
    ),
    "another cache option": ({}, dict(cache=dict(max=1)), r"unknown key 'cache.max'; known: folder, max_bytes"),
}


@pytest.mark.parametrize(("content", "options", "said"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_a_wrong_datalist_or_description_is_one_sentence(datalist, content, options, said):
    root = datalist(**content)
    with pytest.raises(ValueError, match=said) as caught:
        open_datalist(root, **options)
    assert "\n" not in str(caught.value)


# --- nnU-Net raw folders


@pytest.fixture
def nnunet(tmp_path):
    """Write Dataset007_Liver with six cases; `content` overrides dataset.json."""

    def make(*, channels=2, count=6, ending=".nii.gz", splits=None, **content):
        root = tmp_path / "Dataset007_Liver"
        for i in range(count):
            images = [root / "imagesTr" / f"liver_{i:03}_{c:04}{ending}" for c in range(channels)]
            write_case(images, root / "labelsTr" / f"liver_{i:03}{ending}", seed=i)
        described = dict(
            channel_names={str(c): f"MR{c}" for c in range(channels)},
            labels=LABELS,
            numTraining=count,
            file_ending=ending,
        )
        (root / "dataset.json").write_text(json.dumps({**described, **content}))
        if splits is not None:
            (root / "splits_final.json").write_text(json.dumps(splits))
        return root

    return make


def open_nnunet(root, **options):
    return create_dataset(dict(type="nnunet", root=str(root), **options))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_an_nnunet_folder_has_a_file_a_channel(nnunet, ending):
    dataset = open_nnunet(nnunet(ending=ending))
    assert names(dataset) == [f"liver_{i:03}" for i in range(6)]
    assert (dataset.in_channels, dataset.classes) == (2, tuple(LABELS))
    assert_pairs_fit(dataset)


def test_the_first_version_of_nnunet_says_modality(nnunet):
    root = nnunet(
        channels=1,
        channel_names=None,
        modality={"0": "CT"},
        labels={"0": "background", "1": "liver", "2": "tumour"},
        training=[dict(image="./imagesTr/liver_000.nii.gz", label="./labelsTr/liver_000.nii.gz")],
    )
    content = json.loads((root / "dataset.json").read_text())
    for key in ("channel_names", "file_ending"):
        del content[key]
    (root / "dataset.json").write_text(json.dumps(content))
    dataset = open_nnunet(root)
    assert (len(dataset), dataset.in_channels, dataset.classes) == (6, 1, tuple(LABELS))


def test_splits_final_has_the_folds(nnunet):
    all_names = [f"liver_{i:03}" for i in range(6)]
    splits = [dict(train=all_names[2:], val=all_names[:2]), dict(train=all_names[:3], val=all_names[4:])]
    root = nnunet(splits=splits)
    assert names(open_nnunet(root, split="val", fold=0)) == all_names[:2]
    assert names(open_nnunet(root, split="val", fold=1)) == all_names[4:]
    assert names(open_nnunet(root, split="train", fold=1)) == all_names[:3]
    assert names(open_nnunet(root)) == all_names


def test_splits_may_lie_with_the_preprocessed_data(nnunet, tmp_path):
    root = nnunet()
    path = tmp_path / "preprocessed.json"
    path.write_text(json.dumps([dict(train=["liver_000"], val=["liver_005"])]))
    assert names(open_nnunet(root, split="val", fold=0, splits=str(path))) == ["liver_005"]


def test_cases_of_images_ts_are_for_testing(nnunet):
    root = nnunet()
    for c in range(2):
        write_case(root / "imagesTs" / f"liver_900_{c:04}.nii.gz", None)
    dataset = open_nnunet(root, split="test")
    assert (names(dataset), dataset.has_labels) == (["liver_900"], False)


def test_the_list_of_cases_in_dataset_json_is_used_where_it_has_one(nnunet, tmp_path):
    root = nnunet(count=2)
    images = [f"imagesTr/liver_001_000{c}.nii.gz" for c in range(2)]
    content = json.loads((root / "dataset.json").read_text())
    content |= dict(dataset={"mine": dict(images=images, label="labelsTr/liver_001.nii.gz")}, numTraining=1)
    (root / "dataset.json").write_text(json.dumps(content))
    dataset = open_nnunet(root)
    assert names(dataset) == ["liver_001"]
    assert_pairs_fit(dataset)


def test_images_without_label_are_left_out_and_said(nnunet, caplog):
    root = nnunet()
    (root / "labelsTr" / "liver_003.nii.gz").unlink()
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(dict(content, numTraining=4)))
    assert "liver_003" not in names(open_nnunet(root))
    assert "1 cases of" in caplog.text
    assert "says 4 training cases, and 5 are there" in caplog.text


def test_what_nnunet_calls_ignore_is_ignored(nnunet):
    labels = {"background": 0, "liver": 1, "ignore": 2}
    dataset = open_nnunet(nnunet(labels=labels))
    assert dataset.classes == ("background", "liver")
    for index, case in enumerate(dataset.cases):
        values = nibabel.load(case.label).get_fdata().transpose(2, 1, 0)
        for sample in (dataset[index], dataset.evaluation_sample(index)):
            np.testing.assert_array_equal(sample.label, np.where(values == 2, 255, values))
    assert dataset.label_values == [0, 1]


def test_channels_that_dataset_json_does_not_name_are_said(nnunet, caplog):
    assert open_nnunet(nnunet(channels=2, channel_names={"0": "CT"})).in_channels == 1
    assert "6 files of" in caplog.text
    assert "first liver_000_0001.nii.gz" in caplog.text


BAD_NNUNET = {
    "regions": (dict(labels={"background": 0, "whole": [1, 2]}), r"'whole' is a region of the labels 1, 2"),
    "no labels": (dict(labels={}), r"does not name its classes"),
    "text for a value": (dict(labels={"background": "zero"}), r"'background': 'zero'"),
    "two names": (dict(labels={"background": 0, "a": 1, "b": 1}), r"the label 1 has two names"),
    "missing cases": (dict(numTraining=9), r"says 9 training cases, and 6 are there"),
    "missing channel": (dict(channel_names={"0": "a", "1": "b", "2": "c"}), r"liver_000_0002\.nii\.gz does not exist"),
    "no channels": (dict(channel_names={}), r'needs "channel_names"'),
    "pictures": (dict(file_ending=".png"), r"are pictures; write a config with type='folder'"),
    "another ending": (dict(file_ending=".nrrd"), r"holds no file that ends in \.nrrd"),
}


@pytest.mark.parametrize(("content", "said"), BAD_NNUNET.values(), ids=BAD_NNUNET)
def test_a_wrong_nnunet_folder_is_one_sentence(nnunet, content, said):
    with pytest.raises(ValueError, match=said) as caught:
        open_nnunet(nnunet(**content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": []}, r"is no list of"),
        ([dict(train=["liver_000"], val=["liver_999"])], r"fold 0, names 'liver_999', which has no label"),
        ([dict(train=["liver_000"], val=["liver_000"])], r"has 'liver_000' to train and to validate on"),
    ],
)
def test_wrong_splits_are_one_sentence(nnunet, splits, said):
    with pytest.raises(ValueError, match=said):
        open_nnunet(nnunet(splits=splits), fold=0)


# --- folders by pattern


def open_folder(root, **options):
    return create_dataset(dict(type="volume_folder", root=str(root), classes=LABELS, **options))


def test_what_the_star_stands_for_joins_image_and_label(tmp_path):
    for i in range(5):
        write_case(tmp_path / "scans" / f"s{i}.nii.gz", tmp_path / "masks" / f"s{i}_seg.nii.gz", seed=i)
    dataset = open_folder(tmp_path, images="scans/*.nii.gz", labels="masks/*_seg.nii.gz")
    assert names(dataset) == [f"s{i}" for i in range(5)]
    assert_pairs_fit(dataset)
    val = open_folder(tmp_path, images="scans/*.nii.gz", labels="masks/*_seg.nii.gz", split="val", val_every=3, fold=1)
    assert names(val) == ["s1", "s4"]


def test_a_folder_a_case_and_a_pattern_a_channel(tmp_path):
    for i in range(3):
        folder = tmp_path / "cases" / f"p{i}"
        write_case([folder / "flair.nii.gz", folder / "t1.nii.gz"], folder / "label.nii.gz", seed=i)
    images = ["cases/*/flair.nii.gz", "cases/*/t1.nii.gz"]
    dataset = open_folder(tmp_path, images=images, labels="cases/*/label.nii.gz", group=r"p(\d)")
    assert dataset.in_channels == 2
    assert_pairs_fit(dataset)
    deep = open_folder(tmp_path, images="**/flair.nii.gz", labels="**/label.nii.gz")
    assert [case.label for case in deep.cases] == [case.label for case in dataset.cases]


def test_channels_on_different_grids_are_named_when_the_set_is_opened(tmp_path):
    write_case([tmp_path / "p0/a.nii.gz", tmp_path / "p0/b.nii.gz"], tmp_path / "p0/label.nii.gz")
    write(tmp_path / "p0/b.nii.gz", np.zeros((5, 6, 3), np.float32))
    with pytest.raises(ValueError, match=r"b\.nii\.gz has 3 x 6 x 5 voxels and its image .*a\.nii\.gz 4 x 6 x 5"):
        open_folder(tmp_path, images=["*/a.nii.gz", "*/b.nii.gz"], labels="*/label.nii.gz")


def test_a_dicom_seg_may_be_the_label_of_its_series(tmp_path):
    for i in range(2):
        slices = save(tmp_path / f"p{i}/ct", series())
        volume = open_volume(tmp_path / f"p{i}/ct")
        label = np.random.default_rng(i).integers(0, 3, volume.grid.size).astype(np.uint8)
        write_dicom_seg(label, volume, tmp_path / f"p{i}/seg.dcm", classes=list(LABELS), values=[0, 1, 2])
    dataset = open_folder(tmp_path, images="*/ct", labels="*/seg.dcm")
    for sample in (dataset[1], dataset.evaluation_sample(1)):
        np.testing.assert_array_equal(sample.label, label)
    (tmp_path / "p1/seg.dcm").write_bytes(slices[0].read_bytes())
    with pytest.raises(ValueError, match=r"seg\.dcm is CT, and a BINARY or LABELMAP segmentation is expected"):
        open_folder(tmp_path, images="*/ct", labels="*/seg.dcm")


def test_the_split_may_be_a_folder(tmp_path):
    for split, i in (("train", 0), ("train", 1), ("val", 2)):
        write_case(tmp_path / split / "x" / f"{i}.nii", tmp_path / split / "y" / f"{i}.nii", seed=i)
    options = dict(images="{split}/x/*.nii", labels="{split}/y/*.nii")
    assert names(open_folder(tmp_path, **options)) == ["0", "1"]
    assert names(open_folder(tmp_path, **options, split="val")) == ["2"]


BAD_FOLDERS = {
    "outside": (dict(images="../*.nii.gz"), r"images '\.\./\*\.nii\.gz' may lie outside the data root"),
    "absolute": (dict(labels="/tmp/*.nii.gz"), r"labels '/tmp/\*\.nii\.gz' may lie outside"),
    "no star": (dict(images="scans/s0.nii.gz"), r"has no \*"),
    "nothing": (dict(images="scan/*.nii.gz"), r"finds nothing below .*; it holds masks, scans"),
    "no label": (dict(labels="masks/*.nii.gz"), r"2 of 2 cases have no label .*first 's0' .* names such as 's0_seg'"),
    "no classes": (dict(classes=[]), r"classes must be a list of names"),
    "no image pattern": (dict(images=[]), r"images must be a pattern"),
    "no channels": (dict(in_channels=-1), r"in_channels must be at least 1, got -1"),
    "no val": (dict(split="val"), r"lists no case for split 'val'; set val_every=5"),
    "one name for two": (dict(images="scans/*s*.nii.gz"), r"0s\.nii\.gz and .*s0\.nii\.gz for the case '0'"),
}


@pytest.mark.parametrize(("options", "said"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_wrong_pattern_is_one_sentence(tmp_path, options, said):
    for i in range(2):
        write_case(tmp_path / "scans" / f"s{i}.nii.gz", tmp_path / "masks" / f"s{i}_seg.nii.gz", seed=i)
    if "0s" in said:
        write_case(tmp_path / "scans" / "0s.nii.gz", None)
    (tmp_path / "scans" / "._s0.nii.gz").write_bytes(b"left by macOS")
    config = dict(type="volume_folder", root=str(tmp_path), images="scans/*.nii.gz", labels="masks/*_seg.nii.gz")
    with pytest.raises(ValueError, match=said) as caught:
        create_dataset({**config, "classes": LABELS, **options})
    assert "\n" not in str(caught.value)


# --- sets that are all for testing


@pytest.fixture(params=["msd", "monai_datalist", "nnunet", "volume_folder"])
def external(request, tmp_path):
    """The config of three cases with labels, in each layout, that nothing divides."""
    end = "_0000" if request.param == "nnunet" else ""
    pairs = [(f"imagesTr/{i}{end}.nii.gz", f"labelsTr/{i}.nii.gz") for i in range(3)]
    for i, (image, label) in enumerate(pairs):
        write_case(tmp_path / image, tmp_path / label, seed=i)
    content = dict(labels=LABELS, modality={"0": "MR"}, training=[dict(image=i, label=j) for i, j in pairs])
    name = "datalist.json" if request.param == "monai_datalist" else "dataset.json"
    (tmp_path / name).write_text(json.dumps(content))
    folder = dict(images="imagesTr/*.nii.gz", labels="labelsTr/*.nii.gz", classes=LABELS)
    return dict(type=request.param, root=str(tmp_path), **(folder if request.param == "volume_folder" else {}))


def test_an_external_set_is_all_for_testing(external, caplog):
    dataset = create_dataset(dict(external, split="test"))
    assert [Path(case.label).name for case in dataset.cases] == [f"{i}.nii.gz" for i in range(3)]
    assert "split 'test' is all its 3 cases, none of which may have been trained on" in caplog.text
    assert len(create_dataset(dict(external, split="test", leave_out=names(dataset)[:1]))) == 2
    assert_pairs_fit(dataset)
    with pytest.raises(ValueError, match="lists no case for split 'test'; give split='val'"):
        create_dataset(dict(external, split="test", val_every=3))


# --- subjects


@pytest.fixture
def decathlon(tmp_path):
    """Scans 1 to 12, of which 2k - 1 and 2k are one subject; 3, 8 and 12 are for validation."""
    entries = []
    for i in range(1, 13):
        paths = [f"{folder}/hippo_{i:03}.nii.gz" for folder in ("imagesTr", "labelsTr")]
        write_case(tmp_path / paths[0], tmp_path / paths[1], seed=i)
        entries.append(dict(image=paths[0], label=paths[1]))
    val = [entries[i - 1] for i in (3, 8, 12)]
    content = dict(
        labels={"0": "background", "1": "front", "2": "back"},
        modality={"0": "MRI"},
        training=[entry for entry in entries if entry not in val],
        validation=val,
    )
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    return tmp_path


def test_a_set_with_a_validation_list_is_not_all_for_testing(decathlon):
    with pytest.raises(ValueError, match="lists no case for split 'test'; give split='val'"):
        create_dataset(dict(type="msd", root=str(decathlon), split="test"))


def numbers(dataset):
    return [int(name[-3:]) for name in names(dataset)]


PAIRS = dict(pattern=r"hippo_(\d+)", every=2)
TABLE = {f"hippo_{i:03}": f"subject {(i + 1) // 2}" for i in range(1, 13)}


def write_table(root, ending):
    path = root / f"subjects{ending}"
    if ending == ".json":
        path.write_text(json.dumps(TABLE))
        return path.name
    comma = "\t" if ending == ".tsv" else ","
    rows = [("sex", "subject", "case"), *(("f", subject, f"{case}.nii.gz") for case, subject in TABLE.items())]
    path.write_text("\n".join(comma.join(row) for row in rows) + "\n")
    return path.name


@pytest.mark.parametrize("form", ["numbers", ".csv", ".tsv", ".json"])
@pytest.mark.parametrize("fold", range(3))
def test_no_subject_is_on_both_sides(decathlon, form, fold):
    group = PAIRS if form == "numbers" else write_table(decathlon, form)
    options = dict(val_every=3, fold=fold, group=group)
    train, val = (
        numbers(create_dataset(dict(type="msd", root=str(decathlon), split=split, **options)))
        for split in ("train", "val")
    )
    assert sorted(train + val) == list(range(1, 13))
    assert not {(i + 1) // 2 for i in train} & {(i + 1) // 2 for i in val}
    assert val == [2 * fold + 1, 2 * fold + 2, 2 * fold + 7, 2 * fold + 8]


def test_a_regular_expression_names_the_subject(tmp_path):
    for subject in "ab":
        for visit in "12":
            path = f"{subject}_visit{visit}.nii.gz"
            write_case(tmp_path / "x" / path, tmp_path / "y" / path)
    options = dict(images="x/*.nii.gz", labels="y/*.nii.gz", group=r"^(\w)_", val_every=2)
    assert names(open_folder(tmp_path, **options, split="val")) == ["a_visit1", "a_visit2"]
    assert names(open_folder(tmp_path, **options, split="train", fold=0)) == ["b_visit1", "b_visit2"]


def test_lists_that_split_a_subject_are_warned_of(decathlon, caplog):
    config = dict(type="msd", root=str(decathlon))
    with caplog.at_level(logging.WARNING, "densevit"):
        create_dataset(config)
        assert caplog.text == ""
        create_dataset(dict(config, group=PAIRS))
    assert "3 of 3 cases to validate on are of a subject that is trained on, first hippo_003 (hippo_004" in caplog.text


BAD_GROUPS = {
    "not found": (r"patient(\d+)", r"finds nothing, or no number, in the case 'hippo_001'"),
    "no regex": ("(", r"is no regular expression"),
    "no table": ("nowhere.csv", r"the table nowhere\.csv of group does not exist"),
    "no number": (dict(pattern="(hippo)", every=2), r"finds nothing, or no number, in the case"),
    "no group": (dict(pattern=r"\d+", every=2), r"one number in its pattern"),
    "every 0": (dict(pattern=r"(\d+)", every=0), r"every to be at least 1"),
    "a key more": (dict(PAIRS, evry=2), r"unknown key 'group.evry'; did you mean every"),
    "a key less": (dict(pattern=r"(\d+)"), r"the key 'group.every' is missing"),
}


@pytest.mark.parametrize(("group", "said"), BAD_GROUPS.values(), ids=BAD_GROUPS)
def test_a_wrong_group_is_one_sentence(decathlon, group, said):
    with pytest.raises(ValueError, match=said) as caught:
        create_dataset(dict(type="msd", root=str(decathlon), group=group, val_every=3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hippo_001,a\n", r"has no subject for 11 of 12 cases, first 'hippo_002'"),
        ("hippo_001\n", r"has the line 'hippo_001'; expected a case and its subject"),
    ],
)
def test_a_wrong_table_is_one_sentence(decathlon, content, said):
    (decathlon / "subjects.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        create_dataset(dict(type="msd", root=str(decathlon), group="subjects.csv", val_every=3))


def test_a_fold_without_folds_is_refused(decathlon):
    with pytest.raises(ValueError, match=r"has no folds of its own, got fold=1; set val_every=5 too"):
        create_dataset(dict(type="msd", root=str(decathlon), fold=1))


def test_a_cached_set_is_the_same_set(decathlon, own_cache):
    config = dict(type="msd", root=str(decathlon), spacing=(2.0, 2.0, 2.0))
    plain, cached = (create_dataset(dict(config, cache=cache)) for cache in (False, True))
    for _ in range(2):
        for index in range(3):
            np.testing.assert_array_equal(cached[index].image, plain[index].image)
            np.testing.assert_array_equal(cached[index].label, plain[index].label)
    assert len(list((own_cache / "cases").rglob("*.arrays"))) == 3


@pytest.mark.real
def test_the_hippocampus_split_of_its_own_is_by_scan_and_may_be_by_subject(shared_data, caplog):
    config = dict(type="msd", root=str(shared_data / "Task04_Hippocampus"), check="load")
    group = dict(pattern=r"_(\d+)$", every=2)
    sides = [create_dataset(dict(config, split=split, val_every=5, group=group)) for split in ("train", "val")]
    subjects = [{(int(name[-3:]) + 1) // 2 for name in names(side)} for side in sides]
    assert not subjects[0] & subjects[1]
    assert sum(map(len, sides)) == 209


def test_a_fold_of_a_billion_is_refused_at_once(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).touch()
    entries = [dict(image="a.nii.gz", label="b.nii.gz", fold=10**9)]
    (tmp_path / "datalist.json").write_text(json.dumps(dict(training=entries, labels={"a": 0, "b": 1})))
    with pytest.raises(ValueError, match=r"datalist\.json: .* needs a fold such as 0, below 1000.*1000000000"):
        create_dataset(dict(type="monai_datalist", root=str(tmp_path), split="train", fold=0))
