"""Tables of images and texts: .csv, .tsv and .jsonl, several texts an image, sets that are not split."""

import json

import numpy as np
import pytest
from PIL import Image

from densevit.data.dataset import check_dataset_config
from densevit.data.pair_set import PAIR_DATASETS


@pytest.fixture
def root(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((8, 9, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def pair_set(root, **keys):
    return check_dataset_config(dict(type="pair_table", root=str(root), **keys), PAIR_DATASETS).open()


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_an_image_has_all_its_texts_and_a_text_one_number(root, kind):
    rows = [("0.png", "a cat, black"), ("1.png", "a dog"), ("0.png", "an animal"), ("1.png", "an animal")]
    mark = dict(csv=",", tsv="\t").get(kind)
    lines = [json.dumps(dict(file=image, caption=text)) for image, text in rows]
    if mark:
        lines = [mark.join(("file", "caption")), *(f'{image}{mark}"{text}"' for image, text in rows)]
    (root / f"set.{kind}").write_text("\n".join(lines) + "\n")
    found = pair_set(root, table=f"set.{kind}", image="file", text="caption")
    assert found.texts == ("a cat, black", "an animal", "a dog")
    assert [numbers.tolist() for numbers in found.numbers] == [[0, 1], [1, 2]]
    drawn = {int(found.train_sample(0, augment=lambda sample, rng: sample, rng=rng).label) for rng in generators()}
    assert drawn == {0, 1}


def generators():
    return map(np.random.default_rng, range(12))


def test_a_set_is_divided_by_its_column_or_by_counting(root):
    (root / "pairs.jsonl").write_text("".join(f'{{"image": "{i}.png", "text": ["t{i}"]}}\n' for i in range(4)))
    keys = dict(table="pairs.jsonl", val_every=2)
    assert [pair_set(root, split=split, **keys).texts for split in ("train", "val")] == [("t1", "t3"), ("t0", "t2")]
    (root / "pairs.csv").write_text("image,text,split\n0.png,zero,train\n1.png,one,val\n")
    assert pair_set(root, split="val").texts == ("one",)
    with pytest.raises(ValueError, match=r"has no image in split 'test', but train \(1\), val \(1\)"):
        pair_set(root, split="test")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("9.png,nine,train", "line 2: an image that exists and a text are needed"),
        ("0.png,,train", "line 2: an image that exists and a text are needed"),
        ("0.png,zero,dev", "line 2: the split must be train, val or test, got 'dev'"),
        ("0.png,zero,train\n0.png,nil,val", "line 3: 0.png stands in the splits train and val"),
    ],
)
def test_a_wrong_line_is_named(root, line, what):
    (root / "pairs.csv").write_text(f"image,text,split\n{line}\n")
    with pytest.raises(ValueError, match=what):
        pair_set(root)
