#!/usr/bin/env bash
# Tries the faults that must be survived and writes how it went to docs/faults.md:
#
#   scripts/faults.sh [NUMBER…]    the tests of these faults, or of all
#   scripts/faults.sh take FILE…   what drills on other machines left, such as
#                                  /tmp/autoresearchd-gpu/faults.jsonl of scripts/gpu.sh
#   scripts/faults.sh write        the page again, after a change of the table
#
# AUTORESEARCH_SOAK=1000 runs the long forms.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
"$root/scripts/setup.sh"
# shellcheck source=/dev/null
. "$build/env"

if [ "${1:-}" = take ] || [ "${1:-}" = write ]; then exec go run ./scripts/faults "$@"; fi

"$root/scripts/venv.sh"
FAULTS_MACHINE=$(machine)
FAULTS_DATE=$(date -u +%F)
FAULTS_COMMIT=$(git rev-parse --short HEAD)
export FAULTS_MACHINE FAULTS_DATE FAULTS_COMMIT AUTORESEARCH_TEST_VENV=$build/venv
said=$(mktemp)
trap 'rm -f "$said"' EXIT
failed=0
go run ./scripts/faults packages "$@" >"$said.packages"
while read -r package tests; do
  say "$package $tests"
  # A test that fails is a result too.
  go test -count=1 -timeout 6h -json -run "$tests" "$package" >>"$said" || failed=1
done <"$said.packages"
rm -f "$said.packages"
go run ./scripts/faults tests <"$said"
if [ "$failed" = 1 ]; then
  grep -E '"Action":"output".*(_test\.go:|panic|--- FAIL)' "$said" | sed 's/.*"Output":"//' >&2 || true
  die "some failed: see docs/faults.md"
fi
