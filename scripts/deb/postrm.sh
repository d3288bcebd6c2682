#!/bin/sh
# A purge takes the configuration, compiled code and empty folders away. A study is
# a person's work, and goes on only with the tokenizer and data that it was scored
# with: both stay, and so does the user who owns them.
set -e

unit=autoresearchd.service
state=/var/lib/autoresearch
cache=/var/cache/autoresearch

if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi

case $1 in
remove)
  if [ -x "$(command -v deb-systemd-helper)" ]; then
    deb-systemd-helper mask $unit >/dev/null || true
  fi
  ;;
purge)
  if [ -x "$(command -v deb-systemd-helper)" ]; then
    deb-systemd-helper purge $unit >/dev/null || true
    deb-systemd-helper unmask $unit >/dev/null || true
  fi
  rm -rf "$DPKG_ROOT$cache/compiled"
  kept=
  for folder in $state $cache; do
    if [ -d "$DPKG_ROOT$folder" ] && ! rmdir "$DPKG_ROOT$folder" 2>/dev/null; then
      kept="$kept $folder"
    fi
  done
  if [ -n "$kept" ]; then
    echo "autoresearchd: kept$kept and the user autoresearch; to be rid of them: rm -r$kept; userdel autoresearch"
  fi
  ;;
esac
