"""The same SegFormer, with the same weights, as densevit and its peers build it.

A contender maps an image (B, 3, H, W) to logits (B, classes, H, W) at the image's own size.
"""

import re
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import densevit
from densevit.backbones.mit import VARIANTS
from densevit.weights.rename import to_theirs
from tools.peers import import_mmseg, import_peer

PACKAGES = {"transformers": "transformers", "smp": "segmentation_models_pytorch", "mmseg": "mmseg"}


class Peer(nn.Module):
    """A peer's own forward, then its logits at the image's size: (B, 3, H, W) -> (B, classes, H, W)."""

    def __init__(self, model: nn.Module, encoder: nn.Module, logits: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model = model
        self.encoder = encoder
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        y = self.logits(x)
        if y.shape[2:] == x.shape[2:]:
            return y
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


def installed(names: list[str]) -> list[str]:
    """Those of the peers that are installed here."""
    return [name for name in names if find_spec(PACKAGES[name])]


def make_pair(name: str, variant: str, *, classes: int, fresh: bool = False, seed: int = 0) -> tuple[nn.Module, Peer]:
    """Ours in the form of the peer `name`, and the peer with the same random weights, both in eval mode.

    `fresh` weights are those of a model before its training; otherwise norms are random as well, so that equal
    outputs prove something. There is no dropout and no stochastic depth.
    """
    torch.manual_seed(seed)
    options = dict(project_norm=True, dim=256) if name == "mmseg" else {}  # mmsegmentation's head is another one
    ours = densevit.create_segmentor(
        f"mit_{variant}", "all_mlp", num_classes=classes, decoder_options=dict(dropout=0.0, **options)
    )
    if not fresh:
        randomize(ours)
    make = {"transformers": _transformers, "smp": _smp, "mmseg": _mmseg}[name]
    return ours.eval(), make(variant, classes, ours).eval()


def randomize(model: nn.Module) -> None:
    """Random values for every norm and a head of usual size, so that equal outputs prove something."""
    nn.init.normal_(model.head.weight, std=0.1)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def _transformers(variant: str, classes: int, ours: nn.Module) -> Peer:
    package = import_peer("transformers")
    config = package.SegformerConfig(
        num_labels=classes,
        hidden_sizes=list(ours.backbone.out_channels),
        depths=_depths(variant),
        num_attention_heads=[1, 2, 5, 8],
        decoder_hidden_size=ours.decoder.out_channels,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
    )
    package.logging.disable_progress_bar()
    state = to_theirs(ours.state_dict(), "huggingface")
    model = package.SegformerForSemanticSegmentation.from_pretrained(None, config=config, state_dict=state)
    # The released models' epsilon; the package has 1e-5 everywhere.
    set_epsilon(model, r"layernorm_(before|after)$|stages\.\d\.layer_norm$", 1e-6)
    return Peer(model, model.segformer, lambda x: model(x).logits)


def _smp(variant: str, classes: int, ours: nn.Module) -> Peer:
    package = import_peer("segmentation_models_pytorch")
    dim = ours.decoder.out_channels
    model = package.Segformer(
        f"mit_{variant}", encoder_weights=None, decoder_segmentation_channels=dim, classes=classes
    )
    model.load_state_dict(_smp_names(to_theirs(ours.state_dict(), "nvlabs")))
    # Its last upsampling aligns corners, unlike the published model's: the common one stands in for it.
    return Peer(model, model.encoder, lambda x: model.segmentation_head[0](model.decoder(model.encoder(x))))


def _smp_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published checkpoints' names to smp's."""
    rules = (
        (r"^backbone\.", "encoder."),
        (r"^decode_head\.linear_c(\d)\.proj", lambda m: f"decoder.mlp_stage.{4 - int(m[1])}.linear"),
        (r"^decode_head\.linear_fuse\.conv", "decoder.fuse_stage.0"),
        (r"^decode_head\.linear_fuse\.bn", "decoder.fuse_stage.1"),
        (r"^decode_head\.linear_pred", "segmentation_head.0"),
    )
    for pattern, replacement in rules:
        state = {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}
    return state


def _mmseg(variant: str, classes: int, ours: nn.Module) -> Peer:
    package = import_mmseg()
    dims = list(ours.backbone.out_channels)
    backbone = package.models.backbones.MixVisionTransformer(
        embed_dims=dims[0], num_layers=_depths(variant), num_heads=[1, 2, 5, 8], drop_path_rate=0.0
    )
    decode_head = package.models.decode_heads.SegformerHead(
        in_channels=dims, in_index=[0, 1, 2, 3], channels=256, num_classes=classes, norm_cfg=dict(type="BN")
    )
    decode_head.dropout = nn.Identity()
    model = nn.ModuleDict(dict(backbone=backbone, decode_head=decode_head))
    model.load_state_dict(to_theirs(ours.state_dict(), "mmseg"))
    # The released models' epsilon; the package has 1e-6 everywhere.
    set_epsilon(model, r"layers\.\d\.0\.norm$|attn\.norm$", 1e-5)
    return Peer(model, backbone, lambda x: decode_head(backbone(x)))


def _depths(variant: str) -> list[int]:
    return list(VARIANTS[f"mit_{variant}"]["depths"])


def set_epsilon(model: nn.Module, pattern: str, eps: float) -> None:
    """Set the epsilon of the layer norms whose name matches."""
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm) and re.search(pattern, name):
            module.eps = eps
