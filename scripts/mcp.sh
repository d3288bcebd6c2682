#!/usr/bin/env bash
# Makes .build/mcp, an environment with the Python SDK of the Model Context
# Protocol, for the test that lists and calls the tools of `autoresearchd mcp`
# as a coding agent does, and prints its interpreter.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh" >&2
# shellcheck source=/dev/null
. "$build/env"
packages_venv mcp mcp==1.30.0
echo "$build/mcp/bin/python"
