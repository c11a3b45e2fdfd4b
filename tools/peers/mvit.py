"""MViT of timm beside ours, with the same weights."""

import torch.nn.functional as F

import densevit
from densevit.weights import to_ours, to_stages
from tools.peers import import_peer
from tools.peers.common import randomize

FINER_NORMS = [f"out_norms.{i}.{part}" for i in range(3) for part in ("weight", "bias")]


def copy_mvit_weights(theirs, ours, *, source):
    """Copy a peer's weights; only the norms of the finer maps, which a classifier has not, keep random ones."""
    randomize(ours, seed=1)
    translation = to_ours(theirs, source, class_head=False)
    assert translation.unexpected == []
    state = to_stages(translation.state, [f"backbone.{name}" for name in ours.state_dict()])
    missing, unexpected = ours.load_state_dict(
        {name.removeprefix("backbone."): tensor for name, tensor in state.items()}, strict=False
    )
    assert (missing, unexpected) == (FINER_NORMS, [])
    return ours.eval()


def timm_pair(name, *, depths=None, image_size=224, **options):
    theirs = randomize(timm_classifier(name, depths=depths, image_size=image_size, num_classes=0))
    if depths is not None:
        options["depths"] = depths
    options["class_token"] = theirs.cls_token is not None
    name = name.removesuffix("_cls")
    ours = densevit.create_backbone(name, pyramid=dict(image_size=image_size), **options)
    return theirs, copy_mvit_weights(theirs.state_dict(), ours, source="timm")


def timm_classifier(name, *, depths=None, image_size=224, num_classes):
    timm = import_peer("timm")
    cfg = import_peer("timm.models.mvitv2").model_cfgs[name.replace("_v2_", "v2_")]
    if depths is not None:
        cfg = type(cfg)(**{**vars(cfg), "depths": depths})
    return timm.models.mvitv2.MultiScaleVit(cfg, img_size=image_size, num_classes=num_classes)


def stages_of_timm(theirs, ours, image):
    """Their maps of all stages, through our norms."""
    maps = theirs.forward_intermediates(image, intermediates_only=True)
    norms = [(norm.weight, norm.bias) for norm in ours.out_norms]
    grids = [m.movedim(1, -1) for m in maps]
    normed = [F.layer_norm(g, w.shape, w, b, eps=1e-6) for g, (w, b) in zip(grids, norms, strict=True)]
    return [g.movedim(-1, 1) for g in normed]
