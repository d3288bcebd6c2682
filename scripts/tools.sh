#!/usr/bin/env bash
# Puts uv and ruff into .build/tools, at fixed versions.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/setup.sh"
# shellcheck source=/dev/null
. "$build/env"

wanted="uv==0.13.9 ruff==0.17.6"
if [ "$(cat "$build/tools/wanted" 2>/dev/null)" = "$wanted|$AUTORESEARCH_PYTHON" ]; then exit 0; fi
rm -rf "$build/tools"
"$AUTORESEARCH_PYTHON" -m venv "$build/tools" ||
  die "a venv could not be made with $AUTORESEARCH_PYTHON: install its venv module (Debian: apt install python3-venv)"
say "installing uv and ruff into .build/tools"
# shellcheck disable=SC2086
"$build/tools/bin/python" -m pip install --quiet --disable-pip-version-check $wanted
echo "$wanted|$AUTORESEARCH_PYTHON" >"$build/tools/wanted"
