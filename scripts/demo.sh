#!/usr/bin/env bash
# A short study on the CPU, with everything it needs and leaves under demo/.
# Run again, it continues the same study.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

trials=${TRIALS:-7}
daemon=bin/autoresearchd
config=demo/autoresearch.toml
results=demo/state/results.tsv
[ -x "$daemon" ] || die "$daemon is missing: run \`make build\` first"
scripts/tools.sh
# shellcheck source=/dev/null
. "$build/env"
export PATH="$build/tools/bin:$PATH"

"$daemon" init demo --profile cpu --corpus python

if [ -f "$results" ]; then say "continuing the study in demo/state"; fi
# Another daemon may have the port of the page; any other does, and run says it.
port=()
if (exec 3<>/dev/tcp/127.0.0.1/9797) 2>/dev/null; then port=(--set 'http.listen="127.0.0.1:0"'); fi
"$daemon" --config "$config" run --trials "$trials" "${port[@]}"

echo
"$daemon" --config "$config" trials
"$daemon" --config "$config" plot -o demo/state/progress.png >/dev/null
cat <<EOF

the picture:   demo/state/progress.png
the table:     $results

next:
  $daemon --config $config best          what the champion changes, in all, and how to get it
  $daemon --config $config show best     how its trial went
  $daemon --config $config serve         the study's page, at http://127.0.0.1:9797/
  $daemon --config $config report        all of it as one page
  $daemon --config $config run           continue until Ctrl-C, with the page at http://127.0.0.1:9797/; make demo adds $trials trials
  $daemon init DIR --profile hopper --corpus hub   the same on one H100 or H200
EOF
