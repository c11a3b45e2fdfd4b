"""The network of a bundle as our model's description, and its weights out of models/."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from densevit.integrations.monai_bundle.config import Component
from densevit.registry import NETWORKS, check_known
from densevit.weights import find_broken
from densevit.weights.pickles import read_pickle

OURS = "densevit.create_segmentor"  # the network of bundles that densevit exported
WEIGHTS = ("model.pt", "model.ts")
INSIDE = ("model", "state_dict", "network")  # keys under which checkpoints of ignite and others hold a state dict
OF_MONAI = "monai."


def describe_network(network: Component, *, num_classes: int | None) -> dict[str, Any]:
    """Keywords of `create_segmentor` for a network of MONAI that is known by name.

    `num_classes` is how many the metadata says, where the network leaves its own out. ValueError, in one sentence, for
    other networks, and for those of pictures.
    """
    name = f"{OF_MONAI}{network.name}"
    known = [each.removeprefix(OF_MONAI) for each in _networks_of_monai()]
    known_here = f"{network.config.path}: {network.where} is the network"
    check_known(network.name, known, what=known_here)
    own = network.target.rpartition(".")[0]
    if own and own.partition(".")[0] != "monai":
        raise network.refuse(f"of {own}, and of a bundle no code is run; its own modules are not imported")
    for key in ("_requires_", "_mode_"):
        if key in network.raw:
            raise network.refuse(f"which has {key}, and of a bundle no code is run; leave it out")
    options = {key: network.get(key) for key in network.arguments}
    takes = NETWORKS.parameters(name)
    shape = dict(num_classes=options.pop("out_channels", num_classes))
    for key in ("spatial_dims", "in_channels"):
        shape[key] = options.pop(key, takes[key].default)
    missing = [key for key, value in shape.items() if type(value) is not int]
    if missing:
        theirs = {"num_classes": "out_channels"}
        raise network.refuse(f"which must say {theirs.get(missing[0], missing[0])} as a whole number; write it there")
    if shape["spatial_dims"] == 2:
        raise network.refuse("of pictures (spatial_dims=2), and bundles of scans are known here; predict it with MONAI")
    for key in options:
        check_known(key, [*takes], what=f"{network.config.path}: {network.where} has", error=ValueError)
    return dict(backbone=name, decoder=None, **shape, backbone_options=options)


def _networks_of_monai() -> list[str]:
    _ = f"{OF_MONAI}UNet" in NETWORKS  # which brings them
    return [name for name in NETWORKS.names() if name.startswith(OF_MONAI)]


def read_state(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The state dict of models/model.pt, or of the TorchScript model.ts, without running anything of either.

    FileNotFoundError where there is neither, ValueError for what holds no weights.
    """
    found = [folder / "models" / name for name in WEIGHTS if (folder / "models" / name).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{folder / 'models'} has no {' and no '.join(WEIGHTS)}; fetch the bundle with its weights"
        )
    path = found[0]
    content = read_pickle(path)
    for key in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    state = dict(content) if isinstance(content, Mapping) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict of a network; save network.state_dict() there")
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    broken = find_broken(state)
    if broken:
        raise ValueError(f"{path} cannot be used: {broken}")
    return path, state
