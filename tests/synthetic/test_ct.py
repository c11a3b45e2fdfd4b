"""The drawn CT scans: what their tissues measure, where their organs lie, and how a set comes to lie on disk."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from densevit.data import create_dataset
from densevit.synthetic.ct import (
    CLASSES,
    make_protocol,
    make_synthetic_ct,
    render_scan,
    sample_patient,
    sample_protocol,
    writer,
)
from densevit.synthetic.ct.labels import (
    AORTA,
    BONE,
    HEART,
    LEFT_KIDNEY,
    LIVER,
    LUNGS,
    RIGHT_KIDNEY,
    SPLEEN,
    TUMOUR,
)
from densevit.synthetic.ct.scan import CODES
from densevit.synthetic.ct.tissues import PHASES, TABLE, sample_tissues

WHOLE = dict(extent=(420.0, 360.0, 560.0), center=(0.0, 0.0, -40.0))
# Millilitres that a grown person's organs have, with room at both ends.
# https://en.wikipedia.org/wiki/Liver, /Spleen, /Kidney; lungs breathed in, heart with its blood.
PLAUSIBLE = {
    LUNGS: (2000, 7500),
    HEART: (350, 1300),
    AORTA: (60, 350),
    LIVER: (800, 2600),
    SPLEEN: (60, 500),
    LEFT_KIDNEY: (70, 300),
    RIGHT_KIDNEY: (50, 300),
}


def generator(index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[9, index]))


def patient(index: int):
    return sample_patient(generator(index))


def milliliters(label: np.ndarray, protocol) -> np.ndarray:
    return np.bincount(label.ravel(), minlength=len(CLASSES)) * abs(np.linalg.det(protocol.affine[:3, :3])) / 1000


def places(protocol) -> np.ndarray:
    """(X, Y, Z, 3): millimetres of each voxel."""
    voxels = np.stack(np.meshgrid(*map(np.arange, protocol.size), indexing="ij"), axis=-1)
    return voxels @ protocol.affine[:3, :3].T + protocol.affine[:3, 3]


@pytest.fixture(scope="module")
def coarse():
    """Ten patients seen whole, at 5 mm, without noise: (patient, protocol, hu, label)."""
    protocol = make_protocol(spacing=(5.0, 5.0, 5.0), **WHOLE)
    drawn = [patient(i) for i in range(10)]
    return [(p, protocol, *render_scan(p, protocol)) for p in drawn]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_synthetic_ct(tmp_path_factory.mktemp("sets") / "scans", num_train=3, num_val=2, **SMALL)


SMALL = dict(in_plane=(6.0, 9.0), slices=(8.0, 10.0))


def test_native_tissues_measure_what_the_textbook_says():
    """Ranges of the table in Buzug (2008), as radclass.mudr.org lists it."""
    ranges = {"liver": (45, 65), "spleen": (35, 55), "cortex": (20, 40), "fat": (-120, -50), "lung": (-910, -760)}
    drawn = [sample_tissues(generator(i)) for i in range(100)]
    native = [tissues for tissues in drawn if tissues.phase == "native"]
    assert native
    for name, (low, high) in ranges.items():
        middle = np.median([tissues[name] for tissues in native])
        assert low <= middle <= high, name


def test_contrast_makes_blood_and_organs_brighter_in_the_order_of_the_phases():
    column = {name: dict(zip(PHASES, row, strict=True)) for name, row in TABLE.items()}
    assert column["artery"]["arterial"] > column["artery"]["portal"] > column["artery"]["late"] > 100
    assert column["liver"]["portal"] == max(column["liver"].values())
    assert column["cortex"]["arterial"] > 2 * column["medulla"]["arterial"]
    assert column["fat"]["portal"] == column["fat"]["native"]


def test_every_phase_occurs():
    assert {sample_tissues(generator(i)).phase for i in range(60)} == set(PHASES)


def test_a_tumour_is_darker_than_the_liver_in_every_phase():
    assert all(t["tumour"] <= t["liver"] - 10 for t in (sample_tissues(generator(i)) for i in range(200)))


def test_voxels_have_the_hounsfield_units_of_their_tissue(coarse):
    for drawn, _, hu, label in coarse:
        tissues = drawn.tissues
        assert np.median(hu[label == LIVER]) == pytest.approx(tissues["liver"], abs=4)
        assert np.median(hu[label == LUNGS]) == pytest.approx(tissues["lung"], abs=40)
        assert np.median(hu[label == AORTA]) == pytest.approx(tissues["artery"], abs=0.03 * tissues["artery"])
        assert tissues["cancellous bone"] - 60 < np.median(hu[label == BONE]) < tissues["cortical bone"]
        low, high = sorted((tissues["cortex"], tissues["medulla"]))
        assert low - 15 < np.median(hu[label == RIGHT_KIDNEY]) < high + 15
        assert hu[0, -1, 0] == -1000  # the air before the chest


def test_fat_and_muscle_lie_in_layers_under_the_skin(coarse):
    for drawn, protocol, hu, _ in coarse:
        frame = np.linalg.inv(drawn.frame)
        depth = drawn.torso.wall(*np.float32((places(protocol) @ frame[:3, :3].T + frame[:3, 3]).transpose(3, 0, 1, 2)))
        belly = abs(places(protocol)[..., 2] + 150) < 30
        fat = hu[belly & (depth > 2) & (depth < 4)]
        muscle = hu[belly & (depth < -7) & (depth > -9)]
        assert np.median(fat) == pytest.approx(drawn.tissues["fat"], abs=25)
        assert np.median(muscle) == pytest.approx(drawn.tissues["muscle"], abs=12)


def test_organs_have_volumes_that_people_have(coarse):
    for drawn, protocol, _, label in coarse:
        found = milliliters(label, protocol)
        for value, (low, high) in PLAUSIBLE.items():
            assert low < found[value] < high, (CLASSES[value], drawn.tissues.phase)


def test_organs_lie_on_their_side_and_in_their_order(coarse):
    for _, protocol, _, label in coarse:
        where = places(protocol)
        center = {value: where[label == value].mean(0) for value in range(1, TUMOUR)}
        right, above = ({value: place[axis] for value, place in center.items()} for axis in (0, 2))
        assert right[LEFT_KIDNEY] < right[AORTA] < right[RIGHT_KIDNEY]
        assert right[SPLEEN] < right[HEART] < right[LIVER]
        assert above[LUNGS] > above[HEART] > above[LIVER] > above[LEFT_KIDNEY] > above[RIGHT_KIDNEY] - 25
        assert center[AORTA][1] < center[HEART][1]  # behind it


def test_organs_lie_inside_the_wall_of_the_trunk(coarse):
    for drawn, protocol, _, label in coarse:
        frame = np.linalg.inv(drawn.frame)
        where = (places(protocol) @ frame[:3, :3].T + frame[:3, 3])[(label > 0) & (label != BONE)]
        assert drawn.torso.wall(*np.float32(where.T)).max() < -5


def test_a_tumour_is_surrounded_by_liver(coarse):
    with_tumour = [label for *_, label in coarse if (label == TUMOUR).any()]
    assert 3 <= len(with_tumour) < 10
    for label in with_tumour:
        near = np.zeros(label.shape, bool)
        for axis in range(3):
            for step in (-1, 1):
                near |= np.roll(label == TUMOUR, step, axis)
        rim = label[near & (label != TUMOUR)]
        assert np.mean(rim == LIVER) > 0.5


def test_one_generator_state_gives_one_patient_and_another_gives_another():
    protocol = make_protocol(spacing=(8.0, 8.0, 8.0), noise=10.0, **WHOLE)
    first, again, other = (render_scan(patient(i), protocol, rng=generator(i)) for i in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize("code", CODES)
def test_a_patient_is_the_same_in_every_orientation(code):
    options = dict(spacing=(7.0, 8.0, 9.0), blur=0.1, **WHOLE)
    straight, turned = make_protocol(**options), make_protocol(code=code, **options)
    assert nibabel.aff2axcodes(turned.affine) == tuple(code)
    for wanted, values in zip(render_scan(patient(0), straight), render_scan(patient(0), turned), strict=True):
        found = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, turned.affine))
        assert np.allclose(found.affine, straight.affine)
        # Rounding of places may move a value over a rounding step, and a label at a surface.
        assert np.mean(np.asarray(found.dataobj) != wanted) < 1e-3


def test_a_patient_is_the_same_at_every_spacing():
    """Of a grid three times as fine every third voxel has the same middle, and so the same label."""
    fine = make_protocol(spacing=(3.0, 3.0, 3.0), extent=(351.0, 297.0, 405.0), center=(0.0, 0.0, -40.0))
    rough = make_protocol(spacing=(9.0, 9.0, 9.0), extent=(351.0, 297.0, 405.0), center=(0.0, 0.0, -40.0))
    (_, many), (_, few) = (render_scan(patient(3), protocol) for protocol in (fine, rough))
    assert np.mean(many[1::3, 1::3, 1::3] != few) < 1e-3
    for value in (LUNGS, HEART, LIVER):
        assert milliliters(few, rough)[value] == pytest.approx(milliliters(many, fine)[value], rel=0.05)


def test_a_patient_is_the_same_on_an_oblique_grid():
    options = dict(spacing=(4.0, 4.0, 4.0), **WHOLE)
    straight, oblique = make_protocol(**options), make_protocol(tilt=(6.0, -4.0, 5.0), **options)
    assert not np.allclose(abs(oblique.affine[:3, :3]).max(0), 4.0)
    (_, wanted), (_, found) = (render_scan(patient(4), protocol) for protocol in (straight, oblique))
    to_straight = np.linalg.inv(straight.affine)
    index = np.rint(places(oblique) @ to_straight[:3, :3].T + to_straight[:3, 3]).astype(int)
    inside = ((index >= 0) & (index < straight.size)).all(-1)
    both = wanted[tuple(index[inside].T)], found[inside]
    for value in (LUNGS, LIVER, HEART):
        shared = 2 * np.mean((both[0] == value) & (both[1] == value))
        assert shared / np.mean((both[0] == value).astype(float) + (both[1] == value)) > 0.95


def test_noise_has_the_asked_deviation_and_grains_within_the_slice():
    protocol = make_protocol(spacing=(6.0, 6.0, 6.0), code="SRA", **WHOLE)
    quiet, _ = render_scan(patient(5), protocol)
    loud, _ = render_scan(patient(5), replace(protocol, noise=25.0), rng=generator(5))
    noise = (loud.astype(float) - quiet)[quiet > -900]  # below, the scanner's lowest value cuts it
    assert noise.std() == pytest.approx(25, rel=0.05)
    assert abs(noise.mean()) < 1
    whole = loud.astype(float) - quiet
    along = [np.corrcoef(whole[:-1].ravel(), whole[1:].ravel())[0, 1], *(
        np.corrcoef(np.delete(whole, -1, axis).ravel(), np.delete(whole, 0, axis).ravel())[0, 1] for axis in (1, 2)
    )]  # fmt: skip
    assert abs(along[0]) < 0.1
    assert min(along[1:]) > 0.3


def test_nothing_is_seen_beyond_the_circle():
    protocol = make_protocol(spacing=(6.0, 6.0, 6.0), extent=(240.0, 240.0, 300.0), center=(0, 0, -40), circle=True)
    hu, label = render_scan(patient(6), protocol)
    assert (hu[0, 0] == -1024).all()
    assert (label[hu == -1024] == 0).all()
    assert hu[20, 20].max() > -100


def test_protocols_vary_in_spacing_orientation_noise_and_obliqueness():
    drawn = [sample_protocol(generator(i), in_plane=(2.5, 4.0), slices=(3.0, 5.0)) for i in range(60)]
    codes = {"".join(nibabel.aff2axcodes(protocol.affine)) for protocol in drawn}
    assert len(codes) >= 8
    spacings = np.sort([protocol.spacing for protocol in drawn], axis=1)
    assert spacings.min() >= 2.5
    assert spacings.max() <= 5.0
    assert len(np.unique(spacings[:, 2])) > 3
    straight = [np.count_nonzero(abs(protocol.affine[:3, :3]) > 1e-6) == 3 for protocol in drawn]
    assert 0.5 < np.mean(straight) < 0.9


@pytest.mark.parametrize("code", ["LLS", "LP", "XYZ"])
def test_a_wrong_orientation_code_is_refused(code):
    with pytest.raises(ValueError, match="must name three axes such as 'LPS'"):
        make_protocol(code=code, spacing=(5.0, 5.0, 5.0), **WHOLE)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_set_is_a_decathlon_folder_that_opens(made):
    for split, count in (("train", 3), ("val", 2)):
        dataset = create_dataset(dict(type="msd", root=str(made), split=split, spacing=(12.0, 12.0, 12.0)))
        assert len(dataset) == count
        assert tuple(dataset.classes) == CLASSES
        sample = dataset[0]
        assert sample.image.shape == (1, *sample.label.shape)
        assert {LIVER, LUNGS, BONE} <= set(np.unique(sample.label))


def test_files_hold_whole_numbers_and_say_their_geometry_twice(made):
    for path in sorted((made / "imagesTr").iterdir()):
        image, label = nibabel.load(path), nibabel.load(made / "labelsTr" / path.name)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        assert np.array_equal(image.affine, label.affine)
        assert np.allclose(image.get_sform(), image.get_qform(), atol=1e-3)
        assert image.header.get_xyzt_units()[0] == "mm"


def test_the_two_places_of_a_file_agree_where_a_quaternion_is_coarse(tmp_path):
    """Near half a turn about an oblique axis the stored quaternion is short of digits."""
    protocol = make_protocol(spacing=(3.0, 3.0, 4.0), code="LPS", tilt=(0.02, 0.01, 0.03), **WHOLE)
    writer.save_nifti(np.zeros(protocol.size, np.int16), protocol.affine, tmp_path / "scan.nii.gz")
    image = nibabel.load(tmp_path / "scan.nii.gz")
    corner = np.array([*protocol.size, 1])
    assert np.abs((image.get_sform() - image.get_qform()) @ corner).max() < 1e-3
    assert np.abs((image.affine - protocol.affine) @ corner).max() < 1


def test_the_same_seed_makes_the_same_files_and_another_seed_others(made, tmp_path):
    same = make_synthetic_ct(tmp_path / "same", num_train=3, num_val=2, **SMALL)
    assert files(same) == files(made)
    other = make_synthetic_ct(tmp_path / "other", num_train=1, num_val=0, seed=1, **SMALL)
    name = "imagesTr/phantom_training_000.nii.gz"
    assert files(other)[name] != files(made)[name]


def test_scans_do_not_depend_on_how_many_are_made(made, tmp_path):
    few = files(make_synthetic_ct(tmp_path / "few", num_train=1, num_val=1, **SMALL))
    assert all(files(made)[name] == content for name, content in few.items() if name.endswith(".nii.gz"))


def test_splits_share_no_scan(made):
    contents = [content for name, content in files(made).items() if name.startswith("imagesTr")]
    assert len(contents) == len(set(contents)) == 5


def test_a_complete_set_is_used_again(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.nii.gz")}
    make_synthetic_ct(made, num_train=3, num_val=2, progress=pytest.fail, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.nii.gz")} == before


def test_progress_is_told_after_each_scan(tmp_path):
    told = []
    make_synthetic_ct(tmp_path / "set", num_train=1, num_val=1, progress=lambda *counts: told.append(counts), **SMALL)
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_creation_leaves_nothing_behind(tmp_path, error):
    def stop(done, total):
        raise error

    with pytest.raises(error):
        make_synthetic_ct(tmp_path / "set", num_train=2, num_val=0, progress=stop, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "set").mkdir()
    make_synthetic_ct(tmp_path / "set", num_train=1, num_val=0, **SMALL)
    assert (tmp_path / "set" / "dataset.json").is_file()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no set of synthetic scans; choose another folder"):
        make_synthetic_ct(tmp_path, num_train=1, num_val=0, **SMALL)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_set_made_with_other_arguments_is_left_alone(made):
    before = files(made)
    with pytest.raises(ValueError, match="holds synthetic scans made with"):
        make_synthetic_ct(made, num_train=4, num_val=2, **SMALL)
    assert files(made) == before


def test_a_set_with_a_missing_file_is_not_taken_for_complete(tmp_path):
    root = make_synthetic_ct(tmp_path / "set", num_train=2, num_val=0, **SMALL)
    next((root / "labelsTr").iterdir()).unlink()
    with pytest.raises(ValueError, match="lacks 1 files of its set, such as"):
        make_synthetic_ct(root, num_train=2, num_val=0, **SMALL)


def test_a_damaged_manifest_is_named(tmp_path):
    (tmp_path / writer.MANIFEST).write_text("{")
    with pytest.raises(ValueError, match=rf"{writer.MANIFEST} is not valid JSON"):
        make_synthetic_ct(tmp_path, num_train=1, num_val=0, **SMALL)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(num_train=0, num_val=0), "ask for at least one scan"),
        (dict(num_train=-1, num_val=2), "ask for at least one scan"),
        (dict(num_train=1, num_val=0, seed=-1), "a seed from 0 up"),
        (dict(num_train=1, num_val=0, in_plane=(4.0, 3.0)), "in_plane must be two rising sizes"),
        (dict(num_train=1, num_val=0, slices=(0.0, 3.0)), "slices must be two rising sizes"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, asked, said):
    with pytest.raises(ValueError, match=said):
        make_synthetic_ct(tmp_path / "set", **asked)
    assert not (tmp_path / "set").exists()


def test_the_manifest_names_what_was_asked_for(made):
    manifest = json.loads((made / writer.MANIFEST).read_text())
    assert manifest["counts"] == {"training": 3, "validation": 2}
    assert manifest["in_plane"] == [6.0, 9.0]
