"""What a segmentor learns from other segmentors.

Legend: logits (B, K, *S), label (B, *S), log p of classes. All means are over pixels that take part.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.checkpoint import Header
from densevit.decoders import Output
from densevit.labels import IGNORE
from densevit.segmentor import Segmentor
from densevit.train.distillation.options import DenseDistillationOptions, DenseTermOptions, ShallowOptions
from densevit.train.distillation.teachers import Seen, Teachers


def mean_log_probability(logits: Sequence[Tensor], *, temperature: float) -> Tensor:
    """Of several teachers, each (B, K, *S): the logarithm of the mean of their probabilities at a temperature."""
    each = [(one / temperature).log_softmax(1) for one in logits]
    return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))


def logit_loss(student: Tensor, taught: Tensor, *, temperature: float, valid: Tensor | None = None) -> Tensor:
    """Mean over pixels of KL(teacher || student) times the temperature squared; `taught` is log p (B, K, *S).

    `valid` (B, *S) says which pixels count; 0 where none does. https://arxiv.org/abs/1503.02531
    """
    found = (student / temperature).log_softmax(1)
    loss = (taught.exp() * (taught - found)).sum(1)  # (B, *S)
    if valid is not None:
        return temperature**2 * (loss * valid).sum() / valid.sum().clamp_min(1)
    return temperature**2 * loss.mean()


def channel_loss(student: Tensor, teacher: Tensor, *, temperature: float, valid: Tensor | None = None) -> Tensor:
    """Where each channel is high: KL of the distributions over places, times the temperature squared, mean over them.

    Both are (B, C, *S). https://arxiv.org/abs/2011.13256
    """
    places = [x.flatten(2) / temperature for x in (student, teacher)]  # (B, C, N)
    if valid is not None:
        shut = ~valid.flatten(1)[:, None]
        places = [x.masked_fill(shut, torch.finfo(x.dtype).min) for x in places]
    found, taught = (x.log_softmax(2) for x in places)
    loss = taught.exp() * (taught - found)
    if valid is not None:
        loss = loss.masked_fill(shut, 0)
    return temperature**2 * loss.sum(2).mean()


class DenseDistillation(nn.Module):
    """Named, weighted losses of a student's output and maps against its teachers'.

    What it holds itself are 1 x 1 convolutions from the student's channels to each teacher's, for the terms with a
    level. ValueError for a level that one of them has not.
    """

    def __init__(self, segmentor: Segmentor, teachers: Teachers, options: DenseDistillationOptions):
        super().__init__()
        self.options, self.teachers = options, teachers
        self.terms = (options.terms or (DenseTermOptions(),)) if teachers.networks else ()
        self.needs_features = any(term.level is not None for term in self.terms)
        self.adapters = nn.ModuleDict()
        for term in self.terms:
            if term.level is not None:
                self.adapters[term.name] = nn.ModuleList(_adapters(segmentor, teachers, term))

    def forward(
        self,
        losses: Mapping[str, Tensor],
        outputs: Mapping[str, Output],
        features: Sequence[Tensor],
        image: Tensor,
        label: Tensor,
    ) -> dict[str, Tensor]:
        """The `losses` on labels, weighed, and those on teachers.

        `outputs` are the student's, classified, its own under "main"; `features` the maps of its backbone.
        """
        options = self.options
        seen = self.teachers(image, features=self.needs_features) if self.terms else []
        with torch.autocast(image.device.type, enabled=False):
            losses = {name: options.label_weight * loss for name, loss in losses.items()}
            if self.terms:
                losses |= self._losses_of(outputs["main"].float(), features, seen, label)
            if options.shallow is not None:
                losses |= shallow_losses(outputs, label, options.shallow)
        return losses

    def _losses_of(
        self, output: Output, features: Sequence[Tensor], seen: Sequence[Seen], label: Tensor
    ) -> dict[str, Tensor]:
        size = label.shape[1:]
        valid = None if self.options.ignored else label != IGNORE
        student = output.logits(size)
        taught = [nd.resize(one.logits, size) for one in seen]
        losses = {}
        for term in self.terms:
            if term.level is not None:
                loss = self._loss_of_level(term, features, seen)
            elif term.type == "logits":
                log_p = mean_log_probability(taught, temperature=term.softness)
                loss = logit_loss(student, log_p, temperature=term.softness, valid=valid)
            else:
                mean = torch.stack(taught).mean(0)
                loss = channel_loss(student, mean, temperature=term.softness, valid=valid)
            losses[term.name] = term.weight * loss
        return losses

    def _loss_of_level(self, term: DenseTermOptions, features: Sequence[Tensor], seen: Sequence[Seen]) -> Tensor:
        """Mean over the teachers; the student's map is brought to the size of each one's."""
        losses, theirs = [], _teacher_level(term)
        for one, adapter in zip(seen, self.adapters[term.name], strict=True):
            wanted = one.features[theirs].float()
            found = nd.resize(adapter(features[term.level].float()), wanted.shape[2:])
            if term.type == "features":
                losses.append((found - wanted).square().mean())
            else:
                losses.append(channel_loss(found, wanted, temperature=term.softness))
        return torch.stack(losses).mean()


def create_distillation(
    segmentor: Segmentor, options: DenseDistillationOptions, header: Header, device: torch.device
) -> DenseDistillation:
    """What a config's section asks for, its teachers on the device."""
    teachers = Teachers(options.teachers, header, device=device, cache=options.cache)
    return DenseDistillation(segmentor, teachers, options)


def shallow_losses(outputs: Mapping[str, Output], label: Tensor, options: ShallowOptions) -> dict[str, Tensor]:
    """What the other outputs learn from "main", which learns nothing from them."""
    size, temperature = label.shape[1:], options.temperature
    taught = (outputs["main"].float().logits(size).detach() / temperature).log_softmax(1)
    return {
        f"loss_shallow_{name}": options.weight
        * logit_loss(output.float().logits(size), taught, temperature=temperature, valid=label != IGNORE)
        for name, output in outputs.items()
        if name != "main"
    }


def _teacher_level(term: DenseTermOptions) -> int:
    return term.level if term.teacher_level is None else term.teacher_level


def _adapters(segmentor: Segmentor, teachers: Teachers, term: DenseTermOptions) -> list[nn.Module]:
    """One for each teacher."""
    mine, theirs = segmentor.backbone.out_channels, _teacher_level(term)
    for whose, level, channels in [
        ("the student", term.level, mine),
        *(("a teacher", theirs, each) for each in teachers.level_channels),
    ]:
        if level >= len(channels):
            raise ValueError(f"distillation.terms: {whose} has levels 0 to {len(channels) - 1}, got level {level}")
    conv = nd.CONV[segmentor.spatial_dims]
    return [conv(mine[term.level], each[theirs], 1) for each in teachers.level_channels]
