#!/usr/bin/env bash
# Builds bin/autoresearchd.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
[ -x bin/autoresearchd ] || say "building bin/autoresearchd (the first time takes a minute or two)"
scripts/setup.sh
# shellcheck source=/dev/null
. "$build/env"
go build -trimpath -ldflags "-s -w -X main.version=$version -X main.linkedPython=$AUTORESEARCH_PYTHON" -o bin/autoresearchd ./daemon/autoresearchd
