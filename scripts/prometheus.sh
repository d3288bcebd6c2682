#!/usr/bin/env bash
# Puts Debian's prometheus, promtool, prometheus-alertmanager and amtool into
# .build/prometheus: unpacked, not installed, so that nothing is started as a
# service. Those on PATH are taken where they all are.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
dir=$build/prometheus
tools=(prometheus promtool prometheus-alertmanager amtool)
packages=(prometheus prometheus-alertmanager)

there() { for tool in "${tools[@]}"; do [ -x "$dir/$tool" ] || return 1; done; }

if ! there; then
  mkdir -p "$dir"
  if command -v "${tools[@]}" >/dev/null && [ "$(command -v "${tools[@]}" | wc -l)" = "${#tools[@]}" ]; then
    for tool in "${tools[@]}"; do ln -sf "$(command -v "$tool")" "$dir/$tool"; done
  elif command -v apt-get >/dev/null; then
    say "unpacking ${packages[*]} (Debian packages) into .build/prometheus"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    apt-get download -qq "${packages[@]}" >/dev/null 2>&1 ||
      { apt-get update -qq >/dev/null 2>&1 && apt-get download -qq "${packages[@]}" >/dev/null; }
    for file in *.deb; do dpkg -x "$file" root; done
    for tool in "${tools[@]}"; do cp "root/usr/bin/$tool" "$dir/$tool"; done
    cp root/usr/share/prometheus/alertmanager/*.tmpl "$dir/"
  else
    die "${tools[*]} are missing: install the packages ${packages[*]}"
  fi
fi
there || die "${packages[*]} did not bring ${tools[*]}: remove $dir and try again"

# Debian's Alertmanager reads its templates from one place only.
templates=/usr/share/prometheus/alertmanager
if [ ! -e "$templates/default.tmpl" ] && [ -e "$dir/default.tmpl" ]; then
  install -D -m 644 -t "$templates" "$dir"/*.tmpl 2>/dev/null ||
    die "$templates is missing and cannot be written: install the package prometheus-alertmanager"
fi
