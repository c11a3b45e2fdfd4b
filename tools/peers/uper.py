"""Swin-UPerNet as a config of mmsegmentation builds it."""

import warnings
from pathlib import Path

from tools.peers import import_mmseg

CONFIGS = {
    "swin_tiny": "swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
    "swin_small": "swin-small-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
    "swin_base": "swin-base-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py",
}


def mmseg_swin_uper(name, **changes):
    """The model of one of mmsegmentation's own config files, with batch norm of one process."""
    mmseg = import_mmseg()
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import DefaultScope

    folder = Path(mmseg.__file__).parent / ".mim" / "configs" / "swin"
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        config = Config.fromfile(folder / CONFIGS[name]).model
        config.backbone.pop("init_cfg")
        config.backbone.update(changes)
        return revert_sync_batchnorm(mmseg.registry.MODELS.build(config))
