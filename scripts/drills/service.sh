#!/usr/bin/env bash
# Plays the service in a booted systemd: what `systemctl` and `journalctl` show a
# person, step by step, each with what it expects and ok or FAIL. It ends with 1
# if one failed.
#
#   sudo scripts/drills/service.sh     (Debian 12 or later, Ubuntu; 8 minutes, the first time 12)
#
# It builds the binary against /usr/bin/python3, boots a system of its own (lib.sh)
# and installs there by `make install`.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$root"
# shellcheck source=scripts/drills/lib.sh
. scripts/drills/lib.sh

# --- the binary, against the Python that the tree has too

say "building against /usr/bin/python3"
mkdir -p "$drill/src"
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; fi; done |
  tar -c --null -T - | tar -x -C "$drill/src"
(cd "$drill/src" && AUTORESEARCH_PYTHON=/usr/bin/python3 scripts/build.sh)

mkdir -p "$work/root/root/autoresearchd"
tar -c -C "$drill/src" --exclude=./.build --exclude=./.git . | tar -x -C "$work/root/root/autoresearchd"
boot

configured() { sh "cp /root/sound.toml $config"; }
# underway: the running trial's number, as systemd's status line has it.
underway() { sh "systemctl show autoresearchd -p StatusText" | grep -oE 'trial [0-9]+' | grep -oE '[0-9]+'; }
# once TRIAL: it was cut short and is recorded once, and the record is whole.
once() {
  ends 0 "trial $1 is recorded once, as interrupted" "autoresearchd trials --runs --json | python3 -c '
import json, sys
found = [r[\"status\"] for r in json.load(sys.stdin) if r[\"id\"] == $1]
sys.exit(found != [\"interrupted\"] and repr(found))'"
  ends 0 "journal, git, results.tsv and bundles agree" "autoresearchd verify"
}
processes="find /sys/fs/cgroup/system.slice/autoresearchd.service -name cgroup.procs -exec cat {} + | sort"
stopped() { sh "systemctl stop autoresearchd; systemctl reset-failed autoresearchd 2>/dev/null; true"; }

step "make install, by root without go"
ends 0 "make install" "cd /root/autoresearchd && make install"
says "installed /usr/local/bin/autoresearchd" "init $state"
ends 0 "the cache stands in the configuration" "grep -q '^cache *= \"/var/cache/autoresearch\"' $config"
study
ends 0 "the configuration is sound" "autoresearchd check"

step "what the unit leaves open, as systemd counts it"
ends 0 "systemd-analyze security" "systemd-analyze security --no-pager --threshold=40 autoresearchd"
printf '    %s\n' "${said##*$'\n'}"
ends 0 "the unit is sound" "systemd-analyze verify --man=no /etc/systemd/system/autoresearchd.service"
silent "autoresearchd.service:"

step "start"
mark gate
ends 0 "systemctl enable --now" "systemctl enable --now autoresearchd"
training
becomes "the first trial has no score, and no number stands for one" "systemctl status autoresearchd --no-pager" "0 candidates in 0 runs"
silent "0.000000"
ends 0 "what trials are kept from" "journalctl -u autoresearchd --no-pager -o cat | grep -m 1 'trials run in a sandbox'"
printf '    %s\n' "$said"
ends 0 "/readyz" "curl -fsS http://127.0.0.1:9797/readyz"
ends 0 "/metrics" "curl -fsS http://127.0.0.1:9797/metrics"
says 'watchdog_kills_total{cause="stall",phase="train"} 0' 'trials_total{status="timed out",strategy="evolution"} 0' 'decisions_total{decision="keep"} 0' "process_open_fds"

step "commands outside of the unit, with the installed configuration"
ends 0 "status, by root" "autoresearchd status"
says "drill" "running"
ends 0 "trials, by root" "autoresearchd trials"
ends 0 "doctor, by root, misses nothing but torch" "autoresearchd doctor >/tmp/said; cat /tmp/said; ! grep '^fault' /tmp/said | grep -v ' torch '"
says "is sound" "the running daemon has 127.0.0.1:9797" "of this machine's memory"
ends 0 "pause" "autoresearchd pause"
ends 0 "resume" "autoresearchd resume"
sh "id ada >/dev/null 2>&1 || useradd -m ada; id ben >/dev/null 2>&1 || useradd -m -G autoresearch ben"
ends not0 "status, by a user outside of the group" "runuser -u ada -- autoresearchd status"
says "member of its group"
ends 0 "status, by one of the group" "runuser -u ben -- autoresearchd status"
ends 0 "pause, by one of the group" "runuser -u ben -- autoresearchd pause"
ends 0 "resume, by one of the group" "runuser -u ben -- autoresearchd resume"

step "a broken [llm] beside a healthy daemon"
sh "sed -i 's|^enabled *=.*|enabled = true|' $config"
for command in status trials "status --json" pause resume; do ends 0 "$command" "autoresearchd $command"; done
says "unsound"
ends 2 "check" "autoresearchd check"
configured

step "systemctl reload"
ends 0 "a good one" "sed -i 's|^level *=.*|level = \"debug\"|' $config && systemctl reload autoresearchd"
refuse() { # WHAT EDIT WORDS
  ends not0 "refused: $1" "cp /root/sound.toml $config; $2; systemctl reload autoresearchd"
  becomes "systemctl status shows why" "systemctl status autoresearchd --no-pager" "the last reload was refused: "
  says "$3" "active (running)"
}
refuse "a strategy that is none" "sed -i 's|^strategy *=.*|strategy = \"nobody\"|' $config" nobody
refuse "an unknown key" "echo 'levl = 1' >>$config" log.levl
refuse "no TOML" "echo '[llm' >>$config" "is not TOML"
refuse "a key that needs a restart" "sed -i 's|^budget *=.*|budget = \"6s\"|' $config" "reload cannot change trial.budget: restart"
refuse "a state that cannot be read" "sed -i 's|^state *=.*|state = 7|' $config" study.state
configured
ends 0 "a good one again" "systemctl reload autoresearchd"
becomes "the refusal is gone" "systemctl show autoresearchd -p StatusText" "trial"
silent "refused"
ends 0 "by the signal" "systemctl kill -s HUP --kill-whom=main autoresearchd"
becomes "it is active" "$show" "SubState=running"

step "stop in mid-trial"
ends 0 "systemctl stop" "systemctl stop autoresearchd"
becomes "the unit" "$show" "ActiveState=inactive"
says "Result=success"
ends 0 "the trial is recorded" "autoresearchd trials --runs"
says interrupted

step "each trial's end stands once in the journal"
unmark gate
mark no-score
sh "journalctl --rotate -q; journalctl --vacuum-time=1s -q" >/dev/null 2>&1 || true
sh "systemctl start autoresearchd" || true
becomes "a trial without a score" "journalctl -u autoresearchd --no-pager -o cat" "trial ends"
silent "0.000000" "val_bpb=0 "
unmark no-score
becomes "a trial with one" "journalctl -u autoresearchd --no-pager -o cat" "verdict=kept"
stopped
ends 0 "the lines" "journalctl -u autoresearchd --no-pager -o cat | grep -cE '^(trial|candidate) [0-9]' | grep -qx 0"
ends 0 "the journal" "journalctl -u autoresearchd --no-pager -o cat | grep -o 'trial ends\" trial=[0-9]*' | sort | uniq -d | wc -l | grep -qx 0"

step "a configuration that is refused at start"
refused() { # WHAT WORDS…: it is refused for good, and says why
  ends not0 "$1: systemctl start" "systemctl start autoresearchd"
  shift
  sleep 3 # thrice RestartSec
  ends 0 "the unit" "$show"
  says "ActiveState=failed" "ExecMainStatus=78" "NRestarts=0"
  ends not0 "systemctl status" "systemctl status autoresearchd --no-pager --full"
  says "refused to start" "$@"
  sh "systemctl reset-failed autoresearchd"
}
sh "echo 'levl = 1' >>$config"
refused "an unknown key" "log.levl"
configured
sh "sed -i 's|^workspace *=.*|workspace = \"/srv/nowhere\"|' $config"
refused "a workspace that is none" "/srv/nowhere"
configured
sh "mv $state/workspace/.venv $state/workspace/.away"
refused "a venv that is missing" ".venv/bin/python"
sh "mv $state/workspace/.away $state/workspace/.venv"

step "a workspace that the unit cannot write"
sh "cp -r $state/workspace /srv/study; chown -R root: /srv/study; git config --global --add safe.directory '*'
sed -i 's|^workspace *=.*|workspace = \"/srv/study\"|; s|^state *=.*|state = \"$state/other\"|' $config"
refused "another owner, below ProtectSystem" "/srv/study"
sh "rm -rf /srv/study $state/other"
configured

step "a used tag in a new state directory"
sh "sed -i 's|^state *=.*|state = \"$state/other\"|' $config"
refused "tag drill again" "drill"
sh "rm -rf $state/other"
configured

step "the model's key"
key=sk-drill-0123456789-$RANDOM
mark gate
sh "printf '%s' '$key' | rev >$marks/spy"
key_step() { # WHAT LINES-OF-[llm] UNIT-LINES CLOSED…
  configured
  sh "sed -i '/^\[llm\]/,/^\[http\]/{s|^enabled *=.*|enabled = true|;s|^base_url *=.*|base_url = \"http://127.0.0.1:1/v1\"|;s|^models *=.*|models = [\"small\"]|;$2}' $config
printf '[Service]\n%s\n' '$3' >/etc/systemd/system/autoresearchd.service.d/key.conf; systemctl daemon-reload"
  ends 0 "$1: start" "systemctl restart autoresearchd"
  training
  becomes "a trial has looked" "$noted" "source-of-the-credential:"
  shift 3
  silent "own-environment: found" "daemon-environment: found" "daemon-memory: found" "daemon-descriptors: found"
  for place in "$@"; do silent "$place: found"; done
  ends 0 "the journal" "journalctl -u autoresearchd --no-pager -o cat"
  silent "$key" "models cannot be asked"
  ends 0 "doctor, outside of the unit" "autoresearchd doctor || true"
  silent "$key" "LoadCredential"
}
sh "umask 077; printf '%s\n' '$key' >/etc/autoresearch/credential.key; printf 'DRILL_KEY=%s\n' '$key' >/etc/autoresearch/drill.env
printf '%s\n' '$key' >/etc/autoresearch/openai.key; chgrp autoresearch /etc/autoresearch/openai.key; chmod 640 /etc/autoresearch/openai.key"
key_step "by a credential" 's|^key_credential *=.*|key_credential = "openai"|' 'LoadCredential=openai:/etc/autoresearch/credential.key' credential source-of-the-credential
key_step "by a variable" 's|^key_env *=.*|key_env = "DRILL_KEY"|' 'EnvironmentFile=/etc/autoresearch/drill.env'
key_step "by a file" 's|^key_file *=.*|key_file = "/etc/autoresearch/openai.key"|' '' key-file
ends 0 "the key is read again" "printf 'sk-other\n' >/etc/autoresearch/openai.key && systemctl reload autoresearchd"
ends not0 "a key that is gone" "mv /etc/autoresearch/openai.key /etc/autoresearch/away && systemctl reload autoresearchd"
stopped
sh "rm -f /etc/systemd/system/autoresearchd.service.d/key.conf $marks/spy /etc/autoresearch/*.key /etc/autoresearch/away /etc/autoresearch/drill.env; systemctl daemon-reload"
configured

step "compiled code outlives a restart"
unmark gate
sh "journalctl --rotate -q; journalctl --vacuum-time=1s -q" >/dev/null 2>&1 || true
ends 0 "start" "systemctl start autoresearchd"
becomes "where it lies" "$noted" "drill cache /var/cache/autoresearch/compiled/views/"
# Only what ended well is kept for others.
becomes "a trial ends well" "journalctl -u autoresearchd --no-pager -o cat" "status=completed"
mark gate
training
ends 0 "stop" "systemctl stop autoresearchd"
ends 0 "start" "systemctl start autoresearchd"
training
ends 0 "a trial has looked" "$noted"
says "drill compiled True" "drill temporary False"
stopped

step "a trial that takes too much memory"
unmark gate
mark eat
set_key memory '"256MiB"'
ends 0 "start" "systemctl start autoresearchd"
becomes "the record" "autoresearchd trials" "out of memory"
unmark eat
becomes "the daemon" "$show" "SubState=running"
says "NRestarts=0"
stopped

step "in-process"
configured
set_key isolation '"inprocess"'
mark gate
ends 0 "start" "systemctl start autoresearchd"
training
ends 0 "systemctl stop in mid-trial" "systemctl stop autoresearchd"
becomes "the unit" "$show" "ActiveState=inactive"
says "Result=success"
unmark gate
mark eat
set_key memory '"256MiB"'
ends 0 "start with a cap on memory" "systemctl start autoresearchd"
becomes "the daemon ends with the trial and comes back" "$show" "NRestarts=1"
unmark eat
ends 0 "the record" "autoresearchd trials | grep -q 'out of memory'"
stopped
configured

step "kill -9 in mid-trial"
mark gate
ends 0 "start" "systemctl start autoresearchd"
training
# The unit's processes: the daemon, the trial, the one that gets ready.
earlier=$(sh "$processes") trial=$(underway)
ends 0 "kill -9" "systemctl kill -s KILL --kill-whom=main autoresearchd"
becomes "systemd starts it again" "$show" "NRestarts=1"
training
ends 0 "no process of before is left" "comm -12 <($processes) <(echo '$earlier') | grep -c . | grep -qx 0"
once "$trial"

step "SIGSTOP"
sh "printf '[Service]\nWatchdogSec=15s\n' >/etc/systemd/system/autoresearchd.service.d/watchdog.conf; systemctl daemon-reload"
ends 0 "start" "systemctl restart autoresearchd"
training
earlier=$(sh "$processes") trial=$(underway)
ends 0 "SIGSTOP" "systemctl kill -s STOP --kill-whom=main autoresearchd"
becomes "systemd's watchdog" "journalctl -u autoresearchd --no-pager -o cat" "Watchdog timeout"
becomes "systemd starts it again" "$show" "NRestarts=1"
training
ends 0 "no process of before is left" "comm -12 <($processes) <(echo '$earlier') | grep -c . | grep -qx 0"
once "$trial"
sh "rm /etc/systemd/system/autoresearchd.service.d/watchdog.conf; systemctl daemon-reload"

step "more crashes in a row than systemd's own limit on starts"
trial=$(underway)
ends 0 "start" "systemctl restart autoresearchd"
ends 0 "7 times kill -9" "for n in 1 2 3 4 5 6 7; do
  until pid=\$(systemctl show autoresearchd -p MainPID --value) && [ \$pid != 0 ] && [ \$(systemctl show autoresearchd -p NRestarts --value) = \$((n - 1)) ]; do sleep 0.1; done
  kill -KILL \$pid
done"
becomes "it is started still" "$show" "NRestarts=7"
training
once "$trial"

step "reboot in mid-trial"
trial=$(underway)
reboot
training
once "$trial"
step "the machine ends at once in mid-trial"
trial=$(underway)
power_cut
training
once "$trial"
stopped

step "uninstall and install again"
ends 0 "start" "systemctl start autoresearchd"
ends 0 "make uninstall" "cd /root/autoresearchd && make uninstall"
says "kept"
ends not0 "the unit is gone" "systemctl cat autoresearchd"
ends 0 "make install" "cd /root/autoresearchd && make install"
says "enabled"
ends 0 "start" "systemctl start autoresearchd"
ends 0 "the study is the same" "autoresearchd status"
says drill
stopped

verdict
