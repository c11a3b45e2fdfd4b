"""What differs between runs: their configurations, and whether their scores are of the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from densevit.options import dotted
from densevit.quoting import shown
from densevit.runs.run import Run

SCHEMA, VERSION = "densevit.runs", 1
ABSENT = "(absent)"
FASTER = ("check", "cache")  # keys of a data set that change no sample of it
AS_FAST = ("inference.batch_size", "inference.sides")  # and of inference


@dataclass(frozen=True)
class Comparability:
    """Whether scores may be compared, None where less than two runs have any; the sentence that says so, and what is
    not alike.
    """

    same: bool | None
    said: str
    reasons: Sequence[str] = ()


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Key of the config -> its value in each run, for keys that are not alike in all; `ABSENT` where it has none."""
    return _different([dotted(run.settings) for run in runs])


def compare_validation(runs: Sequence[Run]) -> Comparability:
    """Whether the runs were validated on the same images and classes, in the same way."""
    without = [run.name for run in runs if not run.scores]
    if len(runs) < 2 or len(without) > len(runs) - 2:
        return Comparability(None, "")
    scored = [run for run in runs if run.scores]
    named = [run.name for run in scored]
    different = _different([_validated_on(run) for run in scored])
    left_out = f" Without a score, and so left out: {', '.join(without)}." if without else ""
    if different:
        reasons = [_said(key, values, named) for key, values in different.items()]
        sentence = "Scores do not compare: these runs were not validated on the same data in the same way."
        return Comparability(False, sentence + left_out, reasons)
    count = scored[0].begun.get("val")
    images = f", {count} images" if count else ", how many images is not recorded"
    classes = f", {len(scored[0].classes)} classes" if scored[0].classes else ""
    sentence = f"All were validated on the same data in the same way, by their configurations{images}{classes}."
    return Comparability(True, sentence + left_out)


def _validated_on(run: Run) -> dict[str, Any]:
    settings = dotted(run.settings)
    skipped = {f"val_data.dataset.{key}" for key in FASTER} | set(AS_FAST)
    asked = {
        key: value
        for key, value in settings.items()
        if key.startswith(("val_data.dataset", "inference.")) and key not in skipped
    }
    return {**asked, "number of validation images": run.begun.get("val"), "classes": list(run.classes or ()) or None}


def _different(sides: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = sorted({key for side in sides for key in side})
    table = {key: [side.get(key, ABSENT) for side in sides] for key in keys}
    return {key: values for key, values in table.items() if any(value != values[0] for value in values)}


def _said(key: str, values: Sequence[Any], names: Sequence[str]) -> str:
    texts = [value if value is ABSENT else shown(value) for value in values]
    groups = {text: [name for name, other in zip(names, texts, strict=True) if other == text] for text in texts}
    return f"{key} is " + " and ".join(f"{text} in {', '.join(group)}" for text, group in groups.items())


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    """All there is to know of runs, ready for `json`; null where a folder does not say."""
    compared = compare_validation(runs)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "runs": [
            {
                "name": run.name,
                "folder": str(run.folder),
                "facts": run.facts(),
                "remarks": list(run.remarks),
                "config": dotted(run.settings),
                "scalars": list(run.rows),
            }
            for run in runs
        ],
        "differences": differences(runs),
        "validated_alike": compared.same,
        "remark": compared.said,
        "reasons": list(compared.reasons),
    }


def headline(runs: Sequence[Run]) -> tuple[list[dict[str, Any]], list[str]]:
    """A row of facts for each run, of the same keys in all; and the keys of which no run says anything."""
    facts = [run.facts(list(dict.fromkeys(run.metric for run in runs))) for run in runs]
    unknown = [key for key in facts[0] if all(each[key] is None for each in facts)]
    rows = [{"run": run.name} | {key: value for key, value in each.items() if key not in unknown}
            for run, each in zip(runs, facts, strict=True)]  # fmt: skip
    return rows, unknown
