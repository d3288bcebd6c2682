#!/usr/bin/env bash
# Runs every test there is, setting up first what they need:
#   scripts/test.sh          everything
#   scripts/test.sh lint     formatting, vet, staticcheck, ruff, shellcheck, the house's import rules
#   scripts/test.sh go       Go's tests, against the chosen interpreter
#   scripts/test.sh embed    pyembed against every other interpreter on this machine
#   scripts/test.sh python   the tests in Python: of the starter workspace, and of what gpu.sh compares with
#   scripts/test.sh real     real trials: the starter under torch, on text, on the CPU
#   scripts/test.sh lies [short]   every lie and honest edit of scripts/redteam, audits, and 100 changed constants (make soak); short: some
#   scripts/test.sh prometheus   a real Prometheus and Alertmanager, with our rules and dashboard
#   scripts/test.sh package  the Debian package: its files, lintian, its life below a folder; a release of a throw-away tag
#   scripts/test.sh slurm    seats on a real Slurm of four nodes on this host; root only
#   scripts/test.sh forms    the example files for Kubernetes, SkyPilot and sbatch, by their schemas and shellcheck
#   scripts/test.sh page     the page in Chromium; its pictures are under .build/page
#   scripts/test.sh soak     the slow forms (make soak)
#   scripts/test.sh race [all]   under the race detector: what runs side by side, in two minutes; all: every package (make race)
#   scripts/test.sh fuzz [SECONDS] [NAME]   every fuzz target so long (60), or those whose name has NAME (make fuzz)
#   scripts/test.sh timing   what starts processes, asks servers or holds deadlines: once, and nothing from a cache
#   scripts/test.sh repeat [N] [idle|busy]   that N times (1), a line each; busy: beside a neighbour on every core
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

step() { printf '== %s\n' "$*"; }

lint() {
  step "formatting and linters"
  need shellcheck shellcheck
  "$root/scripts/tools.sh"
  # shellcheck source=/dev/null
  . "$build/env"
  local out
  out=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
  [ -z "$out" ] || die "gofmt would change: $out"
  go vet ./...
  go tool staticcheck ./...
  "$build/tools/bin/ruff" check --quiet .
  "$build/tools/bin/ruff" format --quiet --check . || die "ruff format would change something: run .build/tools/bin/ruff format"
  git ls-files -co --exclude-standard '*.sh' .ci/run | xargs shellcheck
  # The house's rules: only pyembed imports "C"; processes are started by the
  # trainer, the lineage, external (for strategies), and what sets up or
  # examines a machine.
  out=$(git ls-files -co --exclude-standard '*.go' | grep -v '^pyembed/' | xargs grep -ln '^import "C"' || true)
  [ -z "$out" ] || die "only pyembed may import \"C\": $out"
  out=$(git ls-files -co --exclude-standard '*.go' | grep -v '_test.go$' |
    grep -vE '^daemon/(external|lineage|mounttest|sandbox|slurm|trainer|workspace)/|^daemon/autoresearchd/(doctor|init|objective).go$' | xargs grep -ln '"os/exec"' || true)
  [ -z "$out" ] || die "these start processes and may not: $out"
  out=$(go list -f '{{.ImportPath}} {{join .Imports " "}}' ./search/... | grep -E ' autoresearchd/(daemon|metrics|pyembed|configs)' || true)
  [ -z "$out" ] || die "search imports what it must not know: $out"
}

gotests() {
  step "Go tests"
  "$root/scripts/venv.sh"
  "$root/scripts/test_tools.sh"
  # shellcheck source=/dev/null
  . "$build/env"
  AUTORESEARCH_TEST_VENV=$build/venv go test -timeout 20m -parallel 6 ./...
}

embed() {
  local py line chosen
  # shellcheck source=/dev/null
  . "$build/env"
  chosen=$AUTORESEARCH_PYTHON
  declare -A seen
  while read -r py; do
    line=$("$py" -c "$probe" 2>/dev/null) || continue
    if [ "${line##*|}" = "$chosen" ] || [ -n "${seen[${line%%|*}]:-}" ]; then continue; fi
    seen[${line%%|*}]=1
    step "pyembed against CPython ${line%%|*}"
    AUTORESEARCH_PYTHON=$py "$root/scripts/go.sh" test ./pyembed
  done < <(candidates)
  AUTORESEARCH_PYTHON=$chosen "$root/scripts/setup.sh"
}

pythontests() {
  step "the starter workspace"
  "$root/scripts/venv.sh"
  "$build/venv/bin/python" -m unittest discover -s configs/workspace_test -p 'test_*.py'
  "$build/venv/bin/python" -m unittest discover -s scripts/gpu -p 'test_*.py'
  "$build/venv/bin/python" -m unittest discover -s scripts/redteam -p 'test_*.py'
}

real() {
  step "real trials"
  "$root/scripts/study.sh"
  local study=$build/study
  # The same program, the same seed, the same work: the same losses, to the last
  # printed digit, inside the daemon's seat and under python.
  "$study/workspace/.venv/bin/python" scripts/embed_vs_python.py --binary bin/autoresearchd \
    --python "$study/workspace/.venv/bin/python" --workspace "$study/workspace" --cache "$study/cache" \
    --steps 25 --eval-tokens 8192 --pairs 1 --same-losses
  rm -rf "$study/state"
  git -C "$study/workspace" for-each-ref --format='delete %(refname)' refs/heads/autoresearch refs/autoresearch |
    git -C "$study/workspace" update-ref --stdin
  # No deadline is near: a loaded machine may take its time. The rule decides every
  # candidate by its first run, so that each has a row.
  bin/autoresearchd --config "$study/autoresearch.toml" run --trials 3 \
    --set 'trial.budget="20 steps"' --set 'http.listen=""' --set search.strategy='"evolution"' \
    --set 'judge.rule="greedy"' \
    --set 'watchdog.startup="20m"' --set 'watchdog.compile="20m"' --set 'watchdog.stall="20m"' \
    --set 'watchdog.evaluate="20m"' --set 'watchdog.exit="20m"' --set 'watchdog.total="1h"'
  python3 - "$study/state/results.tsv" <<'EOF'
import csv, math, sys
rows = list(csv.DictReader(open(sys.argv[1]), delimiter="\t", quoting=csv.QUOTE_NONE))
assert list(rows[0]) == ["commit", "val_bpb", "memory_gb", "status", "description"], rows[0]
assert len(rows) == 3 and rows[0]["status"] == "keep" and rows[0]["description"] == "baseline", rows
scores = [float(row["val_bpb"]) for row in rows]
assert all(row["status"] in ("keep", "discard", "crash") for row in rows), rows
# 20 steps of a byte-pair model on Python text; guessing among 1,024 tokens costs about 4.
assert 1 < scores[0] < 4 and all(math.isfinite(score) for score in scores), scores
EOF
}

# What trials of real studies claim that is not so, and what they do that is.
redteam() {
  "$build/study/workspace/.venv/bin/python" -B scripts/redteam/redteam.py --binary bin/autoresearchd --study "$build/study" \
    --machine "$(machine)" "$@"
}

lies() {
  if [ "${1:-}" = short ]; then
    step "some lies and honest edits"
    "$root/scripts/study.sh"
    redteam short
    return
  fi
  step "every lie, every honest edit, audits, and changed constants"
  "$root/scripts/study.sh"
  redteam lies
  redteam honest
  redteam audit
  redteam constants --trials 100
}

prometheus() {
  step "Prometheus, Alertmanager, the rules and the dashboard"
  "$root/scripts/prometheus.sh"
  # shellcheck source=/dev/null
  . "$build/env"
  local out
  out=$(AUTORESEARCH_TEST_PROMETHEUS=$build/prometheus go test -count=1 -v -run '^TestPrometheus$' ./daemon/autoresearchd) ||
    { printf '%s\n' "$out"; die "the test with Prometheus failed"; }
  grep -q -- '^--- PASS: TestPrometheus ' <<<"$out" || die "the test with Prometheus did not run"
}

slurm() {
  step "seats on a real Slurm"
  if [ "$(id -u)" != 0 ]; then
    say "left out: slurmd runs as root only; as root, scripts/test.sh slurm runs it"
    return
  fi
  need munged munge
  need slurmctld slurm-wlm
  # shellcheck source=/dev/null
  . "$build/env"
  local out
  out=$(AUTORESEARCH_TEST_SLURM=1 go test -count=1 -v -run '^TestSlurm' ./daemon/autoresearchd) ||
    { printf '%s\n' "$out"; die "the test with Slurm failed"; }
  [ "$(grep -c -- '^--- PASS: TestSlurm' <<<"$out")" = 4 ] || die "the test with Slurm did not run"
}

forms() {
  step "the example files for Kubernetes, SkyPilot and sbatch"
  "$root/scripts/forms.sh"
}

page() {
  step "the page in Chromium"
  "$root/scripts/browser.sh"
  # shellcheck source=/dev/null
  . "$build/env"
  local out
  out=$(AUTORESEARCH_TEST_CHROMIUM=$(command -v chromium) AUTORESEARCH_TEST_PAGE=$build/page \
    go test -count=1 -v ./daemon/httpd/page && AUTORESEARCH_TEST_CHROMIUM=$(command -v chromium) \
    go test -count=1 -v -run '^TestOneNumber$' ./daemon/autoresearchd) || { printf '%s\n' "$out"; die "the page's tests failed"; }
  grep -q -- '^--- PASS: TestAccessible ' <<<"$out" || die "the tests in Chromium did not run"
}

package() {
  step "the Debian package"
  need lintian lintian
  need man man-db
  # shellcheck source=/dev/null
  . "$build/env"
  local out test
  (unset AUTORESEARCH_PYTHON && scripts/deb.sh)
  out=$(AUTORESEARCH_TEST_DEB=$(cat "$build/deb/latest") AUTORESEARCH_TEST_RELEASE=$build/release/try \
    go test -count=1 -v -timeout 30m -run '^(TestPackage|TestRelease)$' ./scripts) || { printf '%s\n' "$out"; die "the package's tests failed"; }
  for test in TestPackage TestRelease; do
    grep -q -- "^--- PASS: $test " <<<"$out" || die "$test did not run"
  done
}

# The packages whose tests start processes, talk over sockets, hold deadlines or
# wait. The others compute, or read and write files: search (which may not look
# at a clock), configs, the plots, reports, exports and the terminal's lines; and
# no deadline is near in the real trials.
timed=(./daemon/autoresearchd ./daemon/external ./daemon/httpd/... ./daemon/journal/... ./daemon/modelserver
  ./daemon/notify ./daemon/supervisor ./daemon/trainer ./daemon/watchdog ./daemon/webhook
  ./metrics/... ./pyembed ./scripts ./search/agent ./search/exec ./search/llm/...)

# Of them, the files whose tests depend on no moment: they ask a program and read
# its whole answer, kill at a named point, or have a clock of their own.
answers=(daemon/autoresearchd/{export,import,pandas,preflight,refuse,simulate,unit}_test.go
  daemon/supervisor/{crash,replay,transcript}_test.go daemon/trainer/{constants,contract}_test.go)

timing() {
  local answered
  answered=$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "${answers[@]}" | paste -sd '|')
  "$root/scripts/venv.sh"
  # shellcheck source=/dev/null
  . "$build/env"
  AUTORESEARCH_TEST_VENV=$build/venv go test -count=1 -timeout 40m -parallel 6 -skip "^($answered)\$" "${timed[@]}"
  prometheus
  page
}

# The packages where goroutines meet, whose tests are short; the whole of it adds
# those that start processes and compute for minutes.
meeting=(./daemon/compiled ./daemon/httpd/... ./daemon/journal ./daemon/modelserver ./daemon/notify ./daemon/watchdog ./daemon/webhook ./metrics/...
  ./search/agent ./search/exec ./search/llm/...)

race() {
  local packages=("${meeting[@]}")
  [ "${1:-}" != all ] || packages=(./...)
  step "the race detector, over ${packages[*]}"
  # shellcheck source=/dev/null
  . "$build/env"
  # SQLite's own code, translated from C, has no goroutine and would take minutes to compile.
  go test -race -gcflags=modernc.org/sqlite/lib=-race=false -timeout 60m "${packages[@]}"
}

# fuzz runs each target from its seeds, the corpus in its testdata/fuzz and what
# Go's cache has of earlier runs. What brings one down is written to testdata/fuzz,
# to be mended and committed.
fuzz() {
  local seconds=${1:-60} name=${2:-} file target found=0
  # shellcheck source=/dev/null
  . "$build/env"
  while IFS=': ' read -r file _ target; do
    found=$((found + 1))
    step "$target in $(dirname "$file"), $seconds s"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" "./$(dirname "$file")"
  done < <(git ls-files -co --exclude-standard '*_test.go' | xargs grep -o '^func Fuzz[A-Za-z0-9_]*' | grep -- "$name")
  [ "$found" -gt 0 ] || die "no fuzz target has \"$name\" in its name"
}

# Kills at random moments, starts side by side, many trials: so many of each.
soak() {
  "$root/scripts/venv.sh"
  # shellcheck source=/dev/null
  . "$build/env"
  step "the slow forms"
  AUTORESEARCH_SOAK=${AUTORESEARCH_SOAK:-1000} AUTORESEARCH_TEST_VENV=$build/venv go test -count=1 -p 1 -timeout 6h -v \
    -run '^(TestSoak|TestKillAnywhere|TestManyTrialsLeaveNothing|TestStarts)$' ./daemon/autoresearchd ./daemon/supervisor ./daemon/trainer
  lies
}

neighbours=()
no_neighbours() { if [ "${#neighbours[@]}" -gt 0 ]; then kill "${neighbours[@]}" 2>/dev/null || true; fi; }

repeat() {
  local runs=${1:-1} mode=${2:-idle} logs=$build/repeat red=0 run log begin
  [[ $runs =~ ^[1-9][0-9]*$ ]] || die "repeat $runs: how often? scripts/test.sh repeat 10 busy"
  case $mode in
  idle) ;;
  busy)
    trap no_neighbours EXIT
    for ((run = 0; run < $(nproc); run++)); do
      bash -c 'while :; do :; done' &
      neighbours+=($!)
    done
    ;;
  *) die "repeat in mode $mode: idle or busy" ;;
  esac
  mkdir -p "$logs"
  for ((run = 1; run <= runs; run++)); do
    log=$logs/$mode-$(date +%H%M%S).log
    begin=$SECONDS
    if "$root/scripts/test.sh" timing >"$log" 2>&1; then
      printf '%s %d of %d: green, %d s\n' "$mode" "$run" "$runs" $((SECONDS - begin))
      rm -f "$log"
    else
      red=$((red + 1))
      printf '%s %d of %d: red, %d s: %s\n' "$mode" "$run" "$runs" $((SECONDS - begin)) "$log"
    fi
  done
  [ "$red" = 0 ] || die "$red of $runs runs are red"
}

"$root/scripts/setup.sh"
case ${1:-all} in
all)
  lint
  gotests
  race
  embed
  pythontests
  real
  lies short
  prometheus
  slurm
  forms
  page
  package
  step "all tests passed"
  ;;
lint) lint ;;
go) gotests ;;
embed) embed ;;
python) pythontests ;;
real) real ;;
lies) lies "${@:2}" ;;
prometheus) prometheus ;;
slurm) slurm ;;
forms) forms ;;
page) page ;;
package) package ;;
timing) timing ;;
repeat) repeat "${@:2}" ;;
soak) soak ;;
race) race "${@:2}" ;;
fuzz) fuzz "${@:2}" ;;
*) die "unknown part $1: see the head of scripts/test.sh" ;;
esac
