"""What all sets of volumes share: which cases belong to a split, and how they are read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from densevit.data.case import Case
from densevit.data.case_cache import create_case_cache
from densevit.data.layouts.classes import LabelNames
from densevit.data.layouts.subjects import subjects_of
from densevit.data.volume_set import VolumeDataset
from densevit.inference import SliceOptions
from densevit.normalization import ZSCORE
from densevit.options import read_options
from densevit.volumes.volume import ReadOptions

logger = logging.getLogger("densevit")
SPLITS = ("train", "val", "test")
Fold = tuple[frozenset[str], frozenset[str]]  # names of the cases to train on, and of those to validate on


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder's files say: {name: case} of each split, its folds, and what labels and channels mean."""

    root: Path
    said_by: Path
    cases: dict[str, dict[str, Case]]
    labels: LabelNames
    channels: Sequence[str]
    folds: Sequence[Fold] = ()

    @property
    def labelled(self) -> dict[str, Case]:
        """Those to train and to validate on, in the order of their files."""
        both = {**self.cases.get("train", {}), **self.cases.get("val", {})}
        return dict(sorted(both.items(), key=lambda pair: pair[1].images))

    def without(self, names: Sequence[str]) -> "Listing":
        """The same without the cases of these names, which must be known."""
        known = {name for cases in self.cases.values() for name in cases}
        for name in names:
            if name not in known:
                some = ", ".join(sorted(known)[:3])
                raise ValueError(f"leave_out names {name!r}, and {self.said_by} has no such case; it has {some}, ...")
        cases = {split: {n: case for n, case in of.items() if n not in names} for split, of in self.cases.items()}
        folds = [(train - frozenset(names), val - frozenset(names)) for train, val in self.folds]
        return replace(self, cases=cases, folds=folds)


@dataclass(frozen=True, kw_only=True)
class VolumeLayout:
    """The keys that every set of volumes has.

    split: "train", "val" or "test": the set's own lists, or parts of it as `val_every` and `fold` say. A set without a
        list for testing that nothing divides, as an external test set is, gives all its cases to "test".
    val_every: of the subjects, in the order of their first case, every n-th is for validation, beginning with number
        `fold`, and the others are for training; 0 uses the set's own lists.
    fold: without val_every, the number of one of the set's own folds, where it has some.
    leave_out: names of cases that are not used, such as damaged ones.
    group: whose scan a case is: see `densevit.data.layouts.subjects`; without it each case is a subject.
    normalization, spacing: see `VolumeDataset`. read: the keys of `ReadOptions`.
    cache: True, or the keys of `CacheOptions`, to keep what is made of each case on disk.
    slices: the keys of `SliceOptions`, for a network of pictures that sees the scans slice by slice.
    """

    root: str
    split: str = "train"
    val_every: int = 0
    fold: int | None = None
    group: str | dict | None = None
    leave_out: list | tuple = ()
    normalization: dict = field(default_factory=lambda: dict(ZSCORE))
    spacing: list | tuple | None = None
    read: dict | None = None
    cache: bool | dict | None = None
    slices: dict | None = None

    def listing(self) -> Listing:
        """What the files of the set say; touches no image."""
        raise NotImplementedError

    def open(self) -> VolumeDataset:
        if self.split not in SPLITS:
            raise ValueError(f"split must be 'train', 'val' or 'test', got {self.split!r}")
        read = read_options(ReadOptions, self.read or {}, where="read")
        cache = create_case_cache(self.cache)
        slices = None if self.slices is None else read_options(SliceOptions, self.slices, where="slices")
        listing = self.listing().without(self.leave_out)
        return VolumeDataset(
            list(choose_cases(listing, self).values()),
            classes=listing.labels.classes,
            label_values=listing.labels.values,
            ignored_value=listing.labels.ignored,
            channels=listing.channels,
            normalization=self.normalization,
            spacing=self.spacing,
            read=read,
            cache=cache,
            slices=slices,
        )


def choose_cases(listing: Listing, keys: VolumeLayout) -> dict[str, Case]:
    """{name: case} of a split, sorted; one without cases raises ValueError that says what to set."""
    if keys.split == "test":
        return _choose_test_cases(listing, keys)
    subjects = subjects_of(list(listing.labelled), keys.group, root=listing.root)
    names = _parts(listing, keys, subjects)
    if keys.group is not None:
        _warn_of_split_subjects(listing, names, subjects)
    wanted = names[keys.split]
    if wanted:
        return {name: case for name, case in listing.labelled.items() if name in wanted}
    number = len(set(subjects.values()))
    if not number:
        advice = "it has none with a label; look at type, leave_out, and what the set says of itself"
    elif keys.val_every or number == 1:
        advice = f"its cases or subjects with labels ({number}) are too few to be divided so"
    elif listing.folds:
        advice = f"set fold to one of its own, 0 to {len(listing.folds) - 1}"
    else:
        advice = "set val_every=5 to validate on every fifth case of its list"
    raise ValueError(f"{listing.said_by} lists no case for split {keys.split!r}; {advice}")


def _choose_test_cases(listing: Listing, keys: VolumeLayout) -> dict[str, Case]:
    """The set's own list for testing, or all of a set that nothing divides."""
    own, whole = listing.cases.get("test", {}), listing.labelled
    if own:
        return own
    if not whole or keys.val_every or keys.fold is not None or listing.cases.get("val") or listing.folds:
        raise ValueError(
            f"{listing.said_by} lists no case for split 'test'; give split='val' of a set with a validation part, and "
            "leave out val_every and fold of one that is all for testing"
        )
    logger.warning(
        "%s has no list for testing: split 'test' is all its %d cases, none of which may have been trained on",
        *(listing.said_by, len(whole)),
    )
    return whole


def _parts(listing: Listing, keys: VolumeLayout, subjects: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The names of the cases of "train" and of "val"."""
    fold = keys.fold or 0
    if keys.val_every:
        if keys.val_every < 2 or not 0 <= fold < keys.val_every:
            got = f"got {keys.val_every} and {fold}"
            raise ValueError(f"val_every must be at least 2 and fold 0 to val_every - 1, {got}")
        order = list(dict.fromkeys(subjects[name] for name in sorted(subjects)))
        held_out = order[fold :: keys.val_every]
        val = frozenset(name for name, subject in subjects.items() if subject in held_out)
        return dict(train=frozenset(subjects) - val, val=val)
    if keys.fold is None:
        return {split: frozenset(listing.cases.get(split, ())) for split in ("train", "val")}
    if not listing.folds:
        raise ValueError(f"{listing.said_by} has no folds of its own, got fold={fold}; set val_every=5 too")
    if not 0 <= fold < len(listing.folds):
        raise ValueError(f"{listing.said_by} has the folds 0 to {len(listing.folds) - 1}, got fold={fold}")
    return dict(zip(("train", "val"), listing.folds[fold], strict=True))


def _warn_of_split_subjects(listing: Listing, names: Mapping[str, frozenset], subjects: Mapping[str, str]) -> None:
    trained = {subjects[name]: name for name in sorted(names["train"])}
    both = [(trained[subjects[name]], name) for name in sorted(names["val"]) if subjects[name] in trained]
    if both:
        logger.warning(
            "%s splits subjects: %d of %d cases to validate on are of a subject that is trained on, first %s (%s is "
            "trained on); val_every=5 with this group splits by subject",
            *(listing.said_by, len(both), len(names["val"]), both[0][1], both[0][0]),
        )


def name_channels(said: Sequence[str], in_channels: int | None, *, otherwise: int) -> tuple[str, ...]:
    """The names that are said, if there are as many channels; else numbers, or "image" for one."""
    if in_channels is not None and in_channels < 1:
        raise ValueError(f"in_channels must be at least 1, got {in_channels}")
    number = in_channels or len(said) or otherwise
    if len(said) == number:
        return tuple(said)
    return ("image",) if number == 1 else tuple(f"channel {i}" for i in range(number))
