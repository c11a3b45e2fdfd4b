"""What a load did, as data and as a table."""

from dataclasses import dataclass

_SHOWN = 8  # names of one kind in the table
_KINDS = ("missing", "mismatched", "unexpected", "ignored", "reshaped", "inflated", "fresh")


@dataclass(frozen=True)
class LoadReport:
    """Outcome of `load_weights`. `unexpected` and `ignored` are the file's names, all others the model's.

    `missing` tensors were wanted and are not in the file, `mismatched` ones have another shape, `fresh` ones were left
    as they are, on request or because the release has no such tensor; `ignored` ones have no place in the model by
    design, such as a classifier of ImageNet. `reshaped` ones came in another shape or size, `inflated` ones without the
    model's first axis. `remarks` are sentences on what cannot be told from the file.
    """

    source: str
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    inflated: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True when the model and the file fit each other."""
        return not (self.missing or self.mismatched or self.unexpected)

    @property
    def summary(self) -> str:
        """One line of counts."""
        total = len(self.matched) + len(self.missing) + len(self.mismatched) + len(self.fresh)
        return f"{self.source}: {len(self.matched)} of {total} tensors matched, " + ", ".join(
            f"{len(getattr(self, kind))} {kind}" for kind in _KINDS
        )

    def __str__(self) -> str:
        lines = [self.summary]
        for kind in _KINDS:
            names = getattr(self, kind)
            lines += [f"  {kind:<10}  {name}" for name in names[:_SHOWN]]
            if len(names) > _SHOWN:
                lines.append(f"  {kind:<10}  ... and {len(names) - _SHOWN} more")
        lines += [f"  remark      {remark}" for remark in self.remarks]
        return "\n".join(lines)
