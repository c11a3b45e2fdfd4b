"""Amounts of memory as users write and read them."""

import re

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: int | str) -> int:
    """`"4GB"`, `"1.5 GiB"` or a number of bytes -> bytes; ValueError for anything else."""
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?i?)b?\s*", str(text).lower())
    try:
        value = int(float(found[1]) * UNITS[found[2]])
    except (TypeError, KeyError, ValueError):
        value = 0
    if value < 1:
        raise ValueError(f"expected an amount of memory such as 4GB, 512MiB or a number of bytes, got {text!r}")
    return value


def format_bytes(count: float) -> str:
    """`1.57 GB`, in powers of ten."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:.3g} {unit}"
