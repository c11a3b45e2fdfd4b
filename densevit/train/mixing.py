"""Two images made one: mixup and CutMix, of pictures and of volumes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from densevit.options import check_range


@dataclass(frozen=True, kw_only=True)
class MixingOptions:
    """The section `mixing` of a config; 0 leaves one out, and with both each batch draws which of them.

    mixup: the parameter of the Beta distribution that the share of the first image is drawn from
        (https://arxiv.org/abs/1710.09412); cutmix: the same for the share that a box of the second leaves of the first
        (https://arxiv.org/abs/1905.04899). prob: how often a batch is mixed; switch_prob: how often by CutMix.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0
    switch_prob: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, ["mixup", "cutmix"], least=0)
        check_range(self, ["prob", "switch_prob"], least=0, most=1)


def mix(image: Tensor, target: Tensor, options: MixingOptions) -> tuple[Tensor, Tensor]:
    """Images (B, C, *S) and shares of classes (B, K), each with its opposite in the batch: the first with the last.

    As in timm, one share is drawn for a batch, from torch's own generator of the CPU.
    """
    if not (options.mixup or options.cutmix) or float(torch.rand(())) >= options.prob:
        return image, target
    cuts = options.cutmix > 0 and (options.mixup == 0 or float(torch.rand(())) < options.switch_prob)
    alpha = torch.tensor(options.cutmix if cuts else options.mixup)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    if cuts:
        box = draw_box(image.shape[2:], 1 - share)
        mixed = image.clone()
        mixed[(..., *box)] = image.flip(0)[(..., *box)]
        inside = [part.stop - part.start for part in box]
        share = 1 - float(torch.tensor(inside).prod()) / image[0, 0].numel()
    else:
        mixed = image.lerp(image.flip(0), 1 - share)
    return mixed, target.lerp(target.flip(0), 1 - share)


def draw_box(size: Sequence[int], share: float) -> tuple[slice, ...]:
    """A box that covers a share of an image of this size, its middle anywhere; what lies beyond the border is lost."""
    box = []
    for length in size:
        half = length * share ** (1 / len(size)) / 2
        middle = float(torch.rand(())) * length
        box.append(slice(max(0, round(middle - half)), min(length, round(middle + half))))
    return tuple(box)


def shares_of_classes(label: Tensor, num_classes: int, *, smoothing: float = 0.0) -> Tensor:
    """Class numbers (B) -> (B, K): 1 - smoothing for the class, and `smoothing` over all alike."""
    hot = torch.nn.functional.one_hot(label, num_classes).to(torch.get_default_dtype())
    return hot * (1 - smoothing) + smoothing / num_classes
