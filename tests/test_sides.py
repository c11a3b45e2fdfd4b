"""Left and right: what names of classes say, and what becomes of them in mirrored views and crops."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from densevit import Predictor
from densevit.checkpoint import Header, open_checkpoint, write_checkpoint
from densevit.data import create_dataset
from densevit.data.augment.options import AugmentOptions, VolumeAugmentOptions
from densevit.data.dataset import Sample
from densevit.data.stream import EvalSet
from densevit.evaluate import evaluate
from densevit.export.monai_metadata import open_run
from densevit.inference import InferenceOptions, SliceOptions, predict_logits
from densevit.segmentor import create_segmentor
from densevit.sides import Sides, read_sides
from densevit.train import check_config
from densevit.train.tasks.segment import SegmentTask
from densevit.volumes.grid import Grid

KIDNEYS = ("background", "kidney_left", "kidney_right")
PAIR = read_sides(KIDNEYS)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("kidney_left", "kidney_right"),
        ("left kidney", "Kidney, right"),
        ("kidney-L", "kidney-R"),
        ("L.kidney", "R.kidney"),
        ("kidneyL", "kidneyR"),
        ("kidneyLeft", "kidneyRight"),
        ("KIDNEY_L", "KIDNEY_R"),
        ("kidneyl", "kidneyr"),
        ("lungl", "lungr"),
        ("Leye", "Reye"),
        ("ribL", "ribR"),
        ("leftkidney", "rightkidney"),
        ("kidney_lt", "kidney_rt"),
        ("lh.thalamus", "rh.thalamus"),
        ("rib_left_1", "rib_right_1"),
        ("rib_L1", "rib_R1"),
        ("Niere_links", "Niere_rechts"),
        ("linke Niere", "rechte Niere"),
        ("Niere li", "Niere re"),
        ("rein gauche", "rein droit"),
        ("l'oreille gauche", "l'oreille droite"),
        ("riñón_izquierdo", "riñón_derecho"),
        ("rene sinistro", "rene destro"),
        ("rene_sx", "rene_dx"),
        ("vänster njure", "höger njure"),
        ("nyre_venstre", "nyre_højre"),
        ("ledvina levá", "ledvina pravá"),
        ("левая почка", "правая почка"),
        ("左肾", "右肾"),
    ],
)
def test_names_that_are_left_and_right_in_many_spellings_are_a_pair(left, right):
    assert read_sides(["background", right, left, "liver"]) == Sides(pairs=((1, 2),))


@pytest.mark.parametrize(
    "classes",
    [
        ("bright_spot", "cleft"),
        ("upright", "copyright", "leftover"),
        ("vertebrae_L1", "vertebrae_L2", "vertebrae_C1", "vertebrae_T1"),
        ("size_s", "size_m", "size_l"),
        ("zone_a", "zone_d", "zone_g"),
        ("towel", "tower", "lamp", "ramp"),
        ("left_and_right_lung", "liver"),
    ],
)
def test_names_without_a_side_have_none(classes):
    assert not read_sides(classes).any


def test_each_class_finds_its_own_counterpart_among_many():
    names = ["left lung lower lobe", "right lung lower lobe", "left lung upper lobe", "right lung upper lobe"]
    assert read_sides(names).pairs == ((0, 1), (2, 3))


def test_a_side_without_counterpart_and_what_cannot_be_told_are_refused_with_a_way_on():
    assert read_sides(["background", "appendage_left"]).alone == ("appendage_left",)
    assert read_sides(["left eye", "left-eye", "right eye"]).alone  # which of the two?
    assert read_sides(["LV", "RV", "myocardium"]).unclear == ("LV", "RV")
    for classes, named in (((KIDNEYS[:2]), "kidney_left has a side"), (("LV", "RV"), "LV and RV may be")):
        with pytest.raises(ValueError, match=f"^flips: .*{named}.*leave flips out, or declare .* inference.sides"):
            read_sides(classes).check(what="flips", otherwise="leave flips out")


@pytest.mark.parametrize("pair", [("podl", "podr"), ("lvent", "rvent"), ("lv", "rv"), ("Lfin", "Rfin")])
def test_short_words_that_differ_in_l_and_r_alone_are_asked_about_where_both_are_classes(pair):
    assert read_sides(["background", *pair]).unclear == pair
    assert not read_sides(["background", pair[0], "lungl", "Reye"]).any


def test_what_is_declared_counts_and_names_do_not():
    names = ["a", "b", "right_of_way"]
    assert read_sides(names, [["b", "a"]]) == Sides(pairs=((1, 0),), declared=True)
    assert read_sides(names, [(0, 1)]).pairs == ((0, 1),)
    assert read_sides(names, []) == Sides(declared=True)
    for wrong in ([["a", "z"]], [["a"]], [[0, 7]], [["a", "b"], ["a", 2]]):
        with pytest.raises(ValueError, match=r"^sides must"):
            read_sides(names, wrong)


class Sided(nn.Module):
    """Knows its sides by place alone: what is bright is class 1 in the left half and class 2 in the right one."""

    num_classes, divisor, in_channels = 3, 1, 1

    def __init__(self, spatial_dims: int):
        super().__init__()
        self.spatial_dims = spatial_dims

    def forward(self, x):
        right = torch.arange(x.shape[-1]) >= x.shape[-1] / 2
        bright = (x[:, :1] > 0.5).float()
        return torch.cat([torch.ones_like(bright), bright * 3 * ~right, bright * 2 * right], 1)


def header_of(spatial_dims, *, classes=KIDNEYS, **more):
    model = dict(num_classes=3, backbone="mit_b0", decoder="all_mlp", in_channels=1, spatial_dims=spatial_dims)
    return Header(model=model, classes=classes, **more)


@pytest.mark.parametrize(
    ("size", "flips"), [((8, 12), (-1,)), ((6, 8, 12), (-1,)), ((6, 8, 12), (-1, 0, (1, -1)))], ids=str
)
def test_mirrored_views_keep_left_left_and_right_right(size, flips):
    image, network = torch.zeros(1, *size), Sided(len(size))
    image[..., 1:4], image[..., 8:11] = 1, 1
    plain = Predictor(network, header_of(len(size)))
    mirrored = Predictor(network, header_of(len(size)), flips=flips, scales=(1.0, 1.0))
    assert plain.logits(image).argmax(0).unique().tolist() == [0, 1, 2]
    assert torch.equal(mirrored.logits(image).argmax(0), plain.logits(image).argmax(0))
    given = predict_logits(network, image, flips=flips, scales=(1.0, 1.0), sides=((1, 2),))
    assert torch.equal(given, mirrored.logits(image))


@pytest.mark.parametrize(("axis", "pairs"), [("axial", ((1, 2),)), ("coronal", ((1, 2),)), ("sagittal", ())])
def test_slices_without_a_left_and_right_keep_their_classes(axis, pairs):
    options = InferenceOptions(flips=(-1,))
    assert options.for_classes(KIDNEYS, spatial_dims=2, slices=SliceOptions(axis=axis)).sides == pairs


def test_a_model_whose_sides_cannot_be_paired_is_not_mirrored():
    alone = header_of(3, classes=("background", "appendage_left", "kidney_right"))
    with pytest.raises(ValueError, match=r"^flips: .*appendage_left has a side .*leave flips out"):
        Predictor(Sided(3), alone, flips=(-1,))
    Predictor(Sided(3), alone, flips=(-2,))  # upside down a side is what it was
    assert Predictor(Sided(3), alone, flips=(-1,), sides=[(1, 2)]).inference.sides == ((1, 2),)
    with pytest.raises(ValueError, match=r"^flips of pictures .* can be -1 alone"):
        Predictor(Sided(2), header_of(2), flips=(-2,))


def test_classes_without_names_are_told_to_say_nothing_of_sides(caplog):
    Predictor(Sided(3), header_of(3, classes=("background", "class 1", "2")), flips=(-1,))
    assert "no class name says left or right" in caplog.text
    caplog.clear()
    Predictor(Sided(3), header_of(3, classes=("background", "liver", "tumour")), flips=(-1,))
    assert not caplog.text


def test_pairs_travel_in_the_checkpoint(tmp_path):
    model = create_segmentor("mit_b0", "all_mlp", num_classes=3, in_channels=1, spatial_dims=3)
    classes, pair = ("background", "a", "b"), (("a", "b"),)
    header = header_of(3, classes=classes, inference=InferenceOptions(flips=(-1,), sides=pair))
    write_checkpoint(tmp_path / "weights.safetensors", model, header)
    assert open_checkpoint(tmp_path).header.inference.sides == pair
    assert Predictor(tmp_path).inference.sides == ((1, 2),)
    assert open_run(tmp_path).inference["sides"] == [(1, 2)]  # which a bundle's inferer is given


def sample_of(size):
    """The left half of the last axis is class 1, the right one class 2, as the image says."""
    label = np.where(np.arange(size[-1]) < size[-1] / 2, 1, 2).astype(np.uint8) * np.ones(size, np.uint8)
    return Sample(image=np.repeat(label[None].astype(np.float32), 3, 0), label=label, grid=Grid(size))


AUGMENTS = {
    2: AugmentOptions(crop_size=(8, 12), scale=(1.0, 1.0), cat_max_ratio=1.0, flip=1.0, photometric=False),
    3: VolumeAugmentOptions(crop_size=(6, 8, 12), flips=(0.5, 0.5, 1.0), scale=(1.0, 1.0), rotate=0.0, foreground=0.0),
}


@pytest.mark.parametrize("rank", [2, 3])
def test_flipped_crops_exchange_the_classes_of_left_and_right(rank):
    sample = sample_of((6, 8, 12)[-rank:])
    changed = AUGMENTS[rank].create(fill=(0.0,), sides=PAIR)(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.label, sample.label)  # what is on the left is of the left
    kept = AUGMENTS[rank].create(fill=(0.0,))(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(kept.label, 3 - sample.label)


@pytest.mark.parametrize("rank", [2, 3])
def test_crops_are_flipped_only_where_it_is_known_what_a_class_becomes(rank):
    alone = read_sides(["background", "kidney_left", "liver"])
    with pytest.raises(ValueError, match=r"^augment.flip.*kidney_left has a side.*to 0, or declare"):
        AUGMENTS[rank].create(fill=(0.0,), sides=alone)
    upright = replace(AUGMENTS[rank], **({"flip": 0.0} if rank == 2 else {"flips": (0.5, 0.5, 0.0)}))
    upright.create(fill=(0.0,), sides=alone)


@pytest.mark.parametrize("name", ["HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry"])
def test_no_other_transform_mirrors_classes_with_sides(name):
    options = replace(AUGMENTS[2], crop_size=(8, 8), flip=0.0, extra=(dict(type=name, p=0.5),))
    with pytest.raises(ValueError, match=f"{name} mirrors pictures.*use augment.flip"):
        options.create(fill=(0.0,), sides=PAIR)
    options.create(fill=(0.0,))


@pytest.fixture
def task_of(folder_set):
    """The training of pictures whose classes have the names that are given."""

    def make(classes, *, flip=0.5, **inference):
        root = folder_set([np.arange(80).reshape(8, 10) % 3], classes=classes)
        dataset = dict(type="folder", root=str(root), split="train")
        config = dict(
            model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=3),
            loss=[dict(type="cross_entropy")],
            optimizer=dict(type="AdamW", lr=1e-3),
            schedule=dict(type="poly"),
            train_cfg=dict(max_iters=1),
            train_data=dict(dataset=dataset, augment=dict(crop_size=(8, 8), flip=flip), batch_size=1, num_workers=0),
            inference=inference,
        )
        return SegmentTask(check_config(config), torch.device("cpu"))

    return make


def test_training_writes_the_pairs_into_the_header(task_of):
    assert task_of(KIDNEYS).header.inference.sides == (("kidney_left", "kidney_right"),)
    assert task_of(("road", "a", "b"), sides=[("a", "b")]).header.inference.sides == (("a", "b"),)
    assert task_of(("road", "right_of_way", "b"), sides=[]).header.inference.sides == ()


def test_training_refuses_to_mirror_what_it_cannot_pair(task_of):
    classes = ("road", "lane_left", "tree")
    for wrong in (dict(), dict(flip=0.0, flips=(-1,))):
        with pytest.raises(ValueError, match="lane_left has a side"):
            task_of(classes, **wrong)
    assert task_of(classes, flip=0.0).header.inference.sides is None


def test_training_says_where_names_say_nothing(task_of, caplog):
    with caplog.at_level(logging.INFO, "densevit"):
        task_of(("road", "car", "tree"), flip=0.0)
        assert "no class name" not in caplog.text
        task_of(("road", "car", "tree"))
    assert "no class name says left or right" in caplog.text


def test_scores_of_mirrored_views_exchange_the_classes_too(folder_set):
    root = folder_set([sample_of((8, 10)).label], classes=KIDNEYS)
    dataset = create_dataset(dict(type="folder", root=str(root), split="train"))
    options = dict(device=torch.device("cpu"))
    found = [evaluate(Sided(2), EvalSet(dataset), inference=dict(flips=f), **options).scores for f in ((), (-1,))]
    assert found[0].mIoU > 0
    assert found[1].mIoU == found[0].mIoU
