"""DICOM-SEG: what is written lies over the series, whoever reads it, and equals the NIfTI mask voxel for voxel."""

import re
import warnings

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from densevit.volumes.formats.dicom_seg import read_dicom_seg, write_dicom_seg
from densevit.volumes.volume import ReadOptions, open_volume, read_label_volume
from tests.volumes.dicom_files import OBLIQUE, multi_frame, save, save_file, series

CLASSES = dict(classes=["background", "liver", "nothing", "tumour"], values=[0, 2, 5, 7])
LPS = np.diag([-1.0, -1, 1, 1])


def random_label(volume, *, seed=0):
    """Liver and tumour, both missing from the lower slices, "nothing" nowhere."""
    label = np.random.default_rng(seed).choice([0, 2, 7], volume.grid.size).astype(np.uint8)
    label[:2] = 0
    return label


def read_as_dcmqi_does(path, affine, shape):
    """{segment number: bool (X, Y, Z)}, from the elements alone: every frame by its own position, bits by hand."""
    data = pydicom.dcmread(path)
    rows, columns = data.Rows, data.Columns
    masks = {item.SegmentNumber: np.zeros(shape, bool) for item in data.SegmentSequence}
    shared = data.SharedFunctionalGroupsSequence[0]
    rows_of_bits = [byte >> bit & 1 for byte in data.PixelData for bit in range(8)]
    for index, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        where = groups if "PlaneOrientationSequence" in groups else shared
        directions = np.array(where.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
        apart = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        frame = np.reshape(rows_of_bits[index * rows * columns : (index + 1) * rows * columns], (rows, columns))
        for row, column in np.argwhere(frame):
            place = corner + column * apart[1] * directions[0] + row * apart[0] * directions[1]
            voxel = np.linalg.inv(affine) @ LPS @ [*place, 1]
            masks[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber][
                tuple(voxel[:3].round().astype(int))
            ] = True
    return masks


def make(folder, kind):
    if kind == "multi-frame":
        return save_file(folder / "many.dcm", multi_frame(series(axes=OBLIQUE), order=(3, 0, 5, 1, 4, 2)))
    save(folder, series(axes=OBLIQUE, step=-2.5, shear=(0, 0.6) if kind == "tilted" else (0, 0)))
    return folder


@pytest.mark.parametrize("kind", ["files", "multi-frame", "tilted"])
def test_read_by_its_elements_alone_it_equals_the_nifti_mask_empty_classes_included(tmp_path, kind):
    volume = open_volume(make(tmp_path, kind), options=ReadOptions(allow_gantry_tilt=True))
    label = random_label(volume)
    volume.write_label(label, tmp_path / "mask.nii.gz")
    write_dicom_seg(label, volume, tmp_path / "out" / "mask.dcm", **CLASSES)
    nifti = nibabel.load(tmp_path / "mask.nii.gz")
    values = np.asarray(nifti.dataobj)
    masks = read_as_dcmqi_does(tmp_path / "out" / "mask.dcm", nifti.affine, nifti.shape)
    assert list(masks) == [1, 2, 3]
    for number, value in ((1, 2), (2, 5), (3, 7)):
        np.testing.assert_array_equal(masks[number], values == value)
    assert not masks[2].any()


@pytest.mark.parametrize("stored", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("kind", ["files", "multi-frame", "tilted"])
def test_it_is_read_back_as_the_same_label(tmp_path, kind, stored):
    volume = open_volume(make(tmp_path, kind), options=ReadOptions(allow_gantry_tilt=True))
    for label in (random_label(volume), np.zeros(volume.grid.size, np.uint8), np.full(volume.grid.size, 7)):
        write_dicom_seg(label, volume, tmp_path / "out" / "mask.dcm", **CLASSES, kind=stored)
        np.testing.assert_array_equal(
            read_dicom_seg(tmp_path / "out" / "mask.dcm", like=volume, values=[2, 5, 7]), label
        )
        numbers, grid = read_label_volume(tmp_path / "out" / "mask.dcm", like=volume)
        np.testing.assert_array_equal(numbers, np.searchsorted([0, 2, 5, 7], label))
        assert grid == volume.grid


def test_highdicom_reads_the_same(tmp_path):
    slices = series(axes=OBLIQUE)
    save(tmp_path, slices)
    volume = open_volume(tmp_path)
    label = random_label(volume)
    write_dicom_seg(label, volume, tmp_path / "out" / "mask.dcm", **CLASSES)
    source = highdicom.get_volume_from_series(slices)
    read = highdicom.seg.segread(tmp_path / "out" / "mask.dcm").get_volume(combine_segments=True).match_geometry(source)
    peer = np.array([0, 2, 5, 7])[read.array.astype(int)]
    own = volume.on_own_axes(label).T
    ours = LPS @ volume.affine[:, [2, 1, 0, 3]]
    np.testing.assert_array_equal(peer if np.allclose(read.affine, ours, atol=1e-4) else peer[::-1], own)


def test_it_refers_to_the_series_and_names_and_colours_its_segments(tmp_path):
    slices = series()
    save(tmp_path, slices)
    volume = open_volume(tmp_path)
    palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    write_dicom_seg(random_label(volume), volume, tmp_path / "out" / "mask.dcm", **CLASSES, palette=palette)
    data = pydicom.dcmread(tmp_path / "out" / "mask.dcm")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert data[name].value == slices[0][name].value
    (referred,) = data.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence} == {
        each.SOPInstanceUID for each in slices
    }
    for groups in data.PerFrameFunctionalGroupsSequence:
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        uid = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        source = next(each for each in slices if each.SOPInstanceUID == uid)
        np.testing.assert_allclose(position, np.array(source.ImagePositionPatient, float), atol=1e-6)
    assert [item.SegmentLabel for item in data.SegmentSequence] == ["liver", "nothing", "tumour"]
    colors = [
        highdicom.color.CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue).to_rgb()
        for item in data.SegmentSequence
    ]
    np.testing.assert_allclose(colors, palette[1:], atol=2)


def test_what_no_viewer_could_lay_over_a_series_is_refused(tmp_path):
    slices = series()
    save(tmp_path / "a", slices)
    volume = open_volume(tmp_path / "a")
    label = np.zeros(volume.grid.size, np.uint8)
    with pytest.raises(ValueError, match=r"the label holds 3, and the classes are \[2, 5, 7\]"):
        write_dicom_seg(label + 3, volume, tmp_path / "mask.dcm", **CLASSES)
    with pytest.raises(ValueError, match="kind must be 'BINARY' or 'LABELMAP', got 'FRACTIONAL'"):
        write_dicom_seg(label, volume, tmp_path / "mask.dcm", **CLASSES, kind="FRACTIONAL")
    with pytest.raises(ValueError, match="needs a class beside the background"):
        write_dicom_seg(label, volume, tmp_path / "mask.dcm", classes=["background"], values=[0])
    volume.write_label(label, tmp_path / "mask.nii.gz")
    with pytest.raises(ValueError, match="is no DICOM series, to which a DICOM-SEG could refer"):
        write_dicom_seg(label, open_volume(tmp_path / "mask.nii.gz"), tmp_path / "mask.dcm", **CLASSES)
    for each in slices:
        del each.FrameOfReferenceUID
    save(tmp_path / "b", slices)
    with pytest.raises(ValueError, match="has no FrameOfReferenceUID, to which a DICOM-SEG must refer"):
        write_dicom_seg(label, open_volume(tmp_path / "b"), tmp_path / "mask.dcm", **CLASSES)
    assert not (tmp_path / "mask.dcm").exists()


def test_a_segmentation_of_another_scan_is_refused(tmp_path):
    volumes = []
    for name, origin in (("a", (0, 0, 0)), ("b", (0.6, 0, 0)), ("c", (0, 0, 50))):
        slices = series(origin=origin)
        for each in slices:
            each.StudyInstanceUID, each.FrameOfReferenceUID = "1.2.3", "1.2.4"
        save(tmp_path / name, slices)
        volumes.append(open_volume(tmp_path / name))
    write_dicom_seg(random_label(volumes[0]), volumes[0], tmp_path / "mask.dcm", **CLASSES)
    with pytest.raises(ValueError, match=rf"frame 1 of {tmp_path}/mask.dcm does not lie on the voxels of {tmp_path}/b"):
        read_dicom_seg(tmp_path / "mask.dcm", like=volumes[1])
    with pytest.raises(ValueError, match=rf"frame 1 of {tmp_path}/mask.dcm lies outside of {tmp_path}/c"):
        read_dicom_seg(tmp_path / "mask.dcm", like=volumes[2])
    with pytest.raises(ValueError, match="has 3 segments, and 2 values were given"):
        read_dicom_seg(tmp_path / "mask.dcm", like=volumes[0], values=[1, 2])
    with pytest.raises(ValueError, match="is CT, and a BINARY or LABELMAP segmentation is expected"):
        read_dicom_seg(volumes[0].source.slices[0][0], like=volumes[0])


@pytest.mark.parametrize("name", ["PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_segmentation_of_another_patient_study_or_space_is_refused_wherever_it_lies(tmp_path, name):
    slices = series()
    save(tmp_path / "a", slices)
    volume = open_volume(tmp_path / "a")
    write_dicom_seg(random_label(volume), volume, tmp_path / "mask.dcm", **CLASSES)
    for each in slices:
        each.StudyInstanceUID, each.FrameOfReferenceUID = slices[0].StudyInstanceUID, slices[0].FrameOfReferenceUID
        setattr(each, name, "9.9")
    save(tmp_path / "b", slices)
    other = open_volume(tmp_path / "b")
    written = pydicom.dcmread(tmp_path / "mask.dcm").get(name)
    if not written:  # which says nothing against it
        read_dicom_seg(tmp_path / "mask.dcm", like=other)
        return
    with pytest.raises(ValueError, match=rf"mask.dcm has the {name} {written}, and its scan {tmp_path}/b 9.9; give"):
        read_dicom_seg(tmp_path / "mask.dcm", like=other)


def test_fractions_that_are_called_binary_are_refused(tmp_path):
    save(tmp_path / "a", series())
    volume = open_volume(tmp_path / "a")
    label = np.full(volume.grid.size, 7, np.uint8)
    write_dicom_seg(label, volume, tmp_path / "mask.dcm", **CLASSES)
    data = pydicom.dcmread(tmp_path / "mask.dcm")
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelData = np.full((int(data.NumberOfFrames), data.Rows, data.Columns), 128, np.uint8).tobytes()
    data.save_as(tmp_path / "mask.dcm")
    with pytest.raises(
        ValueError, match=r"mask.dcm says that it is BINARY and holds 128, as a FRACTIONAL segmentation"
    ):
        read_dicom_seg(tmp_path / "mask.dcm", like=volume)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_segment_that_the_file_does_not_declare_is_refused(tmp_path, kind):
    save(tmp_path / "a", series())
    volume = open_volume(tmp_path / "a")
    write_dicom_seg(np.full(volume.grid.size, 7, np.uint8), volume, tmp_path / "mask.dcm", **CLASSES, kind=kind)
    data = pydicom.dcmread(tmp_path / "mask.dcm")
    data.SegmentSequence = [each for each in data.SegmentSequence if each.SegmentNumber != 3]
    data.save_as(tmp_path / "mask.dcm")
    with pytest.raises(ValueError, match=r"frame 1 of .*mask.dcm shows segment 3, which the file does not declare"):
        read_dicom_seg(tmp_path / "mask.dcm", like=volume)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_truncated_segmentation_is_refused(tmp_path, share):
    save(tmp_path / "a", series())
    volume = open_volume(tmp_path / "a")
    path = tmp_path / "mask.dcm"
    write_dicom_seg(random_label(volume), volume, path, **CLASSES)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_dicom_seg(path, like=volume)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_segmentation_without_its_last_frames_is_called_cut_off(tmp_path):
    save(tmp_path / "a", series())
    volume = open_volume(tmp_path / "a")
    write_dicom_seg(random_label(volume), volume, tmp_path / "mask.dcm", **CLASSES)
    data = pydicom.dcmread(tmp_path / "mask.dcm")
    data.PixelData = data.PixelData[: len(data.PixelData) // 4 * 2]
    data.save_as(tmp_path / "mask.dcm")
    with pytest.raises(
        ValueError, match=r"mask.dcm says that it has \d+ frames, and \d+ are there.*cut off or damaged"
    ):
        read_dicom_seg(tmp_path / "mask.dcm", like=volume)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    save(tmp_path / "a", series())
    volume = open_volume(tmp_path / "a")

    def full(self, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", full)
    with pytest.raises(OSError, match="No space left"):
        write_dicom_seg(random_label(volume), volume, tmp_path / "out" / "mask.dcm", **CLASSES)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    "elements",
    [
        dict(StudyID="longer than sixteen", PatientName="one part only"),
        dict(PatientSex="X", PatientBirthDate="unknown", StudyDate="2020-01-02", StudyTime="12:00:00"),
        dict(SpecificCharacterSet=""),
        dict(SpecificCharacterSet="NONE SUCH"),
        dict(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"),
        dict(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎"),
    ],
    ids=lambda elements: " ".join(elements),
)
def test_odd_values_of_the_source_do_not_stop_it(tmp_path, elements):
    slices = series()
    for each in slices:
        for name, value in elements.items():
            setattr(each, name, value)
    save(tmp_path / "a", slices)
    volume = open_volume(tmp_path / "a")
    label = random_label(volume)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_dicom_seg(label, volume, tmp_path / "mask.dcm", **CLASSES)
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "mask.dcm", like=volume, values=[2, 5, 7]), label)
    if "PatientName" in elements:
        assert str(pydicom.dcmread(tmp_path / "mask.dcm").PatientName) == elements["PatientName"]


def test_what_highdicom_refuses_is_told_with_the_name_of_the_series(tmp_path, monkeypatch):
    save(tmp_path / "a", series())
    volume = open_volume(tmp_path / "a")

    def refuse(*_, **__):
        raise AttributeError("no such\nelement")

    monkeypatch.setattr(highdicom.seg, "Segmentation", refuse)
    with pytest.raises(ValueError, match=r"a cannot be referred to by a DICOM-SEG \(no such element\); a NIfTI mask"):
        write_dicom_seg(random_label(volume), volume, tmp_path / "mask.dcm", **CLASSES)


@pytest.mark.real
@pytest.mark.parametrize("name", ["STS_002/CT", "STS_003/MR_T1", "STS_002/PET"])
def test_the_tumour_of_a_real_scan_is_the_same_in_both_formats(shared_data, tmp_path, name):
    folder = shared_data / "sts_dicom_rt" / name
    volume = open_volume(folder / "dicom" / "image")
    truth, _ = read_label_volume(folder / "nifti" / "mask" / "mask.nii.gz")
    write_dicom_seg(truth, volume, tmp_path / "mask.dcm", classes=["background", "tumour"], values=[0, 1])
    assert truth.any()
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "mask.dcm", like=volume), truth)
    peer = highdicom.seg.segread(tmp_path / "mask.dcm").get_volume(combine_segments=True)
    assert peer.array.sum() == truth.sum()


@pytest.mark.real
def test_segmentations_of_other_programs_are_read(shared_data):
    root = shared_data / "dicom_samples" / "dcmqi"
    for name, corner in (("23x38x3", 1), ("24x38x3", 0)):
        volume = open_volume(root / name / "image")
        label = read_dicom_seg(root / name / "seg" / "label.seg", like=volume)
        expected = volume.image[0].copy()  # made of the label, but for the corners of each slice
        expected[:, [0, 0, -1, -1], [0, -1, 0, -1]] = corner
        np.testing.assert_array_equal(label, expected)
    ct = open_volume(root / "ct-3slice")
    peer = highdicom.seg.segread(root / "liver.dcm").get_volume(combine_segments=True)
    assert read_dicom_seg(root / "liver.dcm", like=ct).sum() == peer.array.sum()
    with pytest.raises(ValueError, match="has segments that overlap"):
        read_dicom_seg(root / "partial_overlaps.dcm", like=ct)


def test_names_of_segments_are_one_value_without_control_characters(tmp_path):
    volume = open_volume(make(tmp_path, "files"))
    names = dict(classes=["background", "left\\right\x1b[2J", "\n"], values=[0, 2, 7])
    write_dicom_seg(random_label(volume), volume, tmp_path / "out" / "mask.dcm", **names)
    volume.write_label(random_label(volume), tmp_path / "mask.nii.gz", names=["2=a\x1b", "7=b"])
    segments = pydicom.dcmread(tmp_path / "out" / "mask.dcm").SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == ["left/right?[2J", "?"]
    assert nibabel.load(tmp_path / "mask.nii.gz").header["descrip"].item() == b"2=a?;7=b"
