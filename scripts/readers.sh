#!/usr/bin/env bash
# Makes .build/readers, an environment with MLflow and TensorBoard for the test
# that reads what `autoresearchd export` wrote, and prints its interpreter.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh" >&2
# shellcheck source=/dev/null
. "$build/env"
packages_venv readers mlflow-skinny==3.17.2 tensorboard==2.21.0
echo "$build/readers/bin/python"
