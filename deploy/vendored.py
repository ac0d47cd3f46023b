"""vendored.py SBOM: adds to a bill of materials (CycloneDX, JSON) what is part of the page and no Python distribution.

Each folder of that kind has a README whose first words are its name, its version and its licence, and which says by
`npm pack NAME@VERSION` how to renew it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

STATIC = Path(__file__).resolve().parents[1] / "gateway" / "ui" / "static"


def components() -> list[dict[str, Any]]:
    """What is vendored, as CycloneDX names it. Raises ValueError for a folder that does not say what it is."""
    found = []
    for folder in sorted(path for path in STATIC.iterdir() if path.is_dir()):
        words = (folder / "README.md").read_text("utf-8")
        said = re.match(r"\S+ ([0-9]+(?:\.[0-9]+)+), under the (.+?) licen[cs]e( [0-9.]+)?", words)
        package = re.search(r"npm pack (\S+)@VERSION", words)
        if said is None or package is None:
            raise ValueError(f"{folder.name}/README.md does not say what it is, of which version and licence")
        name, version = package[1], said[1]
        purl = f"pkg:npm/{name}@{version}"
        licence = {"license": {"name": said[2] + (said[3] or "")}}
        one = {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}
        found.append({**one, "licenses": [licence]})
    return found


def main(path: Path) -> int:
    """Write them into the bill; how many there are in all."""
    bill = json.loads(path.read_text("utf-8"))
    known = {one.get("bom-ref") for one in bill.setdefault("components", [])}
    bill["components"] += [one for one in components() if one["bom-ref"] not in known]
    path.write_text(json.dumps(bill, indent=2) + "\n", "utf-8")
    return len(bill["components"])


if __name__ == "__main__":
    print(f"{sys.argv[1]}: {main(Path(sys.argv[1]))} components")
