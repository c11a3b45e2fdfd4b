"""What a classifier learns from other classifiers: DeiT's losses.

Legend: logits (B, K), log p of classes (B, K), shares of classes (B, K).
"""

import torch.nn.functional as F
from torch import Tensor

from densevit.train.distillation.options import ClassDistillationOptions


def distillation_loss(student: Tensor, taught: Tensor, options: ClassDistillationOptions) -> Tensor:
    """Of the logits that learn from the teachers, `taught` being log p at the options' temperature.

    "soft" is KL(teacher || student), times the temperature squared, divided by the number of logits: by B and by K, as
    DeiT's code does it. https://arxiv.org/abs/2012.12877
    """
    if options.type == "hard":
        return F.cross_entropy(student, taught.argmax(1))
    temperature = options.temperature
    found = (student / temperature).log_softmax(1)
    total = F.kl_div(found, taught, reduction="sum", log_target=True)
    return total * temperature**2 / student.numel()
