#!/usr/bin/env bash
# audit.sh sbom|audit: a bill of materials (CycloneDX), or a look for known vulnerabilities, of what constraints.txt pins for
# the default installation. The tools are installed into a throw-away environment, and are no part of Gantry.
# `audit` ends with 1 for a vulnerability, and with 0 and a word where no list can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
PY=${PY:-.venv/bin/python}
PATIENCE=${PATIENCE:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$PY" -m venv "$work/venv"
tools() { timeout 120 "$work/venv/bin/python" -m pip install -q --disable-pip-version-check "$@" >"$work/pip" 2>&1; }

# The pinned lines of what the default installation needs, and nothing of the extras.
"$PY" - >"$work/requirements.txt" <<'PYTHON'
import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

found: dict[str, str] = {}
waiting = ["gantry"]
while waiting:
    name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
    if name in found:
        continue
    try:
        one = distribution(name)
    except PackageNotFoundError:
        continue
    found[name] = one.version
    needs = map(Requirement, one.requires or ())
    waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
del found["gantry"]
print("\n".join(f"{name}=={version}" for name, version in sorted(found.items())))
PYTHON

case ${1:-} in
  sbom)
    tools 'cyclonedx-bom>=7,<8' || { echo "cyclonedx-bom could not be installed: $(tail -1 "$work/pip")" >&2; exit 1; }
    mkdir -p artifacts
    "$work/venv/bin/cyclonedx-py" requirements --pyproject pyproject.toml --output-reproducible --of JSON -o artifacts/sbom.json \
      "$work/requirements.txt"
    "$PY" deploy/vendored.py artifacts/sbom.json  # JavaScript of others, which the page uses
    ;;
  audit)
    tools 'pip-audit>=2.9,<3' || { echo "skipped: pip-audit could not be installed"; exit 0; }
    look() {
      timeout "$PATIENCE" "$work/venv/bin/pip-audit" --no-deps --disable-pip --progress-spinner off --timeout 5 -r "$1"
    }
    # A mirror may answer without knowing of any vulnerability: only a list that knows an old one is believed.
    echo 'jinja2==2.10' >"$work/known.txt"
    if ! look "$work/known.txt" 2>&1 | grep -q '^Found [0-9]* known vulnerabilit'; then
      echo "known vulnerabilities: skipped, no list of them can be reached"
      exit 0
    fi
    status=0
    look "$work/requirements.txt" >"$work/found" 2>"$work/errors" || status=$?
    if grep -q '^Found [0-9]* known vulnerabilit' "$work/found" "$work/errors"; then
      cat "$work/found" "$work/errors"
      exit 1
    elif [ "$status" = 0 ]; then
      cat "$work/errors"
    else
      echo "known vulnerabilities: skipped, no list of them can be reached"
    fi
    ;;
  *) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
