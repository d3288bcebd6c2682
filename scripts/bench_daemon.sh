#!/usr/bin/env bash
# The daemon's own cost: resident memory while a real trial trains (the trainer
# apart), and the time from start to ready, median of STARTS.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
scripts/study.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$build/study/workspace/.git" "$scratch/git"
exec python3 - "$build/study" "$scratch" "${STARTS:-20}" <<'EOF'
import json, os, re, signal, statistics, subprocess, sys, time

study, scratch, starts = sys.argv[1], sys.argv[2], int(sys.argv[3])
workspace = os.path.join(scratch, "workspace")
os.makedirs(workspace)
for name in ("train.py", "prepare.py", "program.md", ".gitignore"):
    os.link(os.path.join(study, "workspace", name), os.path.join(workspace, name))
os.rename(os.path.join(scratch, "git"), os.path.join(workspace, ".git"))

def start(state):
    settings = {"study.workspace": workspace, "study.state": state, "study.tag": os.path.basename(state),
                "trial.python": os.path.join(study, "workspace/.venv/bin/python"), "http.listen": "127.0.0.1:0"}
    command = ["bin/autoresearchd", "--config", os.path.join(study, "autoresearch.toml"), "run"]
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    begin = time.perf_counter()
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in daemon.stderr:
        said += line
        if "msg=ready" in line:
            return daemon, time.perf_counter() - begin
    sys.exit("the daemon did not become ready:\n" + said)

def stop(daemon):
    daemon.send_signal(signal.SIGTERM)
    daemon.stderr.read()
    daemon.wait()

seconds = []
for n in range(starts):
    daemon, took = start(os.path.join(scratch, f"start{n}"))
    seconds.append(took)
    stop(daemon)
print(f"start to ready: median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s of {starts}")

daemon, _ = start(os.path.join(scratch, "memory"))
largest = 0
end = time.monotonic() + 25
while time.monotonic() < end:
    status = open(f"/proc/{daemon.pid}/status").read()
    largest = max(largest, int(re.search(r"VmRSS:\s+(\d+)", status)[1]))
    time.sleep(0.5)
stop(daemon)
print(f"resident memory of the daemon through a real trial: {largest / 1000:.1f} MB at the most (VmRSS)")
EOF
