"""No false alarm on real sets, and faults that are planted in them are found."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from densevit.doctor.examine import examine

pytestmark = pytest.mark.real


def checks(configs):
    return {(finding.severity, finding.check) for finding in examine(configs).findings}


def splits(*names, **config):
    return {name: dict(config, split=name) for name in names}


def test_cityscapes_lacks_classes_and_nothing_else(shared_data):
    root = str(shared_data / "cityscapes_mini")
    assert checks(splits("train", "val", type="cityscapes", root=root)) == {("warning", "classes")}


def test_clips_of_camvid_are_noted_and_nothing_else(shared_data):
    assert checks(splits("val", type="folder", root=str(shared_data / "camvid11"))) == {("note", "alike")}


def test_intensities_of_hippocampus_are_noted_and_nothing_else(shared_data):
    root, group = str(shared_data / "Task04_Hippocampus"), dict(pattern=r"_(\d+)", every=2)
    assert checks(splits("train", "val", type="msd", root=root, group=group)) == {("note", "range")}


def test_tumours_without_edges_are_left_alone(shared_data):
    assert checks(splits("train", "val", type="msd", root=str(shared_data / "sts_ct"))) == set()


def test_a_flipped_and_a_copied_hippocampus_are_found(shared_data, tmp_path):
    source = shared_data / "Task04_Hippocampus"
    content = json.loads((source / "dataset.json").read_text())
    content |= dict(training=content["training"][:20], validation=content["validation"][:2], numTraining=20)
    for entry in content["training"] + content["validation"]:
        for path in (entry["image"], entry["label"]):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, tmp_path / path)
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    flipped = tmp_path / content["training"][3]["label"]
    label = nibabel.load(flipped)
    nibabel.save(nibabel.Nifti1Image(np.asarray(label.dataobj)[:, ::-1], label.affine), flipped)
    for kind in ("image", "label"):
        shutil.copy(tmp_path / content["training"][5][kind], tmp_path / content["validation"][0][kind])
    found = {f.check: f for f in examine(splits("train", "val", type="msd", root=str(tmp_path))).findings}
    assert [name.rpartition("/")[2] for name in found["turned"].files] == [flipped.name]
    assert found["leak"].severity == "error"


def test_a_clip_of_a_drive_that_is_trained_on_is_noted(shared_data, tmp_path):
    source = shared_data / "camvid11"
    for split in ("train", "val"):
        for image in sorted((source / "images" / split).iterdir())[::25]:
            for path in (image, source / "labels" / split / f"{image.stem}.png"):
                (tmp_path / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path.relative_to(source)).symlink_to(path)
    shutil.copy(source / "classes.json", tmp_path)
    (leak,) = [
        f for f in examine(splits("train", "val", type="folder", root=str(tmp_path))).findings if f.check == "leak"
    ]
    assert leak.severity == "note"
    assert len(leak.files) == len(list((tmp_path / "images" / "val").iterdir()))
    assert "0016E5_" in leak.what


@pytest.mark.parametrize("images", ["{}/nifti/image/image.nii.gz", "{}/dicom/image"], ids=["nifti", "dicom"])
def test_of_two_patients_with_three_scans_each_kind_is_right_and_all_together_are_not(shared_data, images):
    root, classes = str(shared_data / "sts_dicom_rt"), dict(background=0, tumour=1)
    found = {}
    for kind in ("CT", "MR_T1", "PET", "*"):
        patterns = dict(images=f"*/{images.format(kind)}", labels=f"*/{kind}/nifti/mask/mask.nii.gz")
        found[kind] = checks(splits("train", type="volume_folder", root=root, classes=classes, **patterns))
    together = found.pop("*")
    assert set().union(*found.values()) == set()
    assert ("error", "spacing") in together
    assert (("error", "modality") in together) == ("dicom" in images)  # which NIfTI does not say
