#!/usr/bin/env bash
# Makes .build/optuna, a venv with what scripts/examples/optuna needs, for its tests.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh"
# shellcheck source=/dev/null
. "$build/env"

lock=$root/scripts/examples/optuna/requirements.lock
stamp="$(cksum <"$lock") $AUTORESEARCH_PYTHON"
if [ "$(cat "$build/optuna/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
say "installing optuna into .build/optuna"
rm -rf "$build/optuna"
uv=$build/tools/bin/uv
"$uv" venv --quiet --no-project --python "$AUTORESEARCH_PYTHON" "$build/optuna"
VIRTUAL_ENV=$build/optuna "$uv" pip install --quiet --require-hashes -r "$lock"
echo "$stamp" >"$build/optuna/stamp"
