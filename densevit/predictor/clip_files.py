"""CLIPs of files: of runs, with all that prediction needs, and of OpenAI, open_clip and transformers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from densevit.checkpoint import Checkpoint, Header, open_checkpoint
from densevit.clip import create_clip
from densevit.clip.tokenizer import TextTokenizer, find_tokenizer
from densevit.texts import read_json
from densevit.weights import guess_source, load_weights, read_checkpoint, read_config, to_ours
from densevit.weights.family import image_of, patch_size
from densevit.weights.files import find_weights

# The colours of the pictures that CLIP was trained on: RGB, 0 to 255.
NORMALIZATION = dict(
    type="mean_std", mean=[122.7709383, 116.7460125, 104.09373615], std=[68.5005327, 66.6321579, 70.32316305]
)
VIEW = 224  # of a file that does not show its own
# What files are called in folders of transformers and open_clip.
RELEASED = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
STEM = "backbone.stages.0.downsample"


def open_clip(checkpoint: str | Path | Checkpoint) -> Checkpoint:
    """Read a CLIP: a weights file of a run, its folder, or a file of OpenAI, open_clip or transformers.

    Sizes of the latter are read from tensors, what tensors do not show from config.json or open_clip_config.json beside
    them. ValueError for a file that holds no CLIP, or no texts.
    """
    if isinstance(checkpoint, Checkpoint):
        return _checked(checkpoint)
    path = Path(checkpoint)
    if path.is_dir():
        released = [path / name for name in RELEASED if (path / name).is_file()]
        path = released[0] if released else find_weights(path)
    if path.suffix == ".safetensors" and path.is_file() and read_config(path) is not None:
        return _checked(open_checkpoint(path, classifiers=True))
    state, _ = read_checkpoint(path)
    source = guess_source(state)
    ours = to_ours(state, source, texts=True).state
    if "text.embed.weight" not in ours:
        raise ValueError(f"{path} holds no CLIP with its encoder of texts (it looks like {source})")
    described = _describe(ours, path)
    view = described["backbone_options"].get("image_size") or VIEW
    size = [view] * 2 if isinstance(view, int) else list(view)
    header = Header(
        model=described, normalization=NORMALIZATION, more=dict(view=dict(size=size, crop_ratio=1.0), source=source)
    )
    model = create_clip(
        described["backbone"],
        width=described["num_classes"],
        text=described["text"],
        in_channels=described["in_channels"],
        spatial_dims=described["spatial_dims"],
        **described["backbone_options"],
    )
    load_weights(model, path, state=state)
    return Checkpoint(header, model.state_dict(), path)


def tokenizer_of(checkpoint: Checkpoint) -> TextTokenizer:
    """That of the header, or of the files beside the checkpoint, or of a package that brings CLIP's."""
    given = checkpoint.header.more.get("tokenizer")
    return TextTokenizer(given) if isinstance(given, str) else find_tokenizer(checkpoint.path)


def _checked(opened: Checkpoint) -> Checkpoint:
    if not opened.header.is_of_clip:
        raise ValueError(
            f"{opened.path} has classes of its own, and classes are named for a CLIP alone; leave them out"
        )
    return opened


def _describe(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """What `Header.model` says of a CLIP of these tensors."""
    shapes, said = {name: tuple(tensor.shape) for name, tensor in state.items()}, _said_beside(path)
    vocab, text_dim = shapes["text.embed.weight"]
    text = dict(dim=text_dim, vocab=vocab, context=shapes["text.pos_embed"][0], depth=_count(shapes, r"text\.blocks\."))
    stem = shapes[f"{STEM}.proj.weight"]
    of_vit = any(name.startswith("backbone.blocks.") for name in shapes)
    if of_vit:
        depth, dim = _count(shapes, r"backbone\.blocks\."), stem[0]
        heads = said["heads"] or max(dim // said["head_width"], 1)
        cells = shapes[f"{STEM}.position.pos_embed"][1] - 1
        options = dict(dim=dim, depth=depth, num_heads=heads, patch_size=patch_size(shapes))
        options |= dict(image_size=image_of(cells, shapes), quick_gelu=said["quick_gelu"])
    else:
        stages = _count(shapes, r"backbone\.stages\.")
        depths = [_count(shapes, rf"backbone\.stages\.{i}\.blocks\.") for i in range(stages)]
        cells, stride = shapes["class_head.pos_embed"][1] - 1, 4 * 2 ** (stages - 1)
        options = dict(dim=2 * stem[0], depths=depths, image_size=round(cells**0.5) * stride)
    return dict(
        backbone="clip_vit_base_p16" if of_vit else "clip_resnet50",
        num_classes=shapes["class_head.fc.weight"][0],
        in_channels=stem[1],
        spatial_dims=len(stem) - 2,
        class_head=None,
        text=dict(text, quick_gelu=said["quick_gelu"], num_heads=said["text_heads"]),
        backbone_options=options,
    )


def _count(shapes: Mapping[str, Any], before: str) -> int:
    return 1 + max((int(m[1]) for name in shapes if (m := re.match(rf"{before}(\d+)\.", name))), default=-1)


def _said_beside(path: Path) -> dict[str, Any]:
    """What tensors do not show: heads of both encoders, None for 64 channels each, and the kind of GELU."""
    said = dict(heads=None, text_heads=None, head_width=64, quick_gelu=True)
    if (path.parent / "open_clip_config.json").is_file():
        config = _section(read_json(path.parent / "open_clip_config.json"), "model_cfg")
        vision, text = _section(config, "vision_cfg"), _section(config, "text_cfg")
        said |= dict(head_width=vision.get("head_width", 64), text_heads=text.get("heads"))
        said |= dict(quick_gelu=bool(config.get("quick_gelu", False)))
    elif (path.parent / "config.json").is_file():
        config = read_json(path.parent / "config.json")
        vision, text = _section(config, "vision_config"), _section(config, "text_config")
        said |= dict(heads=vision.get("num_attention_heads"), text_heads=text.get("num_attention_heads"))
        said |= dict(quick_gelu=text.get("hidden_act", "quick_gelu") == "quick_gelu")
    return said


def _section(config: Any, name: str) -> dict[str, Any]:
    found = config.get(name) if isinstance(config, dict) else None
    return found if isinstance(found, dict) else {}
