#!/usr/bin/env bash
# Makes .build/pandas, an environment for the tests that read results.tsv as
# upstream's notebook does, and prints its interpreter.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh" >&2
# shellcheck source=/dev/null
. "$build/env"
want="pandas==2.3.3 $AUTORESEARCH_PYTHON"
if [ "$(cat "$build/pandas/stamp" 2>/dev/null)" != "$want" ]; then
  rm -rf "$build/pandas"
  "$build/tools/bin/uv" venv --quiet --no-project --python "$AUTORESEARCH_PYTHON" "$build/pandas"
  VIRTUAL_ENV=$build/pandas "$build/tools/bin/uv" pip install --quiet "${want%% *}" >&2
  echo "$want" >"$build/pandas/stamp"
fi
echo "$build/pandas/bin/python"
