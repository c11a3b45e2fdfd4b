"""Few labels and many images: what is learned from images without labels, in pictures and volumes."""

import math
from dataclasses import replace

import pytest
import torch

from densevit.checkpoint import open_checkpoint
from densevit.labels import IGNORE
from densevit.runs.run import open_runs
from densevit.train import check_config, train
from densevit.train.strong_view import StrongOptions, cut_and_mix, strengthen
from densevit.train.task import kind_of
from densevit.train.tasks.mean_teacher import MeanTeacherOptions
from tests.train.hooks import cut_at
from tests.train.test_training import assert_same, final_state, scalars
from tests.train.test_volumes import balls as balls  # a fixture

STILL = StrongOptions(contrast=0, brightness=0, noise=0, coarse=1, cutmix=0)


def semi_supervised(config, **changes):
    unlabelled = {**config["train_data"]["dataset"], "split": "val"}
    given = dict(task="mean_teacher", unlabelled_data=dict(dataset=unlabelled, ratio=2), val_data=None)
    given["mean_teacher"] = dict(threshold=0.4, ramp_iters=4)
    return {**config, "train_cfg": {**config["train_cfg"], "ema": 0.5, "best": "mIoU"}} | given | changes


def test_a_run_that_was_cut_goes_on_to_the_last_bit(config, tmp_path):
    config["train_cfg"].update(max_iters=4, checkpoint_interval=2)
    given = semi_supervised(config)
    straight = train(given, work_dir=tmp_path / "straight", device="cpu", progress=False)
    with pytest.raises(SystemError):
        train(cut_at(given, 3), work_dir=tmp_path / "crashed", device="cpu", progress=False)
    resumed = train(given, work_dir=tmp_path / "crashed", resume=True, device="cpu", progress=False)
    assert_same(final_state(resumed), final_state(straight))
    row = scalars(tmp_path / "straight")[-1]
    assert row["loss"] == pytest.approx(row["loss_cross_entropy"] + row["loss_cross_entropy_unlabelled"], rel=1e-5)
    assert 0 <= row["sure_share"] <= 1
    (told,) = open_runs([tmp_path / "straight"])
    assert told.facts()["training images"] == 8
    assert told.facts()["parameters"] > 3e6
    assert open_checkpoint(straight.checkpoint).header.classes == ("ground", "box", "sky")


class Certain(torch.nn.Module):
    """A teacher that is surer of class 1 the brighter a pixel is."""

    def forward(self, image):
        return torch.cat([torch.zeros_like(image[:, :1]), image[:, :1]], 1)


def test_the_teacher_is_believed_where_it_is_sure_and_within_the_image(config):
    checked = check_config(semi_supervised(config, mean_teacher=dict(threshold=0.8, weight=3.0, strong=vars(STILL))))
    task = kind_of("mean_teacher").open(checked, torch.device("cpu"))
    task.average.model = Certain()
    weak = torch.tensor([3.0, 1.0, -2.0, 3.0]).expand(2, 3, 1, 4)  # probabilities of class 1: 0.95, 0.73, 0.12, 0.95
    inside = torch.tensor([0, 0, 0, IGNORE]).expand(2, 1, 4)
    seen = []
    task.network = lambda image, label, **more: seen.append(more) or {}
    batch = dict(image=torch.zeros(2, 3, 1, 4), label=torch.zeros(2, 1, 4), unlabelled=dict(image=weak, label=inside))
    task.step(batch)
    assert seen[0]["strong"].equal(weak)
    assert seen[0]["taught"].tolist() == [[[1, IGNORE, 0, IGNORE]]] * 2
    assert float(seen[0]["weight"]) == pytest.approx(3.0 * 2 / 3)


@pytest.mark.parametrize("size", [(6, 8), (4, 6, 8)])
def test_strong_views_change_what_they_say_and_never_the_size(size):
    torch.manual_seed(0)
    image = torch.randn(4, 2, *size)
    assert strengthen(image, STILL).equal(image)
    brighter = strengthen(image, replace(STILL, brightness=1.0, prob=1.0)) - image
    assert float(brighter.flatten(2).std(2).max()) < 1e-5
    assert 0 < float(brighter.abs().max()) <= 1.0
    flatter = strengthen(image, replace(STILL, contrast=0.9, prob=1.0))
    torch.testing.assert_close(flatter.flatten(2).mean(2), image.flatten(2).mean(2))
    assert not torch.allclose(flatter, image)
    assert strengthen(image, StrongOptions(prob=1.0)).shape == image.shape
    assert strengthen(image, replace(StrongOptions(), prob=0.0)).equal(image)


def test_labels_follow_a_box_of_another_image():
    torch.manual_seed(0)
    label = torch.arange(4).view(4, 1, 1).expand(4, 8, 8)
    mixed, labels = cut_and_mix(label[:, None].float(), label, replace(STILL, cutmix=1.0))
    assert labels.equal(mixed[:, 0].long())
    assert set(labels[0].unique().tolist()) == {0, 3}
    assert cut_and_mix(mixed, labels, STILL)[1] is labels


def test_the_weight_rises_over_the_ramp():
    options = MeanTeacherOptions(weight=2.0, ramp_iters=10)
    wanted = [2 * math.exp(-5), 2 * math.exp(-1.25), 2.0, 2.0]
    assert [options.weight_after(n) for n in (0, 5, 10, 20)] == pytest.approx(wanted)
    assert MeanTeacherOptions().weight_after(0) == 1.0


def test_what_does_not_fit_is_refused_and_validation_images_are_told(config, balls, tmp_path, caplog):
    with pytest.raises(ValueError, match=r"train_cfg\.ema is None, and the averaged weights are the teacher"):
        check_config(semi_supervised(config, train_cfg=dict(max_iters=1)))
    other = semi_supervised(config, unlabelled_data=dict(dataset=dict(type="msd", root=str(balls))))
    with pytest.raises(ValueError, match=r"model\.spatial_dims is 2 but unlabelled_data has 3"):
        train(other, work_dir=tmp_path, device="cpu", progress=False)
    same = semi_supervised(config, val_data=config["val_data"])
    task = kind_of("mean_teacher").open(check_config(same), torch.device("cpu"))
    assert {case.label for case in task.unlabelled.dataset.cases} == {None}  # of a set that has labels
    assert "3 of the 3 cases of val_data are in unlabelled_data too" in caplog.text
