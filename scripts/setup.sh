#!/usr/bin/env bash
# Chooses the interpreter that is embedded and writes what a build against it
# needs to .build/: python3.pc, a stand-in for pkg-config, and env, which the
# other scripts read. Quiet when nothing changed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v go >/dev/null 2>&1 || die "go is missing: install Go 1.26 or later"
need git git
if ! command -v "${CC:-cc}" >/dev/null 2>&1; then need cc gcc; fi

line=$(choose_python)
IFS='|' read -r version include libdir library executable <<<"$line"
stamp="$line|$root"
if [ -f "$build/stamp" ] && [ "$(cat "$build/stamp")" = "$stamp" ]; then exit 0; fi

# Where the loader looks by itself, a library may be moved by its distribution.
rpath=" -Wl,-rpath,$libdir"
case $libdir in /usr/lib | /usr/lib64 | /usr/lib/*-linux-gnu*) rpath= ;; esac

mkdir -p "$build/pkgconfig"
cat >"$build/pkgconfig/python3.pc" <<EOF
Name: Python
Description: CPython $version for embedding, behind the overlay that cpy3 needs
Version: ${version%.*}
Cflags: -I$root/pyembed/compat -I$include
Libs: -L$libdir$rpath -l$library
EOF
# cgo asks pkg-config for python3 and nothing else; this answers it from the
# file above, so that pkg-config itself need not be installed.
cat >"$build/pkg-config" <<EOF
#!/bin/sh
for a in "\$@"; do
  case \$a in
    --cflags) sed -n 's/^Cflags: //p' "$build/pkgconfig/python3.pc" ;;
    --libs) sed -n 's/^Libs: //p' "$build/pkgconfig/python3.pc" ;;
  esac
done
EOF
chmod +x "$build/pkg-config"
# Go's build cache does not see what pkg-config answers, so the choice is put
# where its key sees it: a changed interpreter rebuilds what includes Python.h.
sum=$(cksum <"$build/pkgconfig/python3.pc" | tr -d ' ')
cat >"$build/env" <<EOF
export PKG_CONFIG="$build/pkg-config"
export PKG_CONFIG_PATH="$build/pkgconfig"
export CGO_ENABLED=1
export CGO_CFLAGS="-O2 -g -Wno-deprecated-declarations -DAUTORESEARCHD_PYTHON=$sum"
export AUTORESEARCH_PYTHON="$executable"
EOF
printf '%s' "$stamp" >"$build/stamp"
say "embedding CPython $version ($executable)"
