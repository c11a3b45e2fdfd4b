"""A set that is made, not downloaded: written aside, renamed when complete, and used again by who asks for the same."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from densevit.files import replacing
from densevit.texts import read_json


def make_set(
    root: Path,
    manifest: Mapping[str, Any],
    *,
    name: str,
    what: str,
    files: Sequence[Path],
    write: Callable[[Path], None],
) -> Path:
    """Have `write` make a set in a folder that then takes the name `root`, unless it holds this very set already.

    `manifest` (JSON) says what decides every byte and lies in the set as the file `name`; `files`, below the root, are
    what makes it complete; `what` is what messages call it, such as "street scenes". ValueError where `root` holds
    anything else.
    """
    if _is_complete(root, manifest, name=name, what=what, files=files):
        return root
    with replacing(root) as aside:
        aside.mkdir()
        write(aside)
        (aside / name).write_text(json.dumps(manifest, indent=1) + "\n")
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
