"""What is measured of a set of scans, what is proposed from it, and that the proposed file is read and trains."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from densevit.cli.main import main
from densevit.data import create_dataset
from densevit.data.layouts.guess_volumes import choose_split, guess_volume_dataset
from densevit.doctor.fingerprint.config_file import config_text, iterations
from densevit.doctor.fingerprint.measure import CaseFacts, ChannelFacts, Fingerprint, take_fingerprint
from densevit.doctor.fingerprint.memory import LIBRARIES, training_memory
from densevit.doctor.fingerprint.propose import (
    ModelPlanner,
    ct_channels,
    normalization_of_set,
    plan_crop,
    propose,
    target_spacing,
)
from densevit.doctor.fingerprint.python_text import Commented, Expression, assignment
from densevit.doctor.fingerprint.report import class_rows, remarks
from densevit.train import load_config
from densevit.volumes.volume import case_name

GB = 10**9
SMALL = dict(backbone="mit_b0", decoder="all_mlp")


def write(path, values, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), path)


def ball(seed, size=(20, 18, 16)):
    """CT-like whole numbers with a box of 40 to 60 HU in air, and its label."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    x, y, z = rng.integers(2, 6, 3)
    label[x : x + 8, y : y + 8, z : z + 8] = 1
    label[x : x + 2, y : y + 2, z : z + 2] = 2
    image = np.where(label > 0, rng.integers(40, 61, size), -1000).astype(np.int16)
    image[0, 0, 0] = 1200
    return image, label


def make_msd(root, count=6):
    entries = [dict(image=f"imagesTr/c{i}.nii.gz", label=f"labelsTr/c{i}.nii.gz") for i in range(count)]
    for i, entry in enumerate(entries):
        image, label = ball(i)
        write(root / entry["image"], image)
        write(root / entry["label"], label)
    labels = {"0": "background", "1": "box", "2": "corner"}
    content = dict(labels=labels, modality={"0": "CT"}, training=entries[:4], validation=entries[4:])
    (root / "dataset.json").write_text(json.dumps(content))


def make_nnunet(root, count=6):
    for i in range(count):
        image, label = ball(i)
        for channel in range(2):
            write(root / f"imagesTr/c{i}_{channel:04}.nii.gz", (image + channel).astype(np.int16))
        write(root / f"labelsTr/c{i}.nii.gz", label)
    labels = {"background": 0, "box": 1, "corner": 2}
    content = dict(channel_names={"0": "T1", "1": "T2"}, labels=labels, numTraining=count, file_ending=".nii.gz")
    (root / "dataset.json").write_text(json.dumps(content))


def make_datalist(root, count=6):
    entries = []
    for i in range(count):
        image, label = ball(i)
        write(root / f"p{i}/scan.nii.gz", image)
        write(root / f"p{i}/truth.nii.gz", label)
        entries.append(dict(image=f"p{i}/scan.nii.gz", label=f"p{i}/truth.nii.gz", fold=i % 3))
    (root / "folds.json").write_text(json.dumps(dict(training=entries)))


def make_two_folders(root, count=6):
    for i in range(count):
        image, label = ball(i)
        write(root / f"scans/c{i}.nii", image)
        write(root / f"masks/c{i}_seg.nii.gz", label)


def make_folder_a_case(root, count=6):
    for i in range(count):
        image, label = ball(i)
        for name in ("t1", "t2"):
            write(root / f"p{i}/{name}.nii.gz", image.astype(np.float32) + 0.5)
        write(root / f"p{i}/seg.nii.gz", label)
        write(root / f"p{i}/brainmask.nii.gz", (label > 0).astype(np.uint8))


LAYOUTS = dict(
    msd=make_msd,
    nnunet=make_nnunet,
    monai_datalist=make_datalist,
    two_folders=make_two_folders,
    folder_a_case=make_folder_a_case,
)
GUESSED = dict(
    msd=dict(type="msd"),
    nnunet=dict(type="nnunet", val_every=5),
    monai_datalist=dict(type="monai_datalist", datalist="folds.json", fold=0),
    two_folders=dict(type="volume_folder", images="scans/*.nii", labels="masks/*_seg.nii.gz", val_every=5),
    folder_a_case=dict(type="volume_folder", images=["*/t1.nii.gz", "*/t2.nii.gz"], labels="*/seg.nii.gz", val_every=5),
)


# --- guessing


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_is_guessed(tmp_path, layout):
    LAYOUTS[layout](tmp_path)
    config = choose_split(guess_volume_dataset(tmp_path))
    classes = config.pop("classes", None)
    assert config == dict(GUESSED[layout], root=str(tmp_path))
    assert classes in (None, dict(background=0, class_1=1, class_2=2))


def test_brats_names_its_files_after_the_folder(tmp_path):
    for i in range(2):
        image, label = ball(i)
        for name, values in (("flair", image), ("t1", image), ("seg", label)):
            write(tmp_path / f"BraTS_{i}/BraTS_{i}_{name}.nii.gz", values)
    config = choose_split(guess_volume_dataset(tmp_path))
    assert (config["images"], config["labels"]) == (["**/*_flair.nii.gz", "**/*_t1.nii.gz"], "**/*_seg.nii.gz")
    assert len(take_fingerprint(config).cases) == 2


def test_several_channels_in_one_file_are_counted(tmp_path):
    for i in range(2):
        image, label = ball(i)
        write(tmp_path / f"images/{i}.nii.gz", np.stack([image] * 3, axis=-1))
        write(tmp_path / f"labels/{i}.nii.gz", label)
    assert guess_volume_dataset(tmp_path)["in_channels"] == 3


def test_own_lists_that_split_a_subject_are_not_used(tmp_path):
    make_msd(tmp_path)
    assert "val_every" not in choose_split(dict(type="msd", root=str(tmp_path), group=r"c(\d)"))
    assert choose_split(dict(type="msd", root=str(tmp_path), group=dict(pattern=r"c(\d)", every=2, first=1))) == dict(
        type="msd", root=str(tmp_path), group=dict(pattern=r"c(\d)", every=2, first=1), val_every=4
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], r"is none of these: a Decathlon or nnU-Net folder"),
        (["images/a.nii.gz", "labels/b.nii.gz"], r"is none of these"),
        (["images/a.nii.gz", "labels/a.nii.gz"], r"does not look like a label file: it holds \d+ values"),
    ],
)
def test_a_folder_that_tells_nothing_is_one_sentence(tmp_path, files, said):
    for name in files:
        write(tmp_path / name, np.random.default_rng(0).integers(0, 1000, (9, 9, 9)).astype(np.int16))
    with pytest.raises(ValueError, match=said) as caught:
        guess_volume_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_classes_are_asked_for_where_no_label_can_be_read_by_itself(tmp_path):
    make_two_folders(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.write_bytes(b"no label")
    with pytest.raises(ValueError, match=r"the classes are not known \(.*\); give them, such as --classes backgr"):
        guess_volume_dataset(tmp_path)


# --- measuring


def test_what_is_measured_is_what_was_written(tmp_path):
    make_msd(tmp_path)
    write(tmp_path / "imagesTr/c1.nii.gz", ball(1)[0], spacing=(0.5, 1.0, 2.0))
    write(tmp_path / "labelsTr/c1.nii.gz", ball(1)[1], spacing=(0.5, 1.0, 2.0))
    seen = []
    found = take_fingerprint(
        dict(type="msd", root=str(tmp_path)), progress=lambda done, total: seen.append((done, total))
    )
    case = found.cases[1]
    assert (case.name, case.size, case.spacing) == ("c1", (16, 18, 20), (2.0, 1.0, 0.5))
    assert case.voxels == (20 * 18 * 16 - 512, 504, 8)
    assert case.milliliters[2] == pytest.approx(0.008)
    (channel,) = case.channels
    assert (channel.low, channel.high, channel.whole, channel.zeros) == (-1000, 1200, True, 0)
    np.testing.assert_array_equal(np.sort(case.sample[0]), np.sort(ball(1)[0][ball(1)[1] > 0]))
    assert [case.trained for case in found.cases] == [True] * 4 + [False] * 2
    assert seen == [(i, 6) for i in range(1, 7)]


def test_ignored_voxels_count_for_no_class_and_for_no_intensity(tmp_path):
    make_nnunet(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    labels = {"background": 0, "corner": 2, "ignore": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(dict(content, labels=labels)))
    case = take_fingerprint(dict(type="nnunet", root=str(tmp_path))).cases[1]
    assert case.voxels == (20 * 18 * 16 - 512, 8)
    np.testing.assert_array_equal(np.sort(case.sample[0]), np.sort(ball(1)[0][ball(1)[1] == 2]))


def test_a_case_that_cannot_be_read_is_named_with_its_reason(tmp_path):
    make_msd(tmp_path)
    (tmp_path / "imagesTr/c2.nii.gz").write_bytes(b"no scan")
    write(tmp_path / "labelsTr/c3.nii.gz", np.full((20, 18, 16), 9, np.uint8))
    found = take_fingerprint(dict(type="msd", root=str(tmp_path)))
    assert [case.name for case in found.cases] == ["c0", "c1", "c4", "c5"]
    assert "c2.nii.gz" in found.failed["c2"]
    assert "holds 9, and the labels are" in found.failed["c3"]
    left = take_fingerprint(dict(type="msd", root=str(tmp_path), leave_out=["c2", "c3"]))
    assert left.failed == {}


def test_a_damaged_case_does_not_move_others_to_the_other_side_unseen(tmp_path):
    make_msd(tmp_path)
    (tmp_path / "imagesTr/c0.nii.gz").write_bytes(b"no scan")
    config = dict(type="msd", root=str(tmp_path), val_every=3)
    found = take_fingerprint(config)
    trained = create_dataset(dict(config, leave_out=list(found.failed)))
    assert [case.name for case in found.trained] == [case_name(case.name) for case in trained.cases]
    with pytest.raises(ValueError, match=r"too few cases can be read; the first that cannot: .*c0\.nii\.gz"):
        take_fingerprint(dict(config, leave_out=["c2", "c3", "c4", "c5"]))


def test_validation_has_no_part_in_the_numbers(tmp_path):
    make_msd(tmp_path)
    config = dict(type="msd", root=str(tmp_path))
    before = propose(take_fingerprint(config), max_bytes=8 * GB, **SMALL)
    for i in (4, 5):
        write(tmp_path / f"imagesTr/c{i}.nii.gz", np.full((60, 60, 60), 3000, np.int16), spacing=(9.0, 9.0, 9.0))
        write(tmp_path / f"labelsTr/c{i}.nii.gz", np.ones((60, 60, 60), np.uint8), spacing=(9.0, 9.0, 9.0))
    assert propose(take_fingerprint(config), max_bytes=8 * GB, **SMALL) == before


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(type="msd", leave_out=["c9"]), r"leave_out names 'c9', .* no such case; it has c0, c1, c2, \.\.\."),
        (dict(type="folder"), r"holds pictures"),
    ],
)
def test_a_set_without_a_fingerprint_is_one_sentence(tmp_path, config, said):
    make_msd(tmp_path)
    with pytest.raises(ValueError, match=said):
        take_fingerprint(dict(config, root=str(tmp_path)))


# --- proposing


def facts(
    size=(40, 50, 60),
    spacing=(1.0, 1.0, 1.0),
    *,
    low=-1000.0,
    high=1500.0,
    whole=True,
    zeros=0.0,
    voxels=None,
    name="c",
):
    channel = ChannelFacts(low=low, high=high, percentiles=(low, 0.0, high), whole=whole, zeros=zeros)
    counts = voxels or (int(np.prod(size)) - 1000, 1000)
    sample = np.random.default_rng(0).normal(50, 10, (1, 1000))
    return CaseFacts(
        name=name,
        trained=True,
        size=size,
        spacing=spacing,
        voxel_volume=float(np.prod(spacing)),
        voxels=counts,
        channels=(channel,),
        sample=sample,
    )


def a_set(cases, *, classes=("background", "liver"), channels=("image",)):
    return Fingerprint(
        dataset=dict(type="msd", root="data/x"),
        classes=tuple(classes),
        channels=tuple(channels),
        cases=tuple(cases),
        failed={},
    )


def test_the_target_spacing_is_the_median():
    cases = [facts(spacing=(z, 1.0, 0.8)) for z in (1.0, 2.0, 2.5)]
    assert target_spacing(cases) == ((2.0, 1.0, 0.8), False)


def test_thick_slices_keep_most_of_their_planes():
    cases = [facts(size=(20, 300, 300), spacing=(z, 1.0, 1.0)) for z in (3.0, 5.0, 5.0, 5.0, 10.0)]
    (target, *others), anisotropic = target_spacing(cases)
    assert anisotropic
    assert (target, others) == (pytest.approx(np.percentile([3, 5, 5, 5, 10], 10)), [1.0, 1.0])
    many = [facts(size=(200, 300, 300), spacing=(5.0, 1.0, 1.0))] * 3
    assert target_spacing(many) == ((5.0, 1.0, 1.0), False)
    fine = [facts(size=(20, 300, 300), spacing=(z, 1.0, 1.0)) for z in (0.5, 0.5, 5.0, 5.0, 5.0)]
    assert target_spacing(fine)[0] == (1.0, 1.0, 1.0)


def test_a_crop_holds_the_median_case_where_memory_allows_and_keeps_its_shape_where_not():
    planner = ModelPlanner(dict(num_classes=2, in_channels=1, spatial_dims=3, **SMALL))
    size, spacing = (100, 150, 60), (1.0, 1.0, 1.0)
    crop, batch = plan_crop(size, spacing, planner, max_bytes=64 * GB, voxels=1e6)
    assert (crop, batch) == ((128, 160, 64), 2)
    crop, batch = plan_crop(size, spacing, planner, max_bytes=GB, voxels=1e6)
    assert planner.memory(crop).of(2) <= GB
    assert crop[1] > crop[0] >= crop[2]
    bigger = tuple(n + 32 for n in crop)
    assert planner.memory(bigger).of(2) > GB


def test_the_first_crop_is_a_cube_in_millimetres():
    planner = ModelPlanner(dict(num_classes=2, in_channels=1, spatial_dims=3, **SMALL))
    crop, _ = plan_crop((900, 900, 900), (4.0, 1.0, 1.0), planner, max_bytes=10**13, voxels=1e6)
    assert crop == (128, 416, 416)  # 102 x 406 x 406 voxels, in steps of 32


def test_more_crops_fill_the_memory_up_to_a_twentieth_of_the_set():
    planner = ModelPlanner(dict(num_classes=2, in_channels=1, spatial_dims=3, **SMALL))
    options = dict(max_bytes=64 * GB)
    few, many = (plan_crop((32, 32, 32), (1.0,) * 3, planner, voxels=v, **options)[1] for v in (1e5, 1e9))
    assert (few, many) == (2, 8)
    assert plan_crop((32, 32, 32), (1.0,) * 3, planner, voxels=32**3 * 20 * 5, **options)[1] == 5


def test_too_little_memory_is_one_sentence():
    with pytest.raises(ValueError, match=r"training takes .* at least, .* and 1 MB are given; give more, or a smaller"):
        propose(a_set([facts()]), max_bytes=10**6, **SMALL)


def test_memory_grows_with_the_crop_and_the_batch():
    planner = ModelPlanner(dict(num_classes=2, in_channels=1, spatial_dims=3, **SMALL))
    small, large = (training_memory(planner.model(size), size) for size in ((32, 32, 32), (64, 32, 32)))
    parameters = sum(parameter.numel() for parameter in planner.model((32, 32, 32)).parameters())
    assert small.weights == large.weights == 16 * parameters + LIBRARIES
    assert large.a_crop == pytest.approx(2 * small.a_crop, rel=0.1)
    assert small.of(3) == small.weights + 3 * small.a_crop


@pytest.mark.parametrize("backbone", ["swin_unetr_tiny", "vit_tiny", "pvt_v2_b0", "mvit_v2_small"])
@pytest.mark.parametrize("decoder", ["unetr", "all_mlp"])
def test_a_crop_suits_the_model(backbone, decoder):
    proposal = propose(a_set([facts()]), max_bytes=16 * GB, backbone=backbone, decoder=decoder)
    model = ModelPlanner(proposal.model).model(proposal.crop_size)
    assert all(n % d == 0 for n, d in zip(proposal.crop_size, model.divisor, strict=True))
    assert all(m <= n < m + 32 for m, n in zip((40, 50, 60), proposal.crop_size, strict=True))
    assert proposal.bytes <= 16 * GB
    tables = [name for name, _ in model.named_parameters() if not name.endswith((".weight", ".bias"))]
    assert [name for name in tables if not any(word in name for word in proposal.no_decay)] == []


@pytest.mark.parametrize(
    ("channels", "case", "expected"),
    [
        (["CT"], dict(low=0.0), True),
        (["cta"], {}, True),
        (["image"], {}, True),
        (["scans/*.nii.gz"], dict(low=-1024.0, high=3071.0), True),
        (["MRI"], {}, False),
        (["T1c"], {}, False),
        (["pectoral"], {}, False),
        (["image"], dict(low=0.0), False),
        (["image"], dict(whole=False), False),
        (["image"], dict(high=-900.0), False),
        (["image"], dict(low=-32768.0), False),
    ],
    ids=str,
)
def test_ct_is_known_by_its_name_or_by_its_numbers(channels, case, expected):
    assert ct_channels(a_set([facts(**case)] * 5, channels=channels)) == (expected,)


def test_ct_is_normalised_by_the_sets_foreground_and_others_by_case():
    found = a_set([facts()], channels=["CT"])
    values = found.cases[0].sample
    low, high = np.percentile(values, (0.5, 99.5))
    expected = dict(type="ct", low=low, high=high, mean=values.mean(), std=values.std())
    assert normalization_of_set(found) == pytest.approx(expected, abs=0.01)
    assert normalization_of_set(a_set([facts()], channels=["MR"])) == dict(type="zscore", percentiles=None)
    bare = a_set([facts(zeros=0.6)], channels=["MR"])
    assert normalization_of_set(bare)["nonzero"] is True


def test_ct_and_pet_in_one_set_are_normalised_each_in_its_way():
    case = facts()
    both = replace(case, channels=case.channels * 2, sample=np.concatenate([case.sample, case.sample / 10]))
    found = normalization_of_set(a_set([both], channels=["CT", "PET"]))
    assert found["type"] == "by_channel"
    assert found["channels"][0] == normalization_of_set(a_set([case], channels=["CT"]))
    assert found["channels"][1] == dict(type="zscore", percentiles=None)
    assert normalization_of_set(a_set([both], channels=["T1", "T2"])) == dict(type="zscore", percentiles=None)


def test_what_a_user_should_see_is_said():
    cases = [facts(voxels=(90, 10, 0, 0), name="a"), facts(voxels=(100, 0, 0, 0), name="b")]
    cases += [facts(voxels=(90, 9, 1, 0), name=f"c{i}") for i in range(10)]
    found = a_set(cases, classes=("background", "liver", "spot", "nothing"), channels=["CT"])
    said = " ".join(remarks(found, propose(found, max_bytes=8 * GB, **SMALL)))
    assert "no case has the class nothing" in said
    assert "the class spot is tiny: 1 voxels" in said
    assert "1 cases hold background alone, first b" in said
    assert "--group" in said
    assert [row["cases"] for row in class_rows(found)] == ["12 of 12", "11 of 12", "10 of 12", "0 of 12"]
    shifted = a_set([facts(low=0.0)], channels=["CT"])
    assert "not Hounsfield units" in " ".join(remarks(shifted, propose(shifted, max_bytes=8 * GB, **SMALL)))


@pytest.mark.parametrize(
    ("size", "spacing", "rotate"),
    [
        ((20, 200, 200), (5.0, 1.0, 1.0), (0.0, 15.0)),
        ((100, 200, 200), (5.0, 1.0, 1.0), (0.0, 15.0)),  # as thick, though there are many
        ((200, 200, 20), (1.0, 1.0, 5.0), (0.0, None)),
        ((60, 200, 200), (3.0, 1.0, 1.0), (15.0, None)),
    ],
)
def test_sides_and_thick_slices_are_respected(tmp_path, size, spacing, rotate):
    found = a_set([facts(size=size, spacing=spacing)], classes=("background", "kidney_left"))
    proposal = propose(found, max_bytes=4 * GB, **SMALL)
    text = config_text(found, proposal, command="x", max_memory=4 * GB, imports=["json"])
    (tmp_path / "c.py").write_text(text)
    assert load_config(tmp_path / "c.py").custom_imports == ("json",)
    augment = load_config(tmp_path / "c.py").train_data.augment
    assert augment.flips == (0.0, 0.0, 0.0)
    assert (augment.rotate, augment.rotate_in_plane) == rotate


def test_iterations_follow_the_number_of_cases():
    assert [iterations(n, 2) for n in (1, 21, 200, 10**6)] == [1000, 2100, 20_000, 30_000]


# --- the file


def test_settings_become_python_that_reads_back():
    value = dict(
        plain=dict(a=1, b=(1.5,), c=["x", None]),
        commented=Commented(3, "why"),
        words={"two words": 1, "class": 2, "0": "zero"},
        pattern=r"_(\d+)$",
        quotes='it\'s "so"',
        long=[f"name number {i}" for i in range(30)],
        nested=dict(inside=Commented((1, 2, 3), "because " * 30)),
        taken=Expression("1 + 1"),
        very="a" * 200,
    )
    text = assignment("settings", value)
    read = {}
    exec(text, read)
    assert read["settings"] == dict(value, commented=3, nested=dict(inside=(1, 2, 3)), taken=2, very="a" * 200)
    assert "commented=3,  # why\n" in text
    assert all(len(line) <= 120 or "aaaa" in line for line in text.splitlines())


@pytest.fixture
def proposed(tmp_path, capsys):
    """Run the command on a layout and give the path of the config and what was printed."""

    def run(layout, *flags, expected=0):
        root = tmp_path / layout
        LAYOUTS[layout](root)
        out = tmp_path / f"{layout}.py"
        command = ["fingerprint", str(root), "-o", str(out), "--json", str(tmp_path / "found.json"), "--quiet"]
        assert main([*command, "--max-iters", "2", *flags]) == expected
        return out, capsys.readouterr().out

    return run


FLAGS = ["--backbone", "mit_b0", "--decoder", "all_mlp"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_proposed_config_trains(proposed, tmp_path, layout):
    out, printed = proposed(layout, *FLAGS)
    assert "to train on" in printed
    command = ["train", str(out), "--work-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--cfg-options", "train_data.num_workers=0", "val_data.num_workers=0"]) == 0
    assert (tmp_path / "run" / "best" / "weights.safetensors").is_file()
    config = load_config(out)
    kind = "ct" if layout in ("msd", "monai_datalist", "two_folders") else "zscore"
    assert config.train_data.dataset["normalization"]["type"] == kind


@pytest.mark.slow
def test_the_default_model_trains(proposed, tmp_path):
    out, _ = proposed("msd")
    command = ["train", str(out), "--work-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--cfg-options", "train_data.num_workers=0", "val_data.num_workers=0"]) == 0


def test_the_numbers_are_in_the_json_too(proposed, tmp_path):
    out, printed = proposed("nnunet", *FLAGS)
    content = json.loads((tmp_path / "found.json").read_text())
    config = load_config(out)
    assert tuple(content["proposal"]["crop_size"]) == config.train_data.augment.crop_size
    assert len(content["cases"]) == 6
    assert content["cases"][0]["voxels"]["corner"] == 8
    assert content["foreground"][0]["mean"] + 1 == pytest.approx(content["foreground"][1]["mean"])
    assert "corner" in printed


def test_a_damaged_case_is_left_out_of_the_config_and_named(tmp_path, capsys):
    make_msd(tmp_path / "set")
    (tmp_path / "set/imagesTr/c2.nii.gz").write_bytes(b"no scan")
    out = tmp_path / "c.py"
    assert main(["fingerprint", str(tmp_path / "set"), "-o", str(out), "--quiet", *FLAGS]) == 1
    assert "cannot be read, and left out of the config:" in capsys.readouterr().out
    assert list(load_config(out).train_data.dataset["leave_out"]) == ["c2"]
    options = ["train_data.num_workers=0", "val_data.num_workers=0", "train_cfg.max_iters=1"]
    command = ["train", str(out), "--work-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, "--cfg-options", *options]) == 0


def test_patterns_and_classes_may_be_said(tmp_path, capsys):
    make_two_folders(tmp_path / "set")
    (tmp_path / "set/scans").rename(tmp_path / "set/odd")
    command = [
        "fingerprint",
        str(tmp_path / "set"),
        "--quiet",
        *FLAGS,
        "-o",
        str(tmp_path / "c.py"),
        "--max-iters",
        "7",
    ]
    patterns = ["--images", "odd/*.nii", "--labels", "masks/*_seg.nii.gz", "--group", r"c(\d)", "--val-every", "2"]
    assert main([*command, *patterns, "--classes", "background=0", "big box=1", "corner=2", "--max-iters", "7"]) == 0
    dataset = load_config(tmp_path / "c.py").train_data.dataset
    assert dataset["classes"] == {"background": 0, "big box": 1, "corner": 2}
    assert (dataset["group"], dataset["val_every"]) == (r"c(\d)", 2)
    text = (tmp_path / "c.py").read_text()
    assert "--images 'odd/*.nii'" in text
    assert "--max-iters 7" in text
    assert "max_iters=7,  # as --max-iters said" in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-o", "c.yaml"], "does not end in .py"),
        (["-o", "there.py"], "is there already; give another name, or --force"),
        (["--memory", "lots"], "expected an amount of memory"),
        (["--images", "a/*.nii"], "--images and --labels belong together"),
        (["--group", "x", "--pairs", "y"], "give one of them"),
        (["--classes", "liver"], "NAME=VALUE such as liver=1, got 'liver'"),
        (["--max-iters", "0"], "--max-iters must be at least 1"),
        (["--backbone", "swin_unetr_tinny"], "did you mean swin_unetr_tiny"),
    ],
    ids=str,
)
def test_a_wrong_flag_is_one_sentence(tmp_path, capsys, monkeypatch, flags, said):
    make_msd(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").write_text("mine = 1\n")
    assert main(["fingerprint", "set", "--quiet", *flags]) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "there.py").read_text() == "mine = 1\n"


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "kind", "size", "channels"),
    [("sts_ct", "ct", (59, 88, 86), 1), ("brats13_2mm", "zscore", (77, 120, 120), 2)],
)
def test_real_sets_get_fitting_numbers(shared_data, name, kind, size, channels):
    found = take_fingerprint(choose_split(guess_volume_dataset(shared_data / name)))
    proposal = propose(found, max_bytes=8 * GB, **SMALL)
    assert found.failed == {}
    assert (proposal.normalization["type"], proposal.size, len(found.channels)) == (kind, size, channels)


@pytest.mark.real
@pytest.mark.slow
def test_the_hippocampus_gets_the_crop_that_nnunet_publishes(shared_data):
    found = take_fingerprint(choose_split(guess_volume_dataset(shared_data / "Task04_Hippocampus")))
    proposal = propose(found, max_bytes=8 * GB)
    assert (proposal.spacing, proposal.crop_size, proposal.ct) == ((1.0, 1.0, 1.0), (40, 56, 40), (False,))
