"""The key `task` of a config: which tasks there are, and one of one's own."""

from dataclasses import dataclass, replace

import pytest

from densevit.train import check_config, train
from densevit.train.schema import ConfigFile
from densevit.train.task import KINDS, kind_of, register_task
from densevit.train.tasks.segment import SegmentTask


@dataclass(frozen=True, kw_only=True)
class WeightedConfig(ConfigFile):
    """Segmentation whose loss has a weight."""

    loss_weight: float


@pytest.fixture
def weighted():
    """A task of one's own, as long as the test runs."""

    @register_task("reweighted", config=WeightedConfig)
    class WeightedTask(SegmentTask):
        def step(self, batch):
            return {name: self.config.loss_weight * value for name, value in super().step(batch).items()}

    yield WeightedTask
    del KINDS["reweighted"]


def test_a_task_of_ones_own_has_its_own_keys_and_its_own_steps(config, weighted, tmp_path):
    own = check_config(dict(config, task="reweighted", loss_weight=0.0))
    assert isinstance(own, WeightedConfig)
    result = train(own, work_dir=tmp_path / "run", device="cpu", progress=False)
    losses = [line for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines() if '"loss"' in line]
    assert len(losses) == own.train_cfg.max_iters
    assert all('"loss": 0.0' in line for line in losses)
    assert check_config(replace(own, loss_weight=1.0)).loss_weight == 1.0
    assert result.scores["mIoU"] >= 0
    with pytest.raises(ValueError, match="the key 'loss_weight' is missing: it must be a number"):
        check_config(dict(config, task="reweighted"))
    with pytest.raises(ValueError, match="unknown key 'loss_weight'"):
        check_config(dict(config, loss_weight=0.0))


def test_tasks_are_known_by_name(config):
    assert kind_of("segment").open is SegmentTask
    with pytest.raises(ValueError, match=r"no task named 'segmnt'; did you mean segment\?"):
        check_config(dict(config, task="segmnt"))
    with pytest.raises(ValueError, match="task 'segment' is registered twice"):
        register_task("segment", config=ConfigFile)(SegmentTask)
