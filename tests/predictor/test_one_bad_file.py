"""One file, one line, and the job goes on: whatever is wrong with a file, it is named and the others are predicted."""

import os

import pydicom
import pytest
from PIL import Image

from densevit.cli import main
from densevit.predictor import Predictor, predict
from densevit.predictor.scans import ScanReader
from densevit.predictor.volume_outputs import ScanWriter
from densevit.report.preview import save_preview
from densevit.volumes.volume import open_volume, read_label_volume
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import make_photo, save_photo
from tests.predictor.scans import save_checkpoint, save_scan
from tests.volumes.dicom_files import save, series

SMALL = dict(backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("pictures") / "w.safetensors", num_classes=3, **SMALL)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("scans") / "w.safetensors")


def palette_without_colours(path):
    """A palette PNG whose PLTE chunk was taken out; PIL meets it with an AssertionError."""
    Image.fromarray(make_photo((8, 8))).convert("P").save(path)
    content = path.read_bytes()
    start = content.index(b"PLTE") - 4
    length = int.from_bytes(content[start : start + 4])
    path.write_bytes(content[:start] + content[start + 12 + length :])


def no_frames(path):
    """A DICOM file that says it has 0 frames."""
    save(path.parent, series(1))
    (written,) = path.parent.iterdir()
    data = pydicom.dcmread(written)
    data.NumberOfFrames = 0
    data.save_as(path)
    if written != path:
        written.unlink()


def test_a_picture_that_its_library_fails_on_is_skipped_by_name(pictures, tmp_path, capsys):
    folder = tmp_path / "in"
    save_photo(folder / "good.png")
    palette_without_colours(folder / "bad.png")
    assert main(["predict", str(pictures), str(folder), "-o", str(tmp_path / "out"), "--quiet"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert str(folder / "bad.png") in told[0]
    assert told[1] == "densevit: 1 of 2 pictures failed, see above"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_scan_that_its_library_fails_on_is_skipped_by_name(scans, tmp_path, capsys):
    good = save_scan(tmp_path / "good.nii.gz")
    (tmp_path / "bad").mkdir()
    no_frames(tmp_path / "bad" / "0.dcm")
    command = ["predict", str(scans), str(good), str(tmp_path / "bad"), "-o", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert str(tmp_path / "bad") in told[0]
    assert (tmp_path / "out" / "good.nii.gz").is_file()


class Odd(Exception):
    """What no library is known to raise."""


@pytest.mark.parametrize("step", ["open", "prepare", "write"])
def test_whatever_is_raised_of_one_file_belongs_to_that_file(scans, tmp_path, monkeypatch, step):
    owner = ScanWriter if step == "write" else ScanReader
    whole, bad = getattr(owner, step), save_scan(tmp_path / "in" / "b.nii")
    others = [save_scan(tmp_path / "in" / f"{name}.nii") for name in "ac"]

    def fails_once(self, thing, *rest):
        if "b.nii" in str(getattr(thing, "path", thing)):
            raise Odd("two\nlines")
        return whole(self, thing, *rest)

    monkeypatch.setattr(owner, step, fails_once)
    report = predict(scans, tmp_path / "in", tmp_path / "out", progress=False)
    assert list(report.written) == others
    assert (
        f"{bad} cannot be {'written as predicted' if step == 'write' else 'read'} (Odd: two lines)"
        in report.failed[bad]
    )


def test_an_array_or_path_in_python_is_named_too(pictures, scans, tmp_path):
    palette_without_colours(tmp_path / "bad.png")
    with pytest.raises(ValueError, match=r"bad\.png"):
        Predictor(pictures)(tmp_path / "bad.png")
    (tmp_path / "ct").mkdir()
    no_frames(tmp_path / "ct" / "0.dcm")
    for read in (Predictor(scans), open_volume, read_label_volume):
        with pytest.raises(ValueError, match="ct"):
            read(tmp_path / "ct")


def test_a_folder_called_like_a_picture_is_named(pictures, tmp_path):
    save_photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").mkdir()
    save_photo(tmp_path / "in" / "frames.png" / "1.png")
    report = predict(pictures, tmp_path / "in", tmp_path / "out", progress=False)
    assert sorted(path.name for path in report.failed) == ["b.png", "frames.png"]
    assert "is called like a picture and is none" in report.failed[tmp_path / "in" / "b.png"]
    report = predict(pictures, tmp_path / "in", tmp_path / "deep", recursive=True, progress=False)
    assert sorted(path.name for path in report.written) == ["1.png", "a.png"]
    assert [path.name for path in report.failed] == ["b.png"]


def test_a_pipe_called_like_a_picture_is_named_and_not_waited_for(pictures, tmp_path):
    save_photo(tmp_path / "in" / "a.png")
    os.mkfifo(tmp_path / "in" / "b.png")
    report = predict(pictures, tmp_path / "in", tmp_path / "out", progress=False)
    assert [path.name for path in report.failed] == ["b.png"]


def test_a_folder_called_like_a_scan_is_named(scans, tmp_path):
    good = save_scan(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "in" / "b.nii.gz").mkdir()
    report = predict(scans, tmp_path / "in", tmp_path / "out", progress=False)
    assert list(report.written) == [good]
    assert str(tmp_path / "in" / "b.nii.gz") in report.failed[tmp_path / "in" / "b.nii.gz"]


def test_a_folder_beside_a_picture_of_its_name_is_no_second_picture_of_that_name(pictures, tmp_path):
    save_photo(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "a.png").mkdir()
    report = predict(pictures, tmp_path / "in", tmp_path / "out", progress=False)
    assert (len(report.written), len(report.failed)) == (1, 1)


def test_nothing_of_an_earlier_run_stands_for_an_input_that_fails(pictures, scans, tmp_path):
    for checkpoint, save_input, ending in ((pictures, save_photo, ".png"), (scans, save_scan, ".nii.gz")):
        folder, out = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
        paths = [save_input(folder / f"{name}{ending}") for name in "ab"]
        options = dict(progress=False, **(dict(preview=save_preview) if checkpoint == scans else {}))
        predict(checkpoint, folder, out, **options)
        note = out / "b.txt"
        note.write_text("a note of the user's")
        for failing, left in ((paths[1:], {"a"}), (paths, set())):
            for path in failing:
                path.write_bytes(b"damaged")
            for resume in (True, False):
                report = predict(checkpoint, folder, out, resume=resume, **options)
                assert list(report.failed) == failing
                assert {path.name.partition(".")[0] for path in out.glob("[ab].*") if path != note} == left
                table = out / "volumes.csv"
                assert table.is_file() == (bool(left) and checkpoint == scans)
                if table.is_file():
                    assert {line.partition(",")[0] for line in table.read_text().splitlines()[1:]} == left
        assert note.is_file()
