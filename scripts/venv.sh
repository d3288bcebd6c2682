#!/usr/bin/env bash
# Makes .build/venv, the workspace's locked environment, for the tests.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh"
# shellcheck source=/dev/null
. "$build/env"

lock=$root/configs/workspace/requirements.lock
stamp="$(cksum <"$lock") $AUTORESEARCH_PYTHON"
if [ "$(cat "$build/venv/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
say "installing torch and what else the workspace needs into .build/venv (5 GB, half a minute or more)"
rm -rf "$build/venv"
uv=$build/tools/bin/uv
"$uv" venv --quiet --no-project --python "$AUTORESEARCH_PYTHON" "$build/venv"
VIRTUAL_ENV=$build/venv "$uv" pip install --quiet --require-hashes -r "$lock"
echo "$stamp" >"$build/venv/stamp"
