"""Scans in, masks on the same grid out."""

import csv
import json
import logging

import nibabel
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densevit.cli import main
from densevit.inference import on_whole_cells, sliding_window
from densevit.predictor import Predictor, predict
from densevit.predictor.scans import find_scans
from densevit.volumes.volume import ReadOptions, open_volume
from tests.predictor.scans import AFFINE, ORIENTATIONS, SIZE, save_checkpoint, save_scan


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "weights.safetensors")


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint)


def test_a_mask_lies_on_the_scans_own_grid_and_holds_the_files_values(predictor, tmp_path):
    scan = save_scan(tmp_path / "in" / "scan.nii.gz")
    report = predict(predictor, scan, tmp_path / "out", progress=False)
    assert report.written == {scan: [tmp_path / "out" / "scan.nii.gz"]}
    mask, source = nibabel.load(tmp_path / "out" / "scan.nii.gz"), nibabel.load(scan)
    assert mask.shape == source.shape
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-6)
    assert mask.get_data_dtype() == np.uint8
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 2, 7}
    assert mask.header["descrip"].item() == b"2=liver;7=tumour"


@pytest.mark.parametrize("spacing", [None, [2.7, 1.9, 1.3]], ids=["as it is", "resampled"])
def test_every_orientation_of_a_scan_gives_the_same_mask_each_on_its_own_grid(tmp_path, spacing):
    inference = dict(mode="slide_gaussian", roi_size=[24, 24, 24], stride=[16, 16, 16])
    checkpoint = save_checkpoint(tmp_path / "weights.safetensors", spacing=spacing, inference=inference)
    predictor, expected = Predictor(checkpoint), None
    for axes in ORIENTATIONS:
        scan = save_scan(tmp_path / f"{axes}.nii", axes=axes)
        volume = open_volume(scan)
        volume.write_label(predictor.label(volume), tmp_path / "out" / f"{axes}.nii.gz")
        mask = nibabel.load(tmp_path / "out" / f"{axes}.nii.gz")
        np.testing.assert_allclose(mask.affine, nibabel.load(scan).affine, atol=1e-5)
        canonical = nibabel.as_closest_canonical(mask)
        expected = expected or canonical
        np.testing.assert_allclose(canonical.affine, expected.affine, atol=1e-4)
        assert np.array_equal(np.asarray(canonical.dataobj), np.asarray(expected.dataobj)), axes


@pytest.mark.real
@pytest.mark.parametrize("spacing", [None, [2.5, 2.0, 3.1]], ids=["as it is", "resampled"])
def test_one_head_in_all_orientations_gives_the_same_mask(shared_data, tmp_path, spacing):
    inference = dict(mode="slide_gaussian", roi_size=[48, 48, 48], stride=[32, 32, 32])
    checkpoint = save_checkpoint(tmp_path / "weights.safetensors", spacing=spacing, inference=inference)
    predictor, expected = Predictor(checkpoint), None
    scans = sorted((shared_data / "awkward_nifti" / "orient48").glob("*.nii.gz"))
    assert len(scans) > 30
    for scan in scans:
        volume = open_volume(scan)
        volume.write_label(predictor.label(volume), tmp_path / scan.name)
        mask = nibabel.load(tmp_path / scan.name)
        np.testing.assert_allclose(mask.affine, nibabel.load(scan).affine, atol=1e-4)
        canonical = np.asarray(nibabel.as_closest_canonical(mask).dataobj)
        expected = canonical if expected is None else expected
        assert len(np.unique(expected)) == 3
        assert np.array_equal(canonical, expected), scan.name


@pytest.mark.parametrize(
    "inference", [dict(mode="whole"), dict(mode="slide_gaussian", roi_size=16, stride=12)], ids=str
)
def test_labels_are_the_argmax_of_logits_interpolated_from_the_spacing_of_training(tmp_path, inference):
    checkpoint = save_checkpoint(tmp_path / "weights.safetensors", spacing=[3.0, 3.0, 3.0], inference=inference)
    predictor, scan = Predictor(checkpoint), save_scan(tmp_path / "scan.nii")
    volume = open_volume(scan)
    working = tuple(round(n * s / 3) for n, s in zip(volume.grid.size, volume.grid.spacing, strict=True))
    label = predictor.label(volume)
    image = F.interpolate(torch.tensor(predictor.reader.normalize(volume.image))[None], working, mode="trilinear")
    with torch.inference_mode():
        if inference["mode"] == "whole":
            padded = F.pad(image, [p for n in reversed(working) for p in (0, -n % 32)])
            logits = predictor.model(padded)[..., : working[0], : working[1], : working[2]]
        else:
            cells = on_whole_cells(predictor.model, 32)
            logits = sliding_window(cells, image[0], roi_size=16, stride=12, batch_size=1)[None]
    native = F.interpolate(logits, volume.grid.size, mode="trilinear")[0]
    best = native.topk(2, 0).values
    sure = (best[0] - best[1] > 1e-4).numpy()
    assert sure.mean() > 0.9
    assert np.array_equal(label[sure], np.array([0, 2, 7])[native.argmax(0).numpy()][sure])


def test_a_scan_at_the_spacing_of_training_is_not_resampled(tmp_path):
    spacing = open_volume(save_scan(tmp_path / "scan.nii")).grid.spacing
    plain, same = (
        Predictor(save_checkpoint(tmp_path / f"{i}.safetensors", **more)).label(tmp_path / "scan.nii")
        for i, more in enumerate([{}, dict(spacing=[s * 1.0001 for s in spacing])])
    )
    assert np.array_equal(plain, same)


def test_statistics_count_voxels_and_millilitres_of_every_structure(predictor, tmp_path):
    scans = [save_scan(tmp_path / "in" / f"scan_{i}.nii.gz", seed=i) for i in range(2)]
    predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)
    for scan in scans:
        name = scan.name.removesuffix(".nii.gz")
        mask = np.asarray(nibabel.load(tmp_path / "out" / scan.name).dataobj)
        structures = json.loads((tmp_path / "out" / f"{name}.json").read_text())["structures"]
        voxel = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
        for structure, value in (("background", 0), ("liver", 2), ("tumour", 7)):
            assert structures[structure]["voxels"] == (mask == value).sum()
            assert structures[structure]["ml"] == pytest.approx((mask == value).sum() * voxel)
    rows = list(csv.DictReader((tmp_path / "out" / "volumes.csv").read_text().splitlines()))
    assert [(row["case"], row["structure"]) for row in rows[:3]] == [
        ("scan_0", "background"),
        ("scan_0", "liver"),
        ("scan_0", "tumour"),
    ]
    assert len(rows) == 6


def test_resume_makes_what_is_missing_and_processes_divide_the_scans(predictor, tmp_path):
    for i in range(3):
        save_scan(tmp_path / "in" / f"{i}.nii.gz", seed=i)
    options = dict(progress=False, resume=True)
    first = predict(predictor, tmp_path / "in", tmp_path / "out", **options, share=(0, 2))
    second = predict(predictor, tmp_path / "in", tmp_path / "out", **options, share=(1, 2))
    assert (len(first.written), len(second.written)) == (2, 1)
    assert len(predict(predictor, tmp_path / "in", tmp_path / "out", **options).resumed) == 3


def test_a_bad_scan_is_reported_and_the_others_are_predicted(predictor, tmp_path, caplog):
    good = save_scan(tmp_path / "in" / "good.nii.gz")
    truncated = save_scan(tmp_path / "in" / "truncated.nii.gz")
    truncated.write_bytes(truncated.read_bytes()[:-200])
    with caplog.at_level(logging.ERROR, "densevit"):
        report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)
    assert list(report.written) == [good]
    assert "truncated.nii.gz is damaged" in report.failed[truncated]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "good.json",
        "good.nii.gz",
        "labels.ctbl",
        "labels.txt",
        "volumes.csv",
    ]


def test_a_file_that_disagrees_with_itself_is_refused_until_one_form_is_chosen(predictor, tmp_path):
    image = nibabel.Nifti1Image(np.zeros(SIZE, np.int16), np.diag([1.0, 1, 1, 1]))
    moved = np.diag([1.0, 1, 1, 1])
    moved[0, 3] = 5
    image.set_sform(np.diag([1.0, 1, 1, 1]), code=1)
    image.set_qform(moved, code=1)
    nibabel.save(image, tmp_path / "two.nii")
    with pytest.raises(
        ValueError, match="its sform and its qform place voxels up to 5 mm apart; choose geometry='sform'"
    ):
        open_volume(tmp_path / "two.nii")
    assert open_volume(tmp_path / "two.nii", options=ReadOptions(geometry="sform")).affine[0, 3] == 0
    volume = open_volume(tmp_path / "two.nii", options=ReadOptions(geometry="qform"))
    assert volume.affine[0, 3] == volume.grid.affine[0, 3] == 5
    image.header["pixdim"][1:4] = 2
    image.header["qform_code"] = 0
    nibabel.save(nibabel.Nifti1Image(image.dataobj, None, image.header), tmp_path / "sizes.nii")
    with pytest.raises(ValueError, match=r"its sform has voxels of 1.0 x 1.0 x 1.0 mm and its voxel sizes say 2.0 x"):
        open_volume(tmp_path / "sizes.nii")
    with pytest.raises(ValueError, match="has no valid qform, only sform"):
        open_volume(tmp_path / "sizes.nii", options=ReadOptions(geometry="qform"))


def outcome(path):
    """The volume, or the sentence that says why there is none."""
    try:
        return open_volume(path)
    except ValueError as error:
        return str(error)


@pytest.mark.real
def test_every_awkward_file_reads_or_says_why_in_one_sentence(shared_data):
    folder = shared_data / "awkward_nifti"
    paths = [path for path in sorted(folder.rglob("*.nii*")) if path.is_file() and "orient48" not in str(path)]
    read = {path.name: outcome(path) for path in paths}
    for path in paths:
        result = read[path.name]
        if isinstance(result, str):
            assert str(path) in result
            assert "\n" not in result
        else:
            assert np.isfinite(result.image).all()
            label = np.arange(np.prod(result.grid.size)).reshape(result.grid.size)
            assert result.on_own_axes(label).shape == nibabel.load(path).shape[:3]
    assert "ended before" in read["truncated_example4d.nii.gz"]
    assert "no finite number" in read["mt_mtr.nii.gz"]
    assert not isinstance(read["example_nifti2.nii.gz"], str)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (dict(label_values=[0, 1]), "label_values has 2 entries, for 3 outputs of the model"),
        (dict(classes=["a"]), "classes has 1 entries, for 3 outputs of the model"),
        (
            dict(normalization=dict(type="hounsfield")),
            "used: normalization: no normalization named 'hounsfield'; known: by_channel, ct",
        ),
        (dict(spacing=[1, 0, 1]), "spacing must be from 1e-06 to 10000.0"),
        (dict(inference=dict(mode="slide")), "needs the size of its windows"),
        (dict(inference=dict(mod="slide")), "unknown key 'inference.mod'; did you mean mode"),
    ],
    ids=str,
)
def test_a_header_that_cannot_be_right_is_explained(tmp_path, header, message):
    with pytest.raises(ValueError, match=message):
        Predictor(save_checkpoint(tmp_path / "weights.safetensors", **header))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(roi_size=[8, 8, 8], stride=[16, 16, 16]),
            r"got stride \(16, 16, 16\) for roi_size \(8, 8, 8\); give both",
        ),
        (dict(roi_size=4), r"got stride \(8, 8, 8\) for roi_size \(4, 4, 4\); give both"),
        (dict(roi_size=[0, 16, 16]), "roi_size must be from 1 to 65536"),
        (dict(roi_size=[16, 16]), "roi_size must be one number for each of 3 axes"),
        (dict(batch_size=0), "batch_size must be at least 1, got 0"),
        (dict(scales=(0.0,)), "scales must be positive factors"),
    ],
    ids=str,
)
def test_windows_that_fit_no_scan_are_told_before_one_is_read(checkpoint, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor(checkpoint, **options)


def test_a_spacing_that_would_fill_the_memory_is_refused(tmp_path):
    predictor = Predictor(save_checkpoint(tmp_path / "weights.safetensors", spacing=[1.0, 1.0, 1.0]))
    scan = save_scan(tmp_path / "far.nii", affine=np.diag([200.0, 200, 200, 1]))
    with pytest.raises(
        ValueError, match=r"far.nii has voxels of 200.0 x 200.0 x 200.0 mm, and at 1.0 x 1.0 x 1.0 mm .*raise max"
    ):
        predictor.label(scan)


def test_the_command_bounds_what_a_scan_may_take(checkpoint, tmp_path, capsys):
    scan = save_scan(tmp_path / "scan.nii")
    command = ["predict", str(checkpoint), str(scan), "-o", str(tmp_path / "out"), "--quiet", "--max-bytes"]
    assert main([*command, "10KB"]) == 1
    assert f"{scan} says that it holds 24 x 22 x 26 voxels, which take" in capsys.readouterr().err
    assert main([*command, "60KB"]) == 0
    assert main([*command, "much"]) == 2
    assert "expected an amount of memory" in capsys.readouterr().err


def test_other_channels_than_the_models_are_refused(tmp_path):
    predictor = Predictor(save_checkpoint(tmp_path / "weights.safetensors", in_channels=2))
    with pytest.raises(ValueError, match="has 1 channels, and the model takes 2; give it the scans"):
        predictor.label(save_scan(tmp_path / "scan.nii"))


def test_inputs_that_are_not_there_or_clash_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        find_scans(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"holds no scan; what is looked for is .nii.gz, .nii"):
        find_scans(tmp_path)
    for name in ("a/scan.nii", "b/scan.nii.gz"):
        save_scan(tmp_path / name)
    save_scan(tmp_path / "a/scan.nii.gz")
    with pytest.raises(ValueError, match=r"would both be written as scan.nii.gz: rename one"):
        find_scans(tmp_path / "a")
    with pytest.raises(ValueError, match="a mask would overwrite"):
        find_scans(tmp_path / "b", exclude=tmp_path / "b")


def test_an_unwritable_mask_leaves_nothing_half_written(predictor, tmp_path, monkeypatch):
    volume = open_volume(save_scan(tmp_path / "scan.nii"))

    def full(image, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full)
    with pytest.raises(OSError, match="No space left"):
        volume.write_label(np.zeros(volume.grid.size, np.uint8), tmp_path / "out" / "mask.nii.gz")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_predicts_scans_with_a_checkpoint_of_volumes(checkpoint, predictor, tmp_path, capsys):
    scan, out = save_scan(tmp_path / "scan.nii.gz"), tmp_path / "out"
    command = ["predict", str(checkpoint), str(scan), "-o", str(out), "--quiet"]
    assert main([*command, "--max-memory", "2GB"]) == 0
    told = capsys.readouterr()
    assert told.out == f"1 predicted, results in {out}\n"
    assert "windows of 16 x 16 x 16 on 26 x 22 x 24, 3 classes" in told.err
    stored = np.asarray(nibabel.load(out / "scan.nii.gz").dataobj)
    assert np.array_equal(stored, open_volume(scan).on_own_axes(predictor.label(scan)))
    assert main([*command, "--format", "overlay"]) == 2
    assert "--format is for pictures" in capsys.readouterr().err
