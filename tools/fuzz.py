"""Damage small valid files in thousands of ways and read them: every one must be read right or refused in a sentence.

    python tools/fuzz.py nifti --minutes 10 --seed 1
    python tools/fuzz.py all --minutes 1
    python tools/fuzz.py dicom --seed 1 --only 4711    # one input again, with its trace

Counted are inputs that were refused by one clear sentence with the file's name, that were read right or as the file
may mean it, that crashed (any other exception, a hang, too much memory, a dead process), and that were read wrong in
silence: though a checksum in the file tells of the damage, or as labels of no class. Crashing inputs and their traces
are kept in --out; the exit status is 1 where there are any.
"""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # the repository

KINDS = {  # kind -> the module of tools/fuzzing and its function that makes the samples
    "nifti": ("volumes", "nifti"),
    "dicom": ("volumes", "dicom"),
    "seg": ("volumes", "seg"),
    "pictures": ("pictures", "pictures"),
    "json": ("texts", "texts"),
    "options": ("texts", "options"),
    "checkpoints": ("weights", "checkpoints"),
}


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*KINDS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0, help="for each kind (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed damages files in the same ways")
    parser.add_argument("--count", type=int, default=10**9, help="stop after so many inputs of a kind")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds that reading one file may take (default 30)")
    parser.add_argument("--only", type=int, metavar="N", help="try input N alone and show what is raised")
    parser.add_argument(
        "--out", type=Path, default=Path("fuzz_out"), help="folder of crashing inputs (default fuzz_out)"
    )
    return parser.parse_args()


def maker(kind: str) -> "Kind":  # noqa: F821
    """The function that makes the samples of a kind."""
    module, name = KINDS[kind]
    return getattr(import_module(f"tools.fuzzing.{module}"), name)


def main() -> int:
    """Fuzz one kind or all; prints a table."""
    from densevit.tables import format_table
    from tools.fuzzing.loop import OUTCOMES, run

    arguments = parse()
    rows = []
    for kind in KINDS if arguments.kind == "all" else [arguments.kind]:
        with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
            if arguments.only is not None:
                return show(kind, arguments, Path(folder))
            options = dict(seed=arguments.seed, minutes=arguments.minutes, limit=arguments.limit, count=arguments.count)
            counts, bad = run(maker(kind), Path(folder), **options)
            keep(kind, bad, arguments, Path(folder))
        rows.append({"kind": kind, "inputs tried": counts.total(), **{name: counts[name] for name in OUTCOMES}})
    print(format_table(rows))
    return int(any(row["crash"] or row["silently wrong"] for row in rows))


def keep(kind: str, bad: list, arguments: argparse.Namespace, folder: Path) -> None:
    """Save the inputs that were not read as they should, one of each reason, and why."""
    from tools.fuzzing.loop import damaged

    if not bad:
        return
    make, place = maker(kind), arguments.out / kind
    (folder / "again").mkdir()
    place.mkdir(parents=True, exist_ok=True)
    samples = make(folder / "again")
    originals = [sample.path.read_bytes() for sample in samples]
    seen = set()
    for outcome in bad:
        reason = outcome.said.strip().split("\n")[-1][:60], outcome.kind
        if reason in seen:
            continue
        seen.add(reason)
        chosen, content, _ = damaged(samples, originals, seed=arguments.seed, index=outcome.index)
        stem = f"{arguments.seed}-{outcome.index}-{samples[chosen].path.name}"
        (place / stem).write_bytes(content)
        (place / f"{stem}.txt").write_text(f"{outcome.kind}\n{outcome.said}\n", errors="backslashreplace")
        print(f"{kind} --seed {arguments.seed} --only {outcome.index}: {outcome.kind}, {reason[0]!r}", file=sys.stderr)


def show(kind: str, arguments: argparse.Namespace, folder: Path) -> int:
    """One input, in this process."""
    from tools.fuzzing.loop import inputs

    (outcome,) = inputs(maker(kind), folder / "one", seed=arguments.seed, start=arguments.only, count=1)
    print(f"{outcome.name}: {outcome.kind}\n{outcome.said}")
    return int(outcome.kind in ("crash", "silently wrong"))


if __name__ == "__main__":
    raise SystemExit(main())
