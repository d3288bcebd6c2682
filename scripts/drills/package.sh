#!/usr/bin/env bash
# Plays the Debian package in a booted systemd: install, upgrade in mid-trial,
# removal, install again, purge. What was recorded must outlive each.
#
#   sudo scripts/drills/package.sh     (Debian 12 or later, Ubuntu; 2 minutes, the first time 10)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$root"
# shellcheck source=scripts/drills/lib.sh
. scripts/drills/lib.sh

(unset AUTORESEARCH_PYTHON && scripts/deb.sh)
deb=$(cat "$build/deb/latest")
mkdir -p "$work/root/root/autoresearchd"
tar -c daemon/trainer/testdata/work scripts/drills/workspace | tar -x -C "$work/root/root/autoresearchd"
cp "$deb" "$work/root/root/now.deb"
dpkg-deb --raw-extract "$deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$work/next" "$work/root/root/next.deb" >/dev/null
boot

installed="dpkg -i --force-confold"
whole() { # the record, as the first trials left it
  ends 0 "the study is the same" "autoresearchd status"
  says drill
  ends 0 "the first trial is recorded" "autoresearchd trials --runs | grep -q interrupted"
  ends 0 "journal, git, results.tsv and bundles agree" "autoresearchd verify"
}

step "install"
ends 0 "dpkg -i" "$installed /root/now.deb"
says "README.Debian"
ends 0 "the binary finds its libpython" "autoresearchd version"
ends 0 "folders of the user's own" "test \"\$(stat -c '%a %U:%G' $state /var/cache/autoresearch | sort -u)\" = '750 autoresearch:autoresearch'"
becomes "the unit" "$show" "ActiveState=inactive"
ends not0 "it is not enabled" "systemctl is-enabled autoresearchd"
ends 0 "the unit is sound" "systemd-analyze verify --man=no /usr/lib/systemd/system/autoresearchd.service"
silent "autoresearchd.service:"
study
ends 0 "the configuration is sound" "autoresearchd check"
mark gate
ends 0 "systemctl enable --now" "systemctl enable --now autoresearchd"
training

step "upgrade in mid-trial"
main=$(sh "systemctl show autoresearchd -p MainPID")
ends 0 "dpkg -i" "$installed /root/next.deb"
ends 0 "another version" "dpkg-query --show --showformat '\${Version}\n' autoresearchd | grep -q '+next\$'"
training
ends not0 "the daemon is a new one" "systemctl show autoresearchd -p MainPID | grep -qx '$main'"
ends 0 "the edited configuration stayed" "cmp $config /root/sound.toml"
whole

step "upgrade of a service that is stopped"
ends 0 "systemctl stop" "systemctl stop autoresearchd"
ends 0 "dpkg -i" "$installed /root/next.deb"
becomes "the unit" "$show" "ActiveState=inactive"
ends 0 "it is enabled still" "systemctl is-enabled autoresearchd"

step "removal of a service that runs"
ends 0 "systemctl start" "systemctl start autoresearchd"
training
ends 0 "dpkg -r" "dpkg -r autoresearchd"
becomes "nothing runs" "pgrep -l autoresearchd || echo none" none
ends not0 "the binary is gone" "test -e /usr/bin/autoresearchd"
ends 0 "the configuration is kept" "cmp $config /root/sound.toml"
ends 0 "the journal is kept" "test -s $state/journal.db"

step "install again"
ends 0 "dpkg -i" "$installed /root/now.deb"
ends 0 "it is enabled again" "systemctl is-enabled autoresearchd"
ends 0 "systemctl start" "systemctl start autoresearchd"
training
whole

step "purge"
sh "install -d -o autoresearch -g autoresearch /var/cache/autoresearch/tokenizer /var/cache/autoresearch/compiled
touch /var/cache/autoresearch/tokenizer/tokenizer.pkl"
ends 0 "dpkg -P" "dpkg -P autoresearchd"
says "kept $state /var/cache/autoresearch and the user autoresearch"
becomes "nothing runs" "pgrep -l autoresearchd || echo none" none
ends not0 "the configuration is gone" "test -e /etc/autoresearch"
ends not0 "no link of systemd's is left" "find /etc/systemd -name 'autoresearchd*' ! -name '*.d' | grep ."
ends 0 "the journal and the tokenizer are kept" "test -s $state/journal.db && test -e /var/cache/autoresearch/tokenizer/tokenizer.pkl"
ends not0 "compiled code is not" "test -e /var/cache/autoresearch/compiled"
ends 0 "they are the user's" "test \"\$(stat -c %U $state)\" = autoresearch"

step "install after a purge"
ends 0 "dpkg -i" "$installed /root/now.deb"
ends not0 "it is not enabled" "systemctl is-enabled autoresearchd"
ends 0 "the configuration is the package's" "grep -q '^cache *= \"/var/cache/autoresearch\"' $config"
sh "cp /root/sound.toml $config"
ends 0 "systemctl start" "systemctl start autoresearchd"
training
whole

verdict
