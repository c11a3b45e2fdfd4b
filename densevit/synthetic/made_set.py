"""A set that is made, not downloaded: written aside, renamed when complete, and used again by who asks for the same."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from densevit.files import replacing
from densevit.texts import read_json

Progress = Callable[[int, int], None]  # called with how many are done, of how many


def make_set(
    root: str | Path,
    manifest: Mapping[str, Any],
    *,
    name: str,
    what: str,
    paths: Callable[[str, int], Sequence[Path]],
    draw: Callable[[np.random.Generator, Sequence[Path]], None],
    texts: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Draw a set into a folder that then takes the name `root`, unless it holds this very set already.

    `manifest` (JSON) says what decides every byte, among it `counts` by split and `seed`, and lies in the set as the
    file `name`; `what` is what messages call it, such as "street scenes". `draw(rng, files)` draws one sample, whose
    files, below the root, `paths(split, index)` names; `texts` are written as they are. ValueError where `root` holds
    anything else.
    """
    root, counts, seed = Path(root), manifest["counts"], manifest["seed"]
    if min(counts.values()) < 0 or sum(counts.values()) == 0 or not 0 <= seed < 1 << 63:
        one = what.removesuffix("s").split()[-1]
        raise ValueError(
            f"cannot make {counts} {what} with seed {seed}; ask for at least one {one} and a seed from 0 up"
        )
    samples = [(i, split, index) for i, (split, count) in enumerate(counts.items()) for index in range(count)]
    files = [Path(text) for text in texts or {}]
    files += [path for _, split, index in samples for path in paths(split, index)]
    if _is_complete(root, manifest, name=name, what=what, files=files):
        return root
    with replacing(root) as aside:
        for path in files:
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
        for done, (i, split, index) in enumerate(samples, start=1):
            key = np.array([seed, i << 32 | index], dtype=np.uint64)
            draw(np.random.Generator(np.random.Philox(key=key)), [aside / path for path in paths(split, index)])
            if progress is not None:
                progress(done, len(samples))
        for file, text in {**(texts or {}), name: json.dumps(manifest, indent=1) + "\n"}.items():
            (aside / file).write_text(text)
    return root


def _is_complete(root: Path, manifest: Mapping[str, Any], *, name: str, what: str, files: Sequence[Path]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    way_out = "choose another folder, or delete it to have the set made anew"
    if not (root / name).is_file():
        raise ValueError(f"{root} exists and holds no set of {what}; {way_out}")
    found = read_json(root / name, advice=way_out)
    if found != manifest:
        raise ValueError(f"{root} holds {what} made with {found}, asked for {dict(manifest)}; {way_out}")
    missing = [root / file for file in files if not (root / file).is_file()]
    if missing:
        raise ValueError(f"{root} lacks {len(missing)} files of its set, such as {missing[0]}; {way_out}")
    return True
