#!/usr/bin/env bash
# Makes .build/pandas, an environment for the tests that read results.tsv as
# upstream's notebook does, and prints its interpreter.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh" >&2
# shellcheck source=/dev/null
. "$build/env"
packages_venv pandas pandas==2.3.3
echo "$build/pandas/bin/python"
