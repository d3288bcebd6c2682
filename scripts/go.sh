#!/usr/bin/env bash
# Runs go with the environment that links the chosen CPython:
# scripts/go.sh build ./..., scripts/go.sh test ./pyembed
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
"$here/setup.sh"
# shellcheck source=/dev/null
. "$here/../.build/env"
exec go "$@"
