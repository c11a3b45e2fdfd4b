"""Strong changes of images that are on the device already: of pictures and volumes alike."""

from dataclasses import dataclass

import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.options import check_range
from densevit.train.mixing import draw_box


@dataclass(frozen=True, kw_only=True)
class StrongOptions:
    """The section `strong` of a config; each change is made to a share `prob` of the images, its strength drawn anew.

    contrast, brightness, noise: the largest change of the factor on the image about its mean, of what is added to each
        channel, and of the deviation of added noise, in deviations of the normalised image. coarse: the largest factor
        by which the image is made smaller, and larger again. cutmix: how often a box of another image takes the place
        of the image's own (https://arxiv.org/abs/1906.01916).
    """

    prob: float = 0.8
    contrast: float = 0.5
    brightness: float = 0.5
    noise: float = 0.1
    coarse: float = 2.0
    cutmix: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, ["prob", "cutmix"], least=0, most=1)
        check_range(self, ["contrast"], least=0, most=0.99)
        check_range(self, ["brightness", "noise"], least=0)
        check_range(self, ["coarse"], least=1)


def strengthen(image: Tensor, options: StrongOptions) -> Tensor:
    """(B, C, *S) -> (B, C, *S), of torch's own generators."""
    each, of_channels = [len(image)] + [1] * (image.ndim - 1), list(image.shape[:2]) + [1] * (image.ndim - 2)

    def drawn(size: list[int], low: float, high: float) -> Tensor:
        chosen = torch.rand(each, device=image.device) < options.prob
        return torch.rand(size, device=image.device).mul_(high - low).add_(low) * chosen

    mean = image.mean(tuple(range(2, image.ndim)), keepdim=True)
    changed = image + (image - mean) * drawn(each, -options.contrast, options.contrast)
    changed = changed + drawn(of_channels, -options.brightness, options.brightness)
    changed = changed + drawn(each, 0, options.noise) * torch.randn_like(image)
    if options.coarse > 1 and float(torch.rand(())) < options.prob:
        factor = 1 + float(torch.rand(())) * (options.coarse - 1)
        smaller = [max(1, round(length / factor)) for length in image.shape[2:]]
        changed = nd.resize(nd.resize(changed, smaller), image.shape[2:])
    return changed


def cut_and_mix(image: Tensor, label: Tensor, options: StrongOptions) -> tuple[Tensor, Tensor]:
    """Images (B, C, *S) and label maps (B, *S), a box of which is now and then that of the opposite in the batch."""
    if len(image) < 2 or float(torch.rand(())) >= options.cutmix:
        return image, label
    box = draw_box(image.shape[2:], float(torch.rand(())) / 2)
    image, label = image.clone(), label.clone()
    others = image.flip(0), label.flip(0)
    for mine, other in zip((image, label), others, strict=True):
        mine[(..., *box)] = other[(..., *box)]
    return image, label
