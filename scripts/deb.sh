#!/usr/bin/env bash
# Makes .build/deb/autoresearchd_VERSION_ARCH.deb: the files of installed.sh's list,
# the configuration as a conffile, and what dpkg runs (scripts/deb). Two makes of
# one commit with one Go and one CPython are the same to the byte.
#
# A package's libpython is its distribution's: it is built against
# AUTORESEARCH_PYTHON, /usr/bin/python3 by default, and refused where that
# interpreter's libpython belongs to no package. DEB_VERSION names another version.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/installed.sh
. "$root/scripts/installed.sh"
cd "$root"

command -v dpkg >/dev/null 2>&1 || die "dpkg is missing: a package is made on Debian or Ubuntu, whose libpython it depends on"
need dpkg-shlibdeps dpkg-dev

# --- the interpreter, and the package that its library belongs to

export AUTORESEARCH_PYTHON=${AUTORESEARCH_PYTHON:-/usr/bin/python3}
if [ "$AUTORESEARCH_PYTHON" = /usr/bin/python3 ] && debian_root && ! /usr/bin/python3 -c "$probe" >/dev/null 2>&1; then apt_install python3-dev; fi
line=$(choose_python)
IFS='|' read -r _ _ libdir library executable <<<"$line"
shared=$(readlink -f "$libdir/lib$library.so")
dpkg -S "$shared" >/dev/null 2>&1 ||
  die "$shared, of $executable, belongs to no package, so that none could depend on it: AUTORESEARCH_PYTHON=/usr/bin/python3 make deb (its headers: apt install python3-dev)"

# --- the binary, its page and completions

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
export AUTORESEARCH_BUILD=$root/.build/deb
out=$AUTORESEARCH_BUILD
export BIN=$out/bin/autoresearchd
# Position-independent, as Debian's programs are. Not bound at start (-z now): the
# functions of NVML are there only where a driver is.
GOFLAGS="$(go env GOFLAGS) -buildmode=pie" scripts/build.sh

# v1.2.0 is 1.2.0, what is three commits beyond it 1.2.0+3.g0123abc; what lies
# before any tag sorts by its commit's time, and below 0.1.
described=$(version_here)
case $described in
v[0-9]*)
  version=${described#v}
  version=${version/-dirty/+dirty}
  if [[ $version =~ ^(.*)-([0-9]+)-(g[0-9a-f]+.*)$ ]]; then version=${BASH_REMATCH[1]}+${BASH_REMATCH[2]}.${BASH_REMATCH[3]}; fi
  version=${version//-/\~} # v1.2.0-rc1 comes before v1.2.0
  ;;
*) version=0~$(TZ=UTC git log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd).${described/-dirty/+dirty} ;;
esac
version=${DEB_VERSION:-$version}
maintainer="${DEBFULLNAME:-$(git log -1 --format=%cn)} <${DEBEMAIL:-$(git log -1 --format=%ce)}>"

# --- what the list does not have: what Debian wants below /usr/share/doc

stage=$out/stage
doc=$stage/usr/share/doc/autoresearchd
rm -rf "$stage"
mkdir -p "$doc" "$stage$etc"
installed /usr /usr/lib/systemd/system /usr/share/zsh/vendor-completions | put "$stage" /usr
configured "" >"$stage$config"
cp README.md SECURITY.md scripts/deb/README.Debian "$doc/"
install -D -m 0644 scripts/deb/lintian-overrides "$stage/usr/share/lintian/overrides/autoresearchd"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
gzip -9n >"$doc/changelog.Debian.gz" <<EOF
autoresearchd ($version-1) stable; urgency=medium

  * Made from $described; changelog.gz says what changed.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
cat >"$doc/copyright" <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: autoresearchd
Comment: The Go packages that are linked into the binary, and their licences, are
 in /usr/share/doc/autoresearchd/linked.gz.

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE)
License: Expat
$(sed '1,/^Copyright/d' LICENSE | sed '1{/^$/d}; s/^$/./; s/^/ /')
EOF
linked() {
  local path at dir
  # shellcheck source=/dev/null
  . "$out/env"
  printf 'Go %s\n\n' "$(go env GOVERSION)"
  cat "$(go env GOROOT)/LICENSE"
  # shellcheck disable=SC2016
  go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}|{{.Version}}|{{.Dir}}{{end}}{{end}}' ./daemon/autoresearchd | sort -u |
    while IFS='|' read -r path at dir; do
      if [ -z "$path" ]; then continue; fi
      printf '\n\n%s %s\n' "$path" "$at"
      find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'patents' \) | LC_ALL=C sort | xargs -d '\n' -r cat
    done
}
linked | gzip -9n >"$doc/linked.gz"
find "$stage" -type d -exec chmod 0755 {} +
chmod 0644 "$doc"/* "$stage$config"

# --- what it depends on

mkdir -p "$out/shlibs/debian"
printf 'Source: autoresearchd\n\nPackage: autoresearchd\nArchitecture: any\n' >"$out/shlibs/debian/control"
depends=$(cd "$out/shlibs" && dpkg-shlibdeps --warnings=0 -O -e"$BIN" 2>shlibs.log | sed -n 's/^shlibs:Depends=//p')
[[ $depends == *lib${library%.so}* ]] || die "dpkg-shlibdeps finds no libpython among \"$depends\": see $out/shlibs/shlibs.log"

# --- the package

list() { # one YAML list of what is given with commas
  tr ',' '\n' <<<"$1" | sed 's/^ */  - "/; s/$/"/'
}
python=${executable##*/}
{
  cat <<EOF
name: autoresearchd
arch: $(dpkg --print-architecture)
platform: linux
version: "$version"
version_schema: none
release: "1"
section: science
priority: optional
maintainer: "$maintainer"
mtime: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
description: |-
  autonomous training research in one service
  autoresearchd edits a training script, runs it for a fixed budget, keeps what
  lowers the validation loss, and goes on all night. Trials run in an embedded
  CPython that the daemon can kill; journal, commits and results.tsv hold what
  was tried and why it was kept or not.
  .
  PyTorch is not part of the package: "autoresearchd init" makes a virtual
  environment for it beside the study.
depends:
$(list "$depends, git, $python, systemd | systemd-standalone-sysusers | systemd-sysusers")
recommends:
$(list "$python-venv")
deb:
  compression: xz
scripts:
  postinstall: scripts/deb/postinst.sh
  preremove: scripts/deb/prerm.sh
  postremove: scripts/deb/postrm.sh
contents:
EOF
  (cd "$stage" && find . -type f | LC_ALL=C sort) | sed 's/^\.//' | while read -r file; do
    printf -- '- src: "%s"\n  dst: "%s"\n  file_info: {mode: 0%s}\n' "$stage$file" "$file" "$(stat -c %a "$stage$file")"
    if [[ $file == /etc/* ]]; then printf '  type: config\n'; fi
  done
} >"$out/nfpm.yaml"
rm -f "$out"/autoresearchd_*.deb
deb=$out/autoresearchd_$version-1_$(dpkg --print-architecture).deb
# shellcheck source=/dev/null
(. "$out/env" && CGO_ENABLED=0 go tool -modfile=scripts/deb/go.mod nfpm package --config "$out/nfpm.yaml" --packager deb --target "$deb" >/dev/null)
rm -rf "$stage" "$out/shlibs"
echo "$deb" >"$out/latest"
say "made $deb"
