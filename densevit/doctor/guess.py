"""The configs of a folder's splits, pictures or scans, from the folder alone."""

from collections.abc import Sequence
from contextlib import suppress
from os import walk
from pathlib import Path
from typing import Any

from densevit.data.dataset import check_dataset_config
from densevit.data.layouts.guess import guess_dataset
from densevit.data.layouts.guess_volumes import ENDINGS, choose_split, guess_volume_dataset
from densevit.data.layouts.pairing import check_root

DEFAULT = ("train", "val")
DICOM = (".dcm", ".ima")


def guess_splits(data: str | Path, *, splits: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """{split: config} of a folder, or of the JSON file that lists its scans.

    Without `splits` those to train and to validate on, as far as the set has them. ValueError says what was looked for.
    """
    path = Path(data).expanduser()
    if path.suffix.lower() == ".json":
        return _of_scans(path, splits)
    holds_scans = check_root(path) and _holds_scans(path)
    try:
        return _of_scans(path, splits) if holds_scans else _of_pictures(path, splits)
    except ValueError as error:
        try:
            return _of_pictures(path, splits)
        except ValueError:
            raise error from None


def _of_scans(path: Path, splits: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    config = choose_split(guess_volume_dataset(path))
    return {split: dict(config, split=split) for split in splits or _own_splits(config)}


def _of_pictures(path: Path, splits: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    if splits:
        return {split: guess_dataset(path, split=split) for split in splits}
    found = {DEFAULT[0]: guess_dataset(path)}
    with suppress(ValueError):  # a set may have no other part
        found[DEFAULT[1]] = guess_dataset(path, split=DEFAULT[1])
    return found


def _holds_scans(root: Path) -> bool:
    """Whether a folder holds files of scans, or a list of them."""
    if (root / "dataset.json").is_file():
        return True
    return any(name.lower().endswith((*ENDINGS, *DICOM)) for _, _, names in walk(root) for name in names)


def _own_splits(config: dict[str, Any]) -> list[str]:
    """Training, and validation where there are cases for it: a single case, or subject, cannot be divided."""
    listing = check_dataset_config(config).listing()
    divided = config.get("val_every") or config.get("fold") is not None or listing.cases.get("val")
    return list(DEFAULT) if divided else [DEFAULT[0]]
