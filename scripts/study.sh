#!/usr/bin/env bash
# Makes .build/study, a real study for the CPU as `autoresearchd init` writes
# it, for the tests and benchmarks that want one.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
scripts/build.sh
scripts/tools.sh
# shellcheck source=/dev/null
. "$build/env"
# An older clone's workspace is no base for this one's tests.
stamp=$(cat configs/workspace/*.py configs/workspace/*.toml configs/workspace/*.lock | cksum)
if [ "$(cat "$build/study/stamp" 2>/dev/null)" = "$stamp $AUTORESEARCH_PYTHON" ]; then exit 0; fi
rm -rf "$build/study"
PATH="$build/tools/bin:$PATH" bin/autoresearchd init "$build/study" --profile cpu --corpus python >&2
echo "$stamp $AUTORESEARCH_PYTHON" >"$build/study/stamp"
