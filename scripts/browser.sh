#!/usr/bin/env bash
# What the page's tests need: Chromium, installed as a Debian package where it
# is missing, and axe-core as .build/page/axe.min.js, at a fixed version, out of
# a Python package that carries it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh"

need chromium chromium

wanted="axe-playwright-python==0.1.8"
dir=$build/page
if [ "$(cat "$dir/wanted" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
say "fetching axe-core into .build/page"
mkdir -p "$dir"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$build/tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$scratch" "$wanted"
cp "$scratch/axe_playwright_python/axe.min.js" "$dir/"
echo "$wanted" >"$dir/wanted"
