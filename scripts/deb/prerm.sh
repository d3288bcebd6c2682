#!/bin/sh
# A removal stops the service, which records the running trial as interrupted.
set -e

if [ "$1" = remove ] && [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop autoresearchd.service >/dev/null || true
fi
