"""What the inputs of a command mean."""

import pytest

from densevit.predictor.scans import find_scans, is_dicom
from tests.volumes.dicom_files import save, series

DICOM = bytes(128) + b"DICM"


def touch(folder, *names, content=b""):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def names(scans):
    return [scan.name for scan in scans]


def test_a_folder_stands_for_its_scans_of_every_kind_and_for_the_dicom_series_in_it(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.nrrd", "c.mha", "notes.txt", ".hidden.nii.gz", "deeper/d.nii")
    touch(tmp_path, "patient/ct/1", "patient/ct/2", content=DICOM)
    scans = find_scans(tmp_path)
    assert names(scans) == ["a", "b", "c", "patient"]
    assert [is_dicom(scan.path) for scan in scans] == [False, False, False, True]
    assert scans[3].source == tmp_path / "patient"


def test_a_folder_of_dicom_files_is_one_scan_and_so_are_its_files(tmp_path):
    touch(tmp_path / "ct", "1.dcm", "2.dcm", content=DICOM)
    assert [scan.paths for scan in find_scans(tmp_path / "ct")] == [(tmp_path / "ct",)]
    both = [tmp_path / "ct" / "1.dcm", tmp_path / "ct" / "2.dcm"]
    assert [scan.paths for scan in find_scans(both)] == [(tmp_path / "ct",)]
    assert [scan.paths for scan in find_scans(both[:1])] == [(both[0],)]
    touch(tmp_path / "ct", "mask.nii.gz")
    assert names(find_scans(tmp_path / "ct")) == ["mask", "ct"]


def test_files_of_a_dicom_folder_that_are_named_are_never_more_than_their_series(tmp_path):
    one, other = series(3), series(2)
    paths = save(tmp_path / "study", [*one, *other], seed=1)
    assert [scan.paths for scan in find_scans(paths)] == [(min(paths[:3]),), (min(paths[3:]),)]
    assert [scan.paths for scan in find_scans(paths[3:])] == [(min(paths[3:]),)]
    with pytest.raises(ValueError, match=r"2 of the 3 files of series number 3 .* name one file, which stands for"):
        find_scans(paths[:2])


def test_a_folder_holds_the_series_of_the_modality_that_is_asked_for(tmp_path):
    slices = series(2)
    save(tmp_path / "ct", slices)
    for each in slices:
        each.Modality = "MR"
    save(tmp_path / "mr", slices)
    assert names(find_scans(tmp_path)) == ["ct", "mr"]
    assert names(find_scans(tmp_path, modality="CT")) == ["ct"]
    with pytest.raises(FileNotFoundError, match="holds DICOM files without an image of modality 'PT'"):
        find_scans(tmp_path, modality="PT")


def test_a_folder_that_is_called_like_a_scan_is_not_passed_over(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.nii.gz/notes.txt")
    assert [scan.path for scan in find_scans(tmp_path)] == [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]


def test_channels_in_files_of_their_own_are_one_scan_where_the_model_takes_as_many(tmp_path):
    touch(tmp_path, "x_0000.nii.gz", "x_0001.nii.gz", "y_0001.nii.gz", "y_0000.nii.gz")
    two = find_scans(tmp_path, channels=2)
    assert names(two) == ["x", "y"]
    assert two[0].source == [tmp_path / "x_0000.nii.gz", tmp_path / "x_0001.nii.gz"]
    assert names(find_scans(tmp_path)) == ["x_0000", "x_0001", "y_0000", "y_0001"]
    assert names(find_scans(tmp_path, channels=3)) == ["x_0000", "x_0001", "y_0000", "y_0001"]


def test_a_single_channel_loses_its_number_and_numbered_cases_keep_theirs(tmp_path):
    touch(tmp_path / "nnunet", "x_0000.nii.gz", "y_0000.nii.gz")
    assert names(find_scans(tmp_path / "nnunet")) == ["x", "y"]
    touch(tmp_path / "cases", "case_0001.nii.gz", "case_0007.nii.gz")
    assert names(find_scans(tmp_path / "cases")) == ["case_0001", "case_0007"]


def test_each_scan_comes_once_and_names_are_told_apart_by_folders(tmp_path):
    touch(tmp_path, "a/scan.nii.gz", "b/scan.mha", "b/other.nii")
    assert len(find_scans([tmp_path / "a", tmp_path / "a" / "scan.nii.gz"])) == 1
    assert names(find_scans([tmp_path / "a", tmp_path / "b"])) == ["a/scan", "b/other", "b/scan"]
    touch(tmp_path, "b/scan.nii.gz")
    with pytest.raises(ValueError, match=r"would both be written as scan.nii.gz: rename one, or predict them in two"):
        find_scans(tmp_path / "b")


def test_results_in_the_input_folder_are_no_scans_of_a_glob(tmp_path):
    touch(tmp_path, "a.nii.gz", "out/a.nii.gz")
    assert names(find_scans(f"{tmp_path}/**/*.nii.gz", exclude=tmp_path / "out")) == ["a"]
    assert names(find_scans(f"{tmp_path}/*", exclude=tmp_path / "out")) == ["a"]


@pytest.mark.parametrize("inner", ["scan.nii.gz", "1.dcm"])
def test_results_are_not_written_where_scans_are_read(tmp_path, inner):
    touch(tmp_path / "in", inner, content=DICOM)
    with pytest.raises(ValueError, match="a mask would overwrite"):
        find_scans(tmp_path / "in", exclude=tmp_path / "in")


def test_what_is_not_there_and_what_holds_no_scan_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        find_scans(tmp_path / "missing.nii.gz")
    touch(tmp_path, "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"holds no scan; what is looked for is .nii.gz"):
        find_scans(tmp_path)


def test_a_subfolder_of_structure_sets_alone_is_no_scan(tmp_path):
    save(tmp_path / "patient" / "ct", series())
    plans = series(1)
    plans[0].Modality = "RTSTRUCT"
    save(tmp_path / "patient" / "rt", plans)
    assert names(find_scans(tmp_path / "patient")) == ["ct"]
    touch(tmp_path / "broken" / "ct", "1.dcm")
    assert names(find_scans(tmp_path / "broken")) == ["ct"]  # its reader says what is wrong
    save(tmp_path / "plans" / "rt", plans)
    with pytest.raises(FileNotFoundError, match="holds DICOM files without an image; give a CT, MR or PET series"):
        find_scans(tmp_path / "plans")


def test_scans_deeper_down_are_told_of(tmp_path):
    touch(tmp_path, "a/b/one.nii.gz", "a/two.mha", "c/notes.txt")
    with pytest.raises(
        FileNotFoundError, match=r"itself holds no scan, its subfolders hold 2, such as .*a/two.mha: name"
    ):
        find_scans(tmp_path)


def test_globs_and_links_are_followed_and_an_empty_text_is_no_folder(tmp_path, monkeypatch):
    touch(tmp_path, "a/x.nii.gz", "b/y.nii.gz", "b/[z].nii.gz")
    assert names(find_scans(str(tmp_path / "*" / "*.nii.gz"))) == ["a/x", "b/[z]", "b/y"]
    assert names(find_scans(tmp_path / "b" / "[z].nii.gz")) == ["[z]"]
    assert len(find_scans([tmp_path / "a" / "x.nii.gz", tmp_path / "b" / ".." / "a" / "x.nii.gz"])) == 1
    (tmp_path / "a" / "gone.nii").symlink_to(tmp_path / "nowhere.nii")
    assert names(find_scans(tmp_path / "a")) == ["gone", "x"]  # its reader says that it is not there
    with pytest.raises(FileNotFoundError, match="no input matches"):
        find_scans(str(tmp_path / "*.mha"))
    monkeypatch.chdir(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="or an empty text"):
        find_scans("")


def test_scans_of_one_name_in_several_folders_keep_their_folders(tmp_path):
    touch(tmp_path, "a/scan.nii.gz", "b/scan.nii.gz", "b/deep/scan.mha", "out/a/scan.nii.gz", ".hidden/scan.nii.gz")
    touch(tmp_path, "c/ct/1", "c/ct/2", content=DICOM)
    every = find_scans(tmp_path, recursive=True, exclude=tmp_path / "out")
    assert names(every) == ["a/scan", "b/scan", "b/deep/scan", "c/ct"]
    assert names(find_scans(str(tmp_path / "[ab]" / "scan.nii.gz"))) == ["a/scan", "b/scan"]
    assert names(find_scans([tmp_path / "a", tmp_path / "b" / "scan.nii.gz"])) == ["a/scan", "b/scan"]
    assert names(find_scans([tmp_path / "c" / "ct", tmp_path / "a"])) == ["ct", "scan"]
    with pytest.raises(FileNotFoundError, match="add --recursive to go into them"):
        find_scans(tmp_path / "b" / "..", images=["t1.nii.gz"], exclude=tmp_path / "c")


def test_files_called_as_in_training_are_the_channels_of_a_folder_a_case(tmp_path, caplog):
    for case in ("p1", "p2", "late/p3"):
        touch(tmp_path, f"{case}/t2.nii.gz", f"{case}/t1.nii.gz", f"{case}/seg.nii.gz")
    two = dict(channels=2, images=["t1.nii.gz", "t2.nii.gz"])
    found = find_scans(tmp_path, **two)
    assert names(found) == ["p1", "p2"]
    assert found[0].source == [tmp_path / "p1" / "t1.nii.gz", tmp_path / "p1" / "t2.nii.gz"]
    assert names(find_scans(tmp_path, recursive=True, **two)) == ["late/p3", "p1", "p2"]
    assert (
        names(find_scans(tmp_path / "p1", **two)) == names(find_scans(str(tmp_path / "p1" / "t?.*"), **two)) == ["p1"]
    )
    assert "1 files in" in caplog.text
    assert "seg.nii.gz: in training scans were called t1.nii.gz, t2.nii.gz; name a file" in caplog.text
    assert names(find_scans(tmp_path, images=["t1.nii.gz"])) == ["p1", "p2"]
    assert names(find_scans([tmp_path / "p1", tmp_path / "p2"], images=["t1.nii.gz"])) == ["p1", "p2"]
    assert names(find_scans(tmp_path / "p1" / "seg.nii.gz", images=["t1.nii.gz"])) == ["seg"]  # by itself


def test_patterns_stand_for_the_channels_of_cases_in_one_folder(tmp_path):
    touch(tmp_path, "x_flair.nii", "x_t1.nii", "x_seg.nii", "y_flair.nii", "y_t1.nii", "z_flair.nii")
    found = find_scans(tmp_path, channels=2, images=["*_t1.nii", "*_flair.nii"])
    assert [(scan.name, len(scan.paths)) for scan in found] == [("x", 2), ("y", 2), ("z_flair", 1)]  # refused when read
    assert names(find_scans(tmp_path, images=["*_t1.nii"])) == ["x_t1", "y_t1"]


def test_series_of_a_case_are_its_channels(tmp_path):
    for case in ("p1", "p2"):
        for kind in ("CT", "PT"):
            save(tmp_path / case / kind, series(1))
    found = find_scans(tmp_path, channels=2, images=["CT", "PT"])
    assert [(scan.name, scan.source) for scan in found] == [
        (case, [tmp_path / case / "CT", tmp_path / case / "PT"]) for case in ("p1", "p2")
    ]
    assert names(find_scans(tmp_path / "p1", channels=2, images=["CT", "PT"])) == ["p1"]
