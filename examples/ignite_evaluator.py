"""MONAI's SupervisedEvaluator (on ignite) with densevit's inferer, and densevit's Dice beside MONAI's.

`python examples/ignite_evaluator.py` makes its own small scans and takes less than a minute on a CPU.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, MeanDice, StatsHandler, from_engine
from monai.transforms import AsDiscreted
from monai.utils import set_determinism
from monai_training import ROI, make_loader, make_network, train
from synthetic_scans import CLASSES, write_scans

from densevit.inference import SlidingWindowInferer
from densevit.integrations.monai.metrics import CaseDiceMetric

logger = logging.getLogger("example")


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train for a moment, then evaluate; the two means of Dice, ours and MONAI's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    set_determinism(0)
    network = make_network()
    one_hot = AsDiscreted(("pred", "label"), to_onehot=len(CLASSES))

    def in_channels(output: list[dict]) -> tuple[list, list]:
        """What MONAI's metric takes: a channel for each class."""
        return from_engine(["pred", "label"])([one_hot(sample) for sample in output])

    with tempfile.TemporaryDirectory() as folder:
        cases = write_scans(Path(folder), count=4)
        train(network, cases[:2], epochs=args.epochs)
        ours = CaseDiceMetric(len(CLASSES))
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=make_loader(cases[2:], training=False),
            network=network,
            inferer=SlidingWindowInferer(ROI, overlap=0.5, mode="gaussian", reduce="labels"),
            key_val_metric={
                "dice": IgniteMetricHandler(metric_fn=ours, output_transform=from_engine(["pred", "label"]))
            },
            additional_metrics={"monai_dice": MeanDice(include_background=False, output_transform=in_channels)},
            val_handlers=[StatsHandler(iteration_log=False)],
        )
        evaluator.run()
    dice = {name: float(value) for name, value in evaluator.state.metrics.items()}
    logger.info("mean Dice: densevit's %.4f, MONAI's %.4f", dice["dice"], dice["monai_dice"])
    return dice


if __name__ == "__main__":
    main()
