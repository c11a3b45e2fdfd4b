"""Bundle NiiVue, the viewer of volumes in the page of an evaluation, for the package: needs npm and a network.

Writes densevit/report/pages/templates/niivue.js, minified by esbuild, below the licences of all that is in it: every
page holds them. The versions stand in tools/viewer/package.json.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent / "viewer"
TARGET = Path(__file__).parents[1] / "densevit" / "report" / "pages" / "templates" / "niivue.js"


def main() -> None:
    """Install beside a copy of tools/viewer, bundle, and put the licences on top."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(HERE, folder, dirs_exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True)
        options = ["--bundle", "--format=iife", "--minify", "--legal-comments=none", "--alias:zarrita=./none.js"]
        outputs = ["--outfile=bundle.js", "--metafile=meta.json"]
        subprocess.run(["npx", "esbuild", "entry.js", *options, *outputs], cwd=folder, check=True)
        text = (folder / "bundle.js").read_text(encoding="utf-8")
        if any(word in text for word in ("</script", "<!--", "\r", "\0")):
            raise SystemExit("the bundle holds what a page would read otherwise")
        TARGET.write_text(f"/*!\n{licences(folder)}\n*/\n{text}", encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


def licences(folder: Path) -> str:
    """Those of every package of which something is in the bundle."""
    meta = json.loads((folder / "meta.json").read_text())
    used = [path for path, each in next(iter(meta["outputs"].values()))["inputs"].items() if each["bytesInOutput"]]
    found = {}
    for path in used:
        if path.startswith("node_modules/"):
            words = path.split("/")[1:]
            package = "/".join(words[: 2 if words[0].startswith("@") else 1])
            files = [folder / "LICENSE.niivue"] if package == "@niivue/niivue" else []  # it brings none
            files += [f for f in (folder / "node_modules" / package).iterdir() if f.stem.lower() == "license"]
            text = files[0].read_text(encoding="utf-8")
            version = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
            found[package] = f"{package} {version}\n\n{text.strip()}"
    return "\n\n".join(found.values()).replace("*/", "* /")


if __name__ == "__main__":
    main()
