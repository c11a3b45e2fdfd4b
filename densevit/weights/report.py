"""What a load did, as data and as a table."""

from dataclasses import dataclass

_SHOWN = 8  # names of one kind in the table


@dataclass(frozen=True)
class LoadReport:
    """Outcome of `load_weights`. `unexpected` and `ignored` are the file's names, all others the model's.

    `missing` tensors were wanted and are not in the file, `mismatched` ones have another shape, `fresh` ones were left
    as they are on request; `ignored` ones have no place in our models by design, such as a classifier of ImageNet.
    """

    source: str
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True when the model and the file fit each other."""
        return not (self.missing or self.mismatched or self.unexpected)

    @property
    def summary(self) -> str:
        """One line of counts."""
        total = len(self.matched) + len(self.missing) + len(self.mismatched) + len(self.fresh)
        counts = ("missing", "mismatched", "unexpected", "ignored", "reshaped", "fresh")
        return f"{self.source}: {len(self.matched)} of {total} tensors matched, " + ", ".join(
            f"{len(getattr(self, name))} {name}" for name in counts
        )

    def __str__(self) -> str:
        lines = [self.summary]
        for kind in ("missing", "mismatched", "unexpected", "ignored", "reshaped", "fresh"):
            names = getattr(self, kind)
            lines += [f"  {kind:<10}  {name}" for name in names[:_SHOWN]]
            if len(names) > _SHOWN:
                lines.append(f"  {kind:<10}  ... and {len(names) - _SHOWN} more")
        return "\n".join(lines)
