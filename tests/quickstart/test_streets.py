import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from densevit.cli.main import build_parser
from densevit.data import create_dataset
from densevit.quickstart.run import quickstart
from densevit.quickstart.streets import StreetDemo, constant_score
from densevit.train.run import RunResult

CONFIG = Path(__file__).parents[2] / "configs" / "segformer_b0_synthetic.py"


@pytest.fixture
def demo(tmp_path):
    demo = StreetDemo(tmp_path / "streets", num_train=4, num_val=2, size=(32, 64), num_pictured=2)
    demo.draw(progress=lambda done, total: None)
    return demo


@pytest.fixture
def streets(demo):
    return demo.root


def test_the_quickstart_leaves_what_it_promises(demo, tmp_path):
    out = tmp_path / "out"
    result = quickstart(CONFIG, demo, out=out, iters=2, device="cpu")
    for picture in ("curves.png", "predictions.png"):
        with Image.open(out / picture) as image:
            image.load()
    assert (out / "best" / "weights.safetensors").is_file()
    table = (out / "table.txt").read_text()
    assert "sidewalk" in table
    assert str(result) in table
    scores = json.loads((out / "scores.json").read_text())
    assert scores["constant"] == result.baseline.numbers
    assert result.baseline.numbers["class"] == "road"
    assert 0 <= scores["mIoU"] <= 100
    assert str(out / "best" / "weights.safetensors") in (out / "commands.txt").read_text()


def test_a_set_of_the_users_own_is_trained_on(demo, streets, tmp_path):
    own = tmp_path / "own"
    for split in ("train", "val"):
        for kind, source in (("images", "leftImg8bit"), ("labels", "gtFine")):
            (own / kind / split).mkdir(parents=True)
            pattern = "*_leftImg8bit.png" if kind == "images" else "*_labelTrainIds.png"
            for i, path in enumerate(sorted((streets / source / split).rglob(pattern))):
                shutil.copy(path, own / kind / split / f"{i}.png")
    (own / "classes.json").write_text(json.dumps([f"class {i}" for i in range(19)]))
    result = quickstart(CONFIG, demo, out=tmp_path / "out", data=own, iters=1, device="cpu")
    assert result.tested.classes[0] == "class 0"
    assert result.tested.num_images == 2


def test_a_rendered_set_is_used_again(demo, streets):
    before = {path: path.stat().st_mtime_ns for path in streets.rglob("*.png")}
    demo.draw(progress=lambda done, total: None)
    assert {path: path.stat().st_mtime_ns for path in streets.rglob("*.png")} == before


def test_the_constant_score_is_the_mean_iou_of_the_commonest_class_everywhere(streets):
    dataset = create_dataset(dict(type="cityscapes", root=str(streets), split="val"))
    labels = torch.cat([torch.as_tensor(dataset[i].label).flatten() for i in range(len(dataset))])
    counts = torch.bincount(labels[labels != 255].long(), minlength=19)
    name, miou = constant_score(dataset)
    assert name == dataset.classes[int(counts.argmax())]
    expected = 100 * (counts.max() / counts.sum() / (counts > 0).sum()).item()
    assert math.isclose(miou, expected, rel_tol=1e-6)


def test_the_commands_for_real_data_have_arguments_that_the_command_line_knows(tmp_path):
    run = RunResult(work_dir=tmp_path, checkpoint=tmp_path / "weights.safetensors", best=None, scores=None)
    text = StreetDemo().commands(run, None, out=tmp_path, iters=10)
    lines = re.findall(r"^\S*python\S* tools/(train|test|predict)\.py (.*)$", text, re.MULTILINE)
    assert {verb for verb, _ in lines} == {"train", "test", "predict"}
    for verb, rest in lines:
        build_parser().parse_args([verb, *shlex.split(rest)])
