#!/usr/bin/env bash
# Looks for known vulnerabilities that this program's calls reach, by govulncheck
# (from Go's module proxy):
#
#   scripts/vuln.sh             by the database of the Go project, over the network
#   scripts/vuln.sh FOLDER      by data/osv of a clone of golang/vulndb, where that
#                               database cannot be reached
#
# It ends with 3 where one is reached. No part of make test: what it finds changes
# with the day.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

database=()
if [ $# -gt 0 ]; then
  [ -d "$1" ] || die "$1 is no folder: name data/osv of a clone of golang/vulndb"
  rm -rf "$build/vuln"
  mkdir -p "$build/vuln"
  # The layout that govulncheck asks for.
  python3 - "$1" "$build/vuln" <<'PY'
import json, pathlib, shutil, sys

source, target = map(pathlib.Path, sys.argv[1:])
for name in ("ID", "index"):
    (target / name).mkdir()
modules, reports = {}, []
for path in sorted(source.glob("GO-*.json")):
    report = json.loads(path.read_text())
    shutil.copy(path, target / "ID")
    reports.append({k: report[k] for k in ("id", "modified", "aliases") if k in report})
    for affected in report["affected"]:
        entry = {"id": report["id"], "modified": report["modified"]}
        if entry not in (known := modules.setdefault(affected["package"]["name"], [])):
            known.append(entry)
if not reports:
    sys.exit(f"{source} has no GO-*.json")
newest = max(r["modified"] for r in reports)
for name, content in (
    ("db", {"modified": newest}),
    ("modules", [{"path": m, "vulns": v} for m, v in sorted(modules.items())]),
    ("vulns", reports),
):
    (target / "index" / f"{name}.json").write_text(json.dumps(content))
PY
  database=(-db "file://$build/vuln")
fi
"$root/scripts/setup.sh"
# shellcheck source=/dev/null
. "$build/env"
GOBIN="$build/vuln-bin" go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
"$build/vuln-bin/govulncheck" "${database[@]}" ./...
