# shellcheck shell=bash disable=SC2034
# Shared by the other scripts: messages, the choice of interpreter, tools.
# Sourced, never run. Sets: root, build (AUTORESEARCH_BUILD is another folder for
# it, so that two interpreters have one each).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${AUTORESEARCH_BUILD:-$root/.build}

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# machine says in words on what something ran.
machine() {
  local cpu
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  printf '%s cores%s, Linux %s' "$(nproc)" "${cpu:+ of $cpu}" "$(uname -r | cut -d- -f1)"
}

# tried WAY RESULT NOTE MACHINE FILE: notes how a drill went, for scripts/faults.sh take.
tried() {
  local text=${3//\\/\\\\}
  printf '{"way":"%s","result":"%s","note":"%s","machine":"%s","date":"%s","commit":"%s"}\n' "$1" "$2" "${text//\"/\\\"}" "$4" \
    "$(date -u +%F)" "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)" >>"$5"
}

# debian_root: true where missing packages can be installed without asking.
debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

# apt_install PACKAGE…: refreshes the lists only when a package is not known yet.
apt_install() {
  say "installing $* (Debian packages)"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get update -qq >/dev/null 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

# need COMMAND PACKAGE: installs the package as root on Debian or Ubuntu, else
# says what is missing.
need() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if debian_root && apt_install "$2"; then return 0; fi
  die "$1 is missing: install the package $2"
}

# Prints one line "version|include|libdir|library|base executable" for an
# interpreter that can be embedded, and fails for any other.
probe='
import os, sys, sysconfig
v = sys.version_info
if not (3, 10) <= v[:2] <= (3, 13):
    sys.exit("is Python %d.%d; 3.10 to 3.13 can be embedded" % v[:2])
inc = sysconfig.get_path("include")
if not os.path.exists(os.path.join(inc, "Python.h")):
    sys.exit("has no headers (%s/Python.h)" % inc)
lib = sysconfig.get_config_var("INSTSONAME") or sysconfig.get_config_var("LDLIBRARY") or ""
dirs = [sysconfig.get_config_var("LIBDIR") or ""]
dirs += [os.path.join(dirs[0], sysconfig.get_config_var("MULTIARCH") or "")]
name = "libpython%d.%d.so" % v[:2]
for d in dirs:
    if os.path.exists(os.path.join(d, name)):
        break
else:
    sys.exit("has no shared libpython (%s in %s)" % (name, dirs[0]))
base = getattr(sys, "_base_executable", sys.executable)
print("|".join(["%d.%d.%d" % v[:3], inc, os.path.realpath(d), name[3:-3], os.path.realpath(base)]))
'

# candidates prints interpreters worth asking, best first.
candidates() {
  local v
  for v in 3.12 3.13 3.11 3.10; do
    command -v "python$v" 2>/dev/null
    find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -maxdepth 3 -path "*/$v.*/bin/python" 2>/dev/null | sort -rV
    [ -x "/usr/bin/python$v" ] && echo "/usr/bin/python$v"
  done
  command -v python3 2>/dev/null
}

# choose_python prints the probe line of the interpreter to embed.
choose_python() {
  local answer why py
  if [ -n "${AUTORESEARCH_PYTHON:-}" ]; then
    py=$(command -v "$AUTORESEARCH_PYTHON" 2>/dev/null) ||
      die "AUTORESEARCH_PYTHON=$AUTORESEARCH_PYTHON is not an executable: name an interpreter of Python 3.10 to 3.13"
    if answer=$("$py" -c "$probe" 2>&1); then printf '%s\n' "$answer"; return; fi
    die "AUTORESEARCH_PYTHON=$AUTORESEARCH_PYTHON ${answer##*$'\n'}: name another interpreter or install its development package"
  fi
  while read -r py; do
    if answer=$("$py" -c "$probe" 2>/dev/null); then printf '%s\n' "$answer"; return; fi
    why="${why:-}"$'\n'"  $py $("$py" -c "$probe" 2>&1 | tail -n 1)"
  done < <(candidates)
  if debian_root && apt_install python3-dev python3-venv >&2 && answer=$(/usr/bin/python3 -c "$probe" 2>/dev/null); then
    printf '%s\n' "$answer"
    return
  fi
  die "no Python 3.10 to 3.13 with headers and a shared libpython was found:${why:- none on PATH}
install one (Debian and Ubuntu: apt install python3-dev; Fedora: dnf install python3-devel; pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.12), or set AUTORESEARCH_PYTHON"
}

# packages_venv NAME PACKAGE…: makes .build/NAME, an environment with these
# packages, unless it is there already. Needs .build/env and scripts/tools.sh.
packages_venv() {
  local name=$1 want
  shift
  want="$* $AUTORESEARCH_PYTHON"
  if [ "$(cat "$build/$name/stamp" 2>/dev/null)" = "$want" ]; then return; fi
  say "installing $* into .build/$name"
  rm -rf "${build:?}/$name"
  "$build/tools/bin/uv" venv --quiet --no-project --python "$AUTORESEARCH_PYTHON" "$build/$name"
  VIRTUAL_ENV=$build/$name "$build/tools/bin/uv" pip install --quiet "$@" >&2
  echo "$want" >"$build/$name/stamp"
}

# version_here: the tag of what is built (v1.2.0), or how far beyond which tag it
# is (v1.2.0-3-g0123abc), or, while nothing was tagged, its commit. A release's
# source says its tag in VERSION.
version_here() {
  if [ -e "$root/.git" ]; then
    git -C "$root" describe --tags --match 'v[0-9]*' --always --dirty 2>/dev/null && return
  fi
  cat "$root/VERSION" 2>/dev/null || echo unknown
}
