#!/bin/sh
# Makes the user and its folders. Nothing is enabled or started at the first
# install, since there is no study yet; an upgrade restarts what runs.
set -e

unit=autoresearchd.service
state=/var/lib/autoresearch
cache=/var/cache/autoresearch

case $1 in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

if [ "$1" = configure ]; then
  systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} autoresearch.conf
  # By their numbers, which are those of the root that dpkg works in.
  ids=$(sed -n 's/^autoresearch:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p' "$DPKG_ROOT/etc/passwd")
  for folder in $state $cache; do
    # An operator's own mode, or a link to another disk, stays.
    if [ ! -e "$DPKG_ROOT$folder" ]; then
      mkdir -m 0750 "$DPKG_ROOT$folder"
      chown "$ids" "$DPKG_ROOT$folder"
    fi
  done
  if [ -e "$DPKG_ROOT/etc/systemd/system/$unit" ]; then
    echo "autoresearchd: /etc/systemd/system/$unit, of an earlier make install, stands before this package's unit: run make uninstall there, then systemctl daemon-reload" >&2
  fi
fi

# Not at the first install, of which systemd's helper says that it was enabled.
if deb-systemd-helper debian-installed $unit; then
  deb-systemd-helper unmask $unit >/dev/null || true
  if deb-systemd-helper --quiet was-enabled $unit; then
    deb-systemd-helper enable $unit >/dev/null || true
  fi
fi
deb-systemd-helper update-state $unit >/dev/null || true

if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
  if [ -n "$2" ]; then
    deb-systemd-invoke try-restart $unit >/dev/null || true
  fi
fi

if [ "$1" = configure ] && [ -z "$2" ] && [ ! -e "$DPKG_ROOT$state/journal.db" ]; then
  echo "autoresearchd: next, prepare a study: /usr/share/doc/autoresearchd/README.Debian has the commands"
fi
