import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from PIL import Image

from densevit.cli.main import build_parser
from densevit.data.case import Case
from densevit.quickstart.ct import CtDemo
from densevit.quickstart.run import quickstart
from densevit.synthetic.ct import CLASSES
from densevit.train import load_config
from densevit.train.run import RunResult
from tests.conftest import REPOSITORY
from tests.train.test_training import write_config

CONFIG = REPOSITORY / "configs" / "unetr_synthetic_ct.py"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A few scans of large voxels."""
    voxels = dict(in_plane=(8.0, 9.0), slices=(9.0, 10.0))
    root = tmp_path_factory.mktemp("scans") / "set"
    demo = CtDemo(root, num_train=3, num_val=2, scan_options=voxels, num_pictured=1)
    demo.draw(progress=lambda done, total: None)
    return demo


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The config with windows and voxels that cost little."""
    config = load_config(CONFIG).to_dict()
    config["model"]["backbone_options"]["image_size"] = size = (16, 32, 32)
    config["train_data"]["augment"]["crop_size"] = config["inference"]["roi_size"] = size
    config["inference"]["stride"] = size
    for section in ("train_data", "val_data"):
        config[section]["num_workers"] = 0
        config[section]["dataset"]["spacing"] = (16.0, 16.0, 16.0)
    return write_config(tmp_path_factory.mktemp("configs") / "small.py", config)


@pytest.fixture
def scans(drawn):
    return drawn.root


def test_the_quickstart_leaves_what_it_promises(drawn, small, tmp_path):
    out = tmp_path / "out"
    result = quickstart(small, drawn, out=out, iters=1, device="cpu")
    for picture in ("curves.png", "predictions.png", "predicted/phantom_validation_000.png"):
        with Image.open(out / picture) as image:
            image.load()
    assert (out / "best" / "weights.safetensors").is_file()
    table = (out / "table.txt").read_text()
    assert all(re.search(rf"^ +{name} +[-\d]", table, re.MULTILINE) for name in CLASSES[1:])
    assert str(result) in table
    scores = json.loads((out / "scores.json").read_text())
    assert scores["atlas"]["mCaseDice"] == pytest.approx(result.baseline.numbers["mCaseDice"])
    assert 0 < scores["atlas"]["mCaseDice"] < 100
    assert str(out / "best" / "weights.safetensors") in (out / "commands.txt").read_text()
    mask, scan = (
        nibabel.load(folder / "phantom_validation_000.nii.gz")
        for folder in (out / "predicted", drawn.root / "imagesTr")
    )
    assert mask.shape == scan.shape
    assert np.allclose(mask.affine, scan.affine)


def test_a_drawn_set_is_used_again(drawn, scans):
    before = {path: path.stat().st_mtime_ns for path in scans.rglob("*.nii.gz")}
    drawn.draw(progress=lambda done, total: None)
    assert {path: path.stat().st_mtime_ns for path in scans.rglob("*.nii.gz")} == before


@pytest.fixture
def own(scans, tmp_path):
    """Folders of scans and labels of two classes, as a user may have them."""
    for folder, source in (("images", "imagesTr"), ("labels", "labelsTr")):
        (tmp_path / "own" / folder).mkdir(parents=True)
        for path in sorted((scans / source).iterdir()):
            shutil.copy(path, tmp_path / "own" / folder / path.name)
    return tmp_path / "own"


def test_a_set_of_the_users_own_is_put_into_the_config(drawn, own):
    before = load_config(CONFIG)
    config = drawn.use_own(before, own)
    window = before.train_data.dataset["normalization"]
    assert config.model.num_classes == len(CLASSES)
    train, val = config.train_data.dataset, config.val_data.dataset
    assert {**train, "split": "val"} == val
    assert train["normalization"] == window  # the scans hold air of -1000
    assert train["val_every"] > 1
    assert not any("class_weights" in term for term in config.loss)
    assert all(8.0 <= spacing <= 10.0 for spacing in train["spacing"])  # they are coarse enough as they are


def test_large_scans_of_the_users_own_are_brought_to_larger_voxels(own):
    demo = CtDemo(most_voxels=(16, 20, 20))
    assert min(demo.use_own(load_config(CONFIG), own).train_data.dataset["spacing"]) > 14


def test_scans_that_are_no_ct_are_normalized_case_by_case(drawn, own):
    for path in (own / "images").iterdir():
        scan = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(scan.dataobj) + np.int16(1024), scan.affine), path)
    dataset = drawn.use_own(load_config(CONFIG), own).train_data.dataset
    assert dataset.get("normalization", dict(type="zscore"))["type"] == "zscore"


def test_a_set_of_the_users_own_is_trained_on(own, small, tmp_path):
    demo = CtDemo(most_voxels=(20, 24, 24), num_pictured=1)
    result = quickstart(small, demo, out=tmp_path / "out", data=own, iters=1, device="cpu")
    assert result.tested.num_images == 1
    assert len(list((tmp_path / "out" / "predicted").glob("*.nii.gz"))) == 1


def test_the_commands_have_arguments_that_the_command_line_knows(tmp_path):
    run = RunResult(work_dir=tmp_path, checkpoint=tmp_path / "weights.safetensors", best=None, scores=None)
    text = CtDemo().commands(run, SimpleNamespace(cases=[Case(("scan.nii.gz",), None)]), out=tmp_path, iters=10)
    lines = re.findall(r"^\S*python\S* tools/(train|predict)\.py (.*)$", text, re.MULTILINE)
    assert [verb for verb, _ in lines] == ["predict", "train", "train", "train"]
    for verb, rest in lines:
        build_parser().parse_args([verb, *shlex.split(rest)])
    for named in re.findall(r"configs/\w+\.py", text):
        assert (Path(REPOSITORY) / named).is_file()
