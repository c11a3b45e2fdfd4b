"""Which device a computation runs on."""

import torch


def pick_device(device: str | torch.device | None = None, local_rank: int = 0) -> torch.device:
    """The named device; without a name this process's GPU, or the CPU where there is none.

    "cuda" without a number is this process's GPU too: `local_rank` counts the processes of this machine, and more
    processes than GPUs share them. ValueError for a device that is not there.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"no device named {device!r}; cpu, cuda, cuda:1 and mps are names of devices") from None
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(chosen.type, 1)
    if (chosen.index or 0) >= count:
        raise ValueError(f"the device {str(chosen)!r} is not on this machine; choose cpu or another one")
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", local_rank % count)
    return chosen
