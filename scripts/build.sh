#!/usr/bin/env bash
# Builds BIN, bin/autoresearchd by default, and beside it, in share, its manual
# page and what completes it in a shell.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

bin=${BIN:-bin/autoresearchd}
[ -x "$bin" ] || say "building $bin (the first time takes a minute or two)"
scripts/setup.sh
# shellcheck source=/dev/null
. "$build/env"
go build -trimpath -ldflags "-s -w -X main.version=$(version_here) -X main.linkedPython=$AUTORESEARCH_PYTHON" -o "$bin" ./daemon/autoresearchd

share=$(dirname "$bin")/share
mkdir -p "$share"
"$bin" manual | gzip -9n >"$share/autoresearchd.1.gz"
"$bin" completion bash >"$share/autoresearchd.bash"
"$bin" completion zsh >"$share/_autoresearchd"
"$bin" completion fish >"$share/autoresearchd.fish"
