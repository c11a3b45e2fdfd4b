"""One model of each family beside its reference with the same random weights, both in eval mode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

import densevit
from densevit.weights import to_theirs
from tests.parity.common import randomize
from tests.peers import import_peer


@dataclass(frozen=True)
class Pair:
    """Two modules that map the same image (1, C, *S) to the same tensors."""

    ours: nn.Module
    reference: nn.Module
    image: Tensor


@dataclass(frozen=True)
class Reference:
    """What a model is compared with: what to call it, its package, and a builder of the pair."""

    title: str
    package: str
    make: Callable[[], Pair]


class Outputs(nn.Module):
    """A reference's own forward, then the part of what it returns that ours returns: (B, C, *S) -> [(B, C_i, *S_i)]."""

    def __init__(self, model: nn.Module, outputs: Callable[[nn.Module, Tensor], Sequence[Tensor] | Tensor]):
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, x: Tensor) -> Sequence[Tensor] | Tensor:
        return self.outputs(self.model, x)


def installed(names: Sequence[str]) -> list[str]:
    """Those of the names whose reference is installed here."""
    return [name for name in names if find_spec(REFERENCES[name].package)]


def backbone(name: str, **options: object) -> nn.Module:
    """A backbone with random values in every tensor."""
    return randomize(densevit.create_backbone(name, **options))


def load(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Give a reference our weights: only buffers that it computes by itself, and what it never uses, may be missing."""
    parameters = {name for name, _ in model.named_parameters()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    unused = [name for name in missing if name in parameters and not name.startswith(("head.", "norm."))]
    if unexpected or unused:
        raise SystemExit(f"weights do not fit the reference: unexpected {unexpected[:3]}, missing {unused[:3]}")
    return model.eval()


def _pvt_v2() -> Pair:
    ours = backbone("pvt_v2_b2")
    timm = import_peer("timm")
    model = load(timm.create_model("pvt_v2_b2"), to_theirs(ours.state_dict(), "timm_pvt_v2"))
    return Pair(
        ours, Outputs(model, lambda m, x: m.forward_intermediates(x, intermediates_only=True)), _image(512, 512)
    )


def _image(*size: int, channels: int = 3) -> Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))


REFERENCES = {
    "pvt_v2_b2": Reference("timm", "timm", _pvt_v2),
}
