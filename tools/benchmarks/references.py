"""One model of each family beside its reference with the same random weights, both in eval mode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

import densevit
from densevit.weights import load_weights
from tools.peers import import_peer, import_torchvision_shim
from tools.peers.cait import cait_pair
from tools.peers.common import copy_weights, randomize, transformers_segformer
from tools.peers.mvit import copy_mvit_weights, stages_of_timm, timm_pair
from tools.peers.primus import STEMS, Primus
from tools.peers.pvt import maps_of_transformers_pvt, transformers_pvt
from tools.peers.swin import huggingface_pair
from tools.peers.t2t import t2t_pair
from tools.peers.timesformer import transformers_timesformer
from tools.peers.unetr import monai_swin_unetr, monai_unetr, swin_unetr, unetr
from tools.peers.uper import mmseg_swin_uper
from tools.peers.xcit import xcit_pair


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


def _mit() -> Pair:
    theirs = randomize(transformers_segformer("mit_b2", num_classes=1)).segformer
    ours = copy_weights(theirs, densevit.create_backbone("mit_b2"), source="huggingface_segformer")
    outputs = Outputs(theirs, lambda m, x: m(x, output_hidden_states=True).hidden_states)
    return Pair(ours, outputs, _image(512, 512))


def _pvt_v1() -> Pair:
    theirs = transformers_pvt("pvt_v1_small", image_size=512)
    ours = densevit.create_backbone("pvt_v1_small", image_size=512, class_token=True)
    copy_weights(theirs, ours, source="huggingface_pvt")
    return Pair(ours, Outputs(theirs, maps_of_transformers_pvt), _image(512, 512))


def _pvt_v2() -> Pair:
    theirs = randomize(import_peer("timm").create_model("pvt_v2_b2", num_classes=0))
    ours = copy_weights(theirs, densevit.create_backbone("pvt_v2_b2"), source="timm_pvt_v2")
    outputs = Outputs(theirs, lambda m, x: m.forward_intermediates(x, intermediates_only=True))
    return Pair(ours, outputs, _image(512, 512))


def _swin() -> Pair:
    theirs, ours = huggingface_pair("swin_tiny", 7)
    return Pair(ours, Outputs(theirs, lambda m, x: m(x).feature_maps), _image(512, 512))


def _mvit_v2() -> Pair:
    theirs, ours = timm_pair("mvit_v2_tiny")
    return Pair(ours, Outputs(theirs, lambda m, x: stages_of_timm(m, ours, x)), _image(224, 224))


def _mvit_v1_video() -> Pair:
    import_torchvision_shim()
    theirs = randomize(import_peer("torchvision.models.video").mvit_v1_b())
    ours = densevit.create_backbone("mvit_v1_base", spatial_dims=3, pyramid="video", class_token=True)
    copy_mvit_weights(theirs.state_dict(), ours, source="torchvision")
    return Pair(Outputs(ours, lambda m, x: m(x)[-1]), Outputs(theirs, _last_map_of_torchvision), _image(16, 224, 224))


def _last_map_of_torchvision(model: nn.Module, video: Tensor) -> Tensor:
    x = model.conv_proj(video)
    size = x.shape[2:]
    x = model.pos_encoding(x.flatten(2).transpose(1, 2))
    for block in model.blocks:
        x, size = block(x, size)
    return model.norm(x)[:, 1:].transpose(1, 2).unflatten(2, size)


def _vit() -> Pair:
    theirs = randomize(import_peer("timm").create_model("deit_base_patch16_224", img_size=512, num_classes=0))
    ours = densevit.create_backbone("vit_base", image_size=512, num_tokens=1)
    copy_weights(theirs, ours, source="timm_vit")
    return Pair(Outputs(ours, lambda m, x: m(x)[-1]), Outputs(theirs, _last_map_of_timm), _image(512, 512))


def _modern(name: str, peer: str, *, source: str, size: int, **options: object) -> Pair:
    """The last level of a ViT of timm's, made for images of a size."""
    theirs = randomize(import_peer("timm").create_model(peer, num_classes=0, **options))
    ours = densevit.create_backbone(name, **({} if "dinov3" in name else dict(image_size=size)))
    load_weights(ours, Path(peer), source=source, state=theirs.state_dict())
    outputs = Outputs(theirs, lambda m, x: m.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)[0])
    return Pair(Outputs(ours.eval(), lambda m, x: m(x)[-1]), outputs, _image(size, size))


def _dinov2() -> Pair:
    options = dict(source="facebook_dinov2", size=518)
    return _modern("dinov2_small", "vit_small_patch14_dinov2", img_size=518, **options)


def _dinov3_vit() -> Pair:
    return _modern("dinov3_vit_small", "vit_small_patch16_dinov3_qkvb", source="timm_dinov3", size=512)


def _dinov3_convnext() -> Pair:
    theirs = randomize(import_peer("timm").create_model("convnext_tiny", num_classes=0))
    ours = densevit.create_backbone("dinov3_convnext_tiny")
    load_weights(ours, Path("convnext_tiny"), source="timm_dinov3_convnext", state=theirs.state_dict())
    maps = Outputs(theirs, lambda m, x: m.forward_intermediates(x, intermediates_only=True)[:3])
    return Pair(Outputs(ours.eval(), lambda m, x: m(x)[:3]), maps, _image(512, 512))


def _eva02() -> Pair:
    options = dict(source="timm_eva02_large", size=448, img_size=448, use_fc_norm=False)
    return _modern("eva02_base", "eva02_base_patch14_448", **options)


def _logits(name: str, peer: str, source: str, num_classes: int) -> Pair:
    """A whole classifier of timm's."""
    theirs = randomize(import_peer("timm").create_model(peer)).eval()
    ours = densevit.create_classifier(name, num_classes=num_classes)
    return Pair(copy_weights(theirs, ours, source=source), theirs, _image(224, 224))


def _clip_vit() -> Pair:
    transformers = import_peer("transformers")
    theirs = randomize(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(patch_size=16)))
    ours = densevit.create_classifier("clip_vit_base_p16", num_classes=512)
    copy_weights(theirs, ours, source="huggingface_clip")
    return Pair(ours, Outputs(theirs, lambda m, x: m(x).image_embeds), _image(224, 224))


def _last_map_of_timm(model: nn.Module, x: Tensor) -> Tensor:
    return model.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, tuple(s // 16 for s in x.shape[2:]))


def _cait() -> Pair:
    theirs, ours = cait_pair((512, 512), dim=192, depth=24)
    return Pair(Outputs(ours, lambda m, x: m.backbone(x)), _taps(theirs, 5, 11, 17, 23), _image(512, 512))


def _xcit(patch_size: int) -> Pair:
    theirs, ours = xcit_pair(patch_size=patch_size, dim=192, depth=12, taps=(3, 5, 7, 11))
    return Pair(Outputs(ours, lambda m, x: m.backbone(x)), _taps(theirs, 3, 5, 7, 11), _image(512, 512))


def _taps(theirs: nn.Module, *blocks: int) -> Outputs:
    """Maps that timm's model has after these blocks."""
    return Outputs(theirs, lambda m, x: m.forward_intermediates(x, indices=list(blocks), intermediates_only=True))


def _volo() -> Pair:
    theirs = randomize(import_peer("timm").create_model("volo_d1_224", img_size=512))
    ours = copy_weights(theirs, densevit.create_backbone("volo_d1", image_size=512), source="sail_volo")
    outputs = Outputs(theirs, lambda m, x: m.forward_intermediates(x, intermediates_only=True))
    return Pair(ours, outputs, _image(512, 512))


def _timesformer() -> Pair:
    theirs = randomize(transformers_timesformer())
    ours = densevit.create_classifier("timesformer_base", num_classes=400, spatial_dims=3)
    copy_weights(theirs, ours, source="huggingface_timesformer")
    return Pair(ours, Outputs(theirs, lambda m, x: m(x.transpose(1, 2)).logits), _image(8, 224, 224))


def _t2t(*, performer: bool) -> Pair:
    theirs, ours = t2t_pair((512, 512), performer=performer, dim=256, depth=7, num_heads=4)
    maps = Outputs(theirs, lambda m, x: m.maps(x, (0, 2, 4, 6)))
    return Pair(Outputs(ours, lambda m, x: m.backbone(x)), maps, _image(512, 512))


def _unetr() -> Pair:
    size = (96, 96, 96)
    theirs = randomize(monai_unetr(size))
    return Pair(copy_weights(theirs, unetr(size), source="monai"), theirs, _image(*size, channels=1))


def _primus() -> Pair:
    size = (96, 96, 96)
    theirs = randomize(Primus(3, size, embed_dim=396, eva_depth=12, eva_numheads=6, num_classes=3))
    options = dict(image_size=size, stem_dims=STEMS[3])
    ours = densevit.create_segmentor(
        "primus_v3_small", "patch_decode", num_classes=3, spatial_dims=3, in_channels=1, backbone_options=options
    )
    return Pair(copy_weights(theirs, ours, source="nnunet_primus_v2"), theirs, _image(*size, channels=1))


def _swin_unetr() -> Pair:
    theirs = randomize(monai_swin_unetr(24))
    ours = copy_weights(theirs, swin_unetr("swin_unetr_small"), source="monai")
    return Pair(ours, theirs, _image(96, 96, 96, channels=1))


def _swin_uper() -> Pair:
    theirs = randomize(mmseg_swin_uper("swin_tiny"))
    ours = densevit.create_segmentor("swin_tiny", "uper", num_classes=150)
    copy_weights(theirs, ours, source="mmseg")
    logits = Outputs(theirs, lambda m, x: m.decode_head(m.backbone(x)))
    return Pair(Outputs(ours, lambda m, x: m.forward_logits(x)), logits, _image(512, 512))


def _image(*size: int, channels: int = 3) -> Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))


CLASSIFIERS = {  # ours -> timm's, the key map, classes
    "mixer_small_p16": ("mixer_s16_224", "timm_mixer", 1000),
    "convmixer_768_32": ("convmixer_768_32", "timm_convmixer", 1000),
    "resnet50": ("resnet50", "torchvision", 1000),
    "bit_r50x1": ("resnetv2_50x1_bit", "timm_bit", 1000),
    "vit_small_r26_s32": ("vit_small_r26_s32_224", "timm_hybrid_s32", 1000),
    "clip_resnet50": ("resnet50_clip", "timm_clip_resnet", 1024),
}
REFERENCES = {
    "mit_b2": Reference("transformers", "transformers", _mit),
    "pvt_v2_b2": Reference("timm", "timm", _pvt_v2),
    "pvt_v1_small": Reference("transformers", "transformers", _pvt_v1),
    "swin_tiny": Reference("transformers", "transformers", _swin),
    **{name: Reference("timm, logits", "timm", partial(_logits, name, *row)) for name, row in CLASSIFIERS.items()},
    "clip_vit_base_p16": Reference("transformers, embeddings", "transformers", _clip_vit),
    "mvit_v2_tiny": Reference("timm", "timm", _mvit_v2),
    "mvit_v1_base video": Reference("torchvision", "torchvision", _mvit_v1_video),
    "vit_base": Reference("timm", "timm", _vit),
    "cait_xxs24": Reference("timm", "timm", _cait),
    "xcit_tiny_12_p16": Reference("timm", "timm", partial(_xcit, 16)),
    "xcit_tiny_12_p8": Reference("timm", "timm", partial(_xcit, 8)),
    "timesformer_base video": Reference("transformers, logits", "transformers", _timesformer),
    "volo_d1": Reference("timm", "timm", _volo),
    "t2t_vit_7": Reference("written out", "torch", partial(_t2t, performer=True)),
    "t2t_vit_7, performer=False": Reference("written out", "torch", partial(_t2t, performer=False)),
    "dinov2_small": Reference("timm", "timm", _dinov2),
    "dinov3_vit_small": Reference("timm", "timm", _dinov3_vit),
    "dinov3_convnext_tiny": Reference("timm", "timm", _dinov3_convnext),
    "eva02_base": Reference("timm", "timm", _eva02),
    "swin_tiny + uper": Reference("mmsegmentation", "mmseg", _swin_uper),
    "unetr_vit_base + unetr": Reference("MONAI", "monai", _unetr),
    "primus_v3_small + patch_decode": Reference("timm's blocks", "timm", _primus),
    "swin_unetr_small + unetr": Reference("MONAI", "monai", _swin_unetr),
}
