#!/usr/bin/env bash
# What concerns CUDA, shown on a machine with an NVIDIA GPU:
#
#   scripts/gpu.sh [part…]     parts: data hang illegal memory ten caches upstream starter causal speed scrape two
#                                     overhead standby evaluation notary sandbox node
#
#   data      prepares data out of CORPUS (400M) bytes of text of the installed Python packages,
#             VAL_PERCENT (10) of them for validation
#   hang      a trial that waits for a kernel that never ends is killed, and its
#             40 GiB are back within a second
#   illegal   a trial that writes where it may not; the next one runs
#   memory    a trial that wants more memory than there is; the next one runs
#   ten       ten trials in a row leave the GPU's memory where it was
#   caches    the first trial after a start: with nothing compiled, with what the
#             service keeps, and with caches that went with the unit's /tmp
#   upstream  an unmodified clone of karpathy/autoresearch (UPSTREAM=DIR) runs
#             two trials under the daemon
#   starter   our own workspace likewise
#   causal    the compiled starter sees no future token
#   speed     train.py embedded against `python train.py`, in alternation
#   scrape    /metrics beside nvidia-smi, every second of a trial of our own
#             workspace; leaves WORK/scrape/record.om for Prometheus and Grafana
#   two       trials an hour of our own workspace on two GPUs against one, each
#             with TRIALS trials a GPU after the first
#   overhead  seconds between the ends of trials beside the counted ones, against
#             `python train.py`: WHOSE (starter upstream), KINDS (constants edits),
#             TRIALS (6) of BUDGET and PLAIN (2) runs each; again, it goes on.
#             A standby needs some 15 s to import: BUDGET=20s or more
#   standby   training with a standby beside it against training alone, by turns,
#             and what overlap makes of the scores: TRIALS (6) each
#   evaluation  the starter's evaluate_bpb against upstream's (UPSTREAM=DIR)
#   notary    proofs of TRIALS (5) trials of WHOSE (starter upstream), of which the second and the
#             third lie: differences, errors, seconds. EVAL (4) * 524288 tokens are evaluated.
#             It ends after LIMIT (360) seconds. AUDIT='"fresh"' audits too
#   sandbox   training in the sandbox against without, PAIRS (3) by turns; a hang
#             in a kernel in it, killed, and its memory back; with UPSTREAM=DIR,
#             upstream's in it too. AUTORESEARCH_SANDBOX_WITHOUT=spaces, pids or
#             uid leaves layers out
#   node      TRIALS (5) trials of our own workspace on a seat of a cluster, with stand-ins for
#             Slurm's commands, whose one node is this machine: its figures on /metrics, the
#             standby and the overlap of its trials, their proofs
#
# Needs bin/autoresearchd and PYTHON, an interpreter with torch that fits it.
# UPSTREAM's imports that are missing here are looked for in SITE. BUDGET is
# each trial's counted training time; TRIALS and STRATEGY are for scrape and two. Leaves
# its record under WORK, and in WORK/faults.jsonl what `scripts/faults.sh take` notes.
# shellcheck disable=SC2317,SC2015
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
PYTHON=${PYTHON:-$(command -v python3)}
WORK=${WORK:-/tmp/autoresearchd-gpu}
BUDGET=${BUDGET:-30s}
UPSTREAM=${UPSTREAM:-}
# Bytecode is kept, as beside packages of one's own: where their folder is read-only, imports compile all of it each time.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=${PYTHONPYCACHEPREFIX:-$WORK/bytecode}
export AUTORESEARCH_CACHE=${AUTORESEARCH_CACHE:-$HOME/.cache/autoresearch}
bin=$root/bin/autoresearchd
mkdir -p "$WORK"

failed=0
verdict() { # verdict NAME CONDITION TEXT
  local result=passed
  if [ "$2" = 1 ]; then echo "PASS $1: $3"; else echo "FAIL $1: $3"; failed=1 result=failed; fi
  tried "scripts/gpu.sh $1" "$result" "$3" "$(nvidia-smi --query-gpu=name --format=csv,noheader -i 0)" "$WORK/faults.jsonl"
}
used() { nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0; }
commit() { # commit DIR: a git tree of what is in it
  git -C "$1" init -q && git -C "$1" add -A &&
    git -C "$1" -c user.name=gpu -c user.email=gpu@localhost commit -qm start
}
configure() { # configure NAME WORKSPACE BUDGET EXTRA: writes $WORK/NAME/autoresearch.toml
  mkdir -p "$WORK/$1"
  cat >"$WORK/$1/autoresearch.toml" <<EOF
[study]
tag = "gpu"
workspace = "$2"
state = "state"
[trial]
python = "$PYTHON"
devices = ["${DEVICE:-cuda:0}"]
budget = "$3"
[http]
listen = ""
[search]
strategy = "${STRATEGY:-random}"
$4
EOF
  rm -rf "${WORK:?}/$1/state"
}
daemon() { # daemon NAME COMMAND…
  local name=$1
  shift
  "$bin" --config "$WORK/$name/autoresearch.toml" "$@"
}

part_data() {
  [ ! -f "$AUTORESEARCH_CACHE/tokenizer/token_bytes.pt" ] || return 0
  local packages corpus=$WORK/corpus
  packages=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  mkdir -p "$corpus"
  # Text only, each file once.
  # cat is cut off by head, which is no fault.
  (cd "$packages" && find . \( -name '*.py' -o -name '*.h' -o -name '*.hpp' -o -name '*.cuh' -o -name '*.md' -o -name '*.txt' -o -name '*.rst' \) -size +1k -size -400k -print0 |
    sort -z | xargs -0 cat -- 2>/dev/null || true) | head -c "${CORPUS:-400M}" | split -b 200k -d -a 5 --additional-suffix=.txt - "$corpus/part"
  cp -r configs/workspace "$WORK/preparing"
  sed -i "s/^VAL_PERCENT = .*/VAL_PERCENT = ${VAL_PERCENT:-10}/" "$WORK/preparing/prepare.py"
  (cd "$WORK/preparing" && "$PYTHON" prepare.py --corpus "$corpus")
  rm -rf "$WORK/preparing"
  rm -rf "$corpus"
}

tiny() { # tiny NAME SCRIPT
  rm -rf "${WORK:?}/$1" && mkdir -p "$WORK/$1/workspace"
  cp scripts/gpu/tiny/prepare.py "$WORK/$1/workspace/prepare.py"
  cp "scripts/gpu/tiny/$2" "$WORK/$1/workspace/train.py"
  commit "$WORK/$1/workspace"
}

part_hang() {
  tiny hang hang.py
  configure hang "$WORK/hang/workspace" 30s $'[watchdog]\nstall = "5s"'
  hung hang
}

hung() { # hung VERDICT: runs the trial that hangs
  local before after
  before=$(used)
  daemon hang run --trials 1
  after=$(used)
  daemon hang show 1
  "$PYTHON" - "$WORK/hang/state" "$before" "$after" <<'EOF' && verdict "$1" 1 "killed, memory back within 1 s" || verdict "$1" 0 "see above"
import json, re, subprocess, sys
state, before, after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
trial = json.loads(subprocess.check_output(["bin/autoresearchd", "--state", state, "trials", "--runs", "--json"]))[0]
note = " ".join(trial["flags"])
seconds = [float(s) for s in re.findall(r"([0-9.]+) s", note)]
print(f"MiB in use before {before}, after {after}; peak by NVML {trial['peak_vram_bytes'] >> 20} MiB; {note}")
assert trial["status"] == "timed out", trial["status"]
assert trial["peak_vram_bytes"] > 40 << 30, "the trial did not hold its memory"
assert seconds[1] <= 1.0 and abs(after - before) <= 64, (seconds, before, after)
EOF
}

# between SCRIPT STATUS: of three trials the second meets a fault of its GPU, and is
# recorded as STATUS; the one before and the one behind it are scored.
between() {
  local name=$1 before after got
  tiny "$name" "$name.py"
  STRATEGY="exec" configure "$name" "$WORK/$name/workspace" 30s "$(turning FAULT 0 1)"$'\n[search.space]\nFAULT = { low = 0, high = 9 }'
  before=$(used)
  daemon "$name" run --trials 3
  after=$(used)
  daemon "$name" show 2
  got=$(daemon "$name" trials --runs --json | "$PYTHON" -c 'import json, sys; print(", ".join(run["status"] for run in json.load(sys.stdin)))')
  echo "MiB in use before $before, after $after; $got"
  verdict "$name" "$([ "$got" = "completed, $2, completed" ] && [ $((after - before)) -le 64 ] && [ $((before - after)) -le 64 ] && echo 1)" "$got; $before MiB before, $after MiB after"
}
part_illegal() { between illegal crashed; }
part_memory() { between memory "out of memory"; }

part_ten() {
  tiny ten brief.py
  configure ten "$WORK/ten/workspace" 30s ""
  local before after
  before=$(used)
  daemon ten run --trials 10
  after=$(used)
  daemon ten trials
  echo "MiB in use before $before, after $after"
  local scored
  scored=$(daemon ten trials --runs --json | grep -c '"status": "completed"')
  verdict ten "$([ "$scored" = 10 ] && [ $((after - before)) -le 64 ] && [ $((before - after)) -le 64 ] && echo 1)" "$scored of 10 trials scored, $before MiB before, $after MiB after"
}

part_caches() {
  rm -rf "$WORK/ours" && cp -r configs/workspace "$WORK/ours" && commit "$WORK/ours"
  rm -rf "$AUTORESEARCH_CACHE/compiled"
  local kind environment pid
  for kind in cold kept lost; do
    # The daemon keeps them where a service manager has started it.
    environment="NOTIFY_SOCKET=$WORK/nobody-listens"
    [ "$kind" != lost ] || environment="TORCHINDUCTOR_CACHE_DIR=$WORK/lost/inductor TRITON_CACHE_DIR=$WORK/lost/triton"
    configure "caches-$kind" "$WORK/ours" "$BUDGET" ""
    sed -i "s/^tag = .*/tag = \"$kind\"/" "$WORK/caches-$kind/autoresearch.toml"
    rm -rf "$WORK/lost"
    # shellcheck disable=SC2086
    env $environment "$bin" --config "$WORK/caches-$kind/autoresearch.toml" run --trials 1 >"$WORK/caches-$kind/log" 2>&1 &
    pid=$!
    until grep -q 'msg="trial ends"' "$WORK/caches-$kind/log" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.5; done
    kill "$pid" 2>/dev/null || true # under a service manager it stays at the end
    wait "$pid" || true
  done
  "$PYTHON" - "$WORK" <<'EOF' && verdict caches 1 "a restart keeps what was compiled" || verdict caches 0 "see above"
import json, subprocess, sys
beside = {}
for kind in ("cold", "kept", "lost"):
    trial = json.loads(subprocess.check_output(["bin/autoresearchd", "--state", f"{sys.argv[1]}/caches-{kind}/state", "trials", "--runs", "--json"]))[0]
    beside[kind] = trial["wall_seconds"] - trial["training_seconds"]
    print(f"{kind}: {beside[kind]:.1f} s beside the counted {trial['training_seconds']:.1f} s")
assert beside["kept"] < 0.6 * beside["lost"], beside
EOF
}

two_trials() { # two_trials NAME WORKSPACE SPACE
  configure "$1" "$2" "$BUDGET" "$3"
  daemon "$1" run --trials 2
  daemon "$1" trials
  for id in 1 2; do daemon "$1" show "$id"; done
  local scored
  scored=$(daemon "$1" trials --runs --json | grep -c '"status": "completed"')
  verdict "$1" "$([ "$scored" = 2 ] && echo 1)" "$scored of 2 trials scored under the daemon"
}

part_upstream() {
  [ -n "$UPSTREAM" ] || { verdict upstream 0 "UPSTREAM names no clone of karpathy/autoresearch"; return; }
  rm -rf "$WORK/clone" && cp -r "$UPSTREAM" "$WORK/clone"
  PYTHONPATH=${SITE:-} two_trials upstream "$WORK/clone" $'[search.space]\nDEPTH = "fixed"\nASPECT_RATIO = "fixed"\nHEAD_DIM = "fixed"\nWINDOW_PATTERN = "fixed"\nTOTAL_BATCH_SIZE = "fixed"\nDEVICE_BATCH_SIZE = "fixed"'
  verdict upstream-unmodified "$([ -z "$(git -C "$WORK/clone" status --porcelain)" ] && echo 1)" "the clone's files are as they were"
}

part_starter() {
  rm -rf "$WORK/ours" && cp -r configs/workspace "$WORK/ours" && commit "$WORK/ours"
  two_trials starter "$WORK/ours" $'[search.space]\nDEPTH = "fixed"\nMODEL_DIM = "fixed"\nHEAD_DIM = "fixed"\nWINDOW_PATTERN = "fixed"\nTOTAL_BATCH_SIZE = "fixed"\nDEVICE_BATCH_SIZE = "fixed"\nMLP_RATIO = "fixed"\nSHORT_WINDOW = "fixed"\nGATE_CHANNELS = "fixed"'
}

part_causal() {
  "$PYTHON" scripts/gpu/causal.py && verdict causal 1 "no loss depends on a later token" || verdict causal 0 "see above"
}

part_speed() {
  "$PYTHON" scripts/embed_vs_python.py --binary "$bin" --python "$PYTHON" --workspace configs/workspace --seconds "${SPEED_SECONDS:-15}" --eval-tokens 524288 --pairs "${PAIRS:-3}" --warm-up --at-least 0.995 &&
    verdict speed 1 "embedded at 0.995 of python or better" || verdict speed 0 "embedded below 0.995 of python"
}

part_scrape() {
  rm -rf "$WORK/ours" && cp -r configs/workspace "$WORK/ours" && commit "$WORK/ours"
  configure scrape "$WORK/ours" "$BUDGET" ""
  local log=$WORK/scrape/log address="" pid
  daemon scrape run --trials "${TRIALS:-1}" --set 'http.listen="127.0.0.1:0"' >"$log" 2>&1 &
  pid=$!
  until address=$(sed -n 's/.*msg=ready.* listen=\([^ ]*\).*/\1/p' "$log") && [ -n "$address" ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$log"; verdict scrape 0 "the daemon ended before it was ready"; return; }
    sleep 0.2
  done
  if "$PYTHON" scripts/gpu/scrape.py "http://$address/metrics" "$WORK/scrape/record.om"; then
    verdict scrape 1 "/metrics and nvidia-smi agree"
  else
    verdict scrape 0 "/metrics and nvidia-smi differ: see above"
  fi
  wait "$pid" || true
  verdict scrape-trial "$(grep -q 'msg="trial ends".*status=completed' "$log" && echo 1)" "a trial was scored meanwhile"
  verdict scrape-memory "$(grep -q '^autoresearch_trial_gpu_memory_bytes{gpu="0"} ' "$WORK/scrape/record.om" && echo 1)" "its GPU memory is in the record"
}

part_two() {
  rm -rf "$WORK/ours" && cp -r configs/workspace "$WORK/ours" && commit "$WORK/ours"
  local name each=${TRIALS:-4} rounds=${ROUNDS:-1} round
  for ((round = 1; round <= rounds; round++)); do
    for name in one two; do
      # Of one learning rate, so that every trial does the same work.
      configure "$name$round" "$WORK/ours" "$BUDGET" "$(only_rates)"
      sed -i "s/^tag = .*/tag = \"$name$round\"/" "$WORK/$name$round/autoresearch.toml"
      if [ "$name" = one ]; then
        daemon "$name$round" run --trials $((each + 1)) --set 'judge.rule="greedy"'
      else
        daemon "$name$round" run --trials $((2 * each + 1)) --set 'judge.rule="greedy"' --set 'trial.devices=["cuda:0", "cuda:1"]'
      fi
    done
    "$PYTHON" scripts/bench_seats/rate.py "$bin" "$WORK/one$round/state" "$WORK/two$round/state" | tee "$WORK/two$round/rate"
    verdict "two-$round" "$(awk '/times as many/ { print ($(NF-3) >= 1.95) }' "$WORK/two$round/rate")" "two GPUs do at least 1.95 times the trials of one"
  done
}
only_rates() { # only_rates: [search.space] without what changes a trial's work
  echo "[search.space]"
  configure rates "$WORK/ours" "$BUDGET" ""
  daemon rates check --json | "$PYTHON" -c '
import json, sys
names = [axis["name"] for axis in json.load(sys.stdin)["space"]["searched"]]
print("\n".join(json.dumps(name) + " = \"fixed\"" for name in names if not name.endswith("_LR")))'
}

turning() { # turning CONSTANT START STEP: a study's tables that turn a constant with every trial
  cat <<EOF
[search.exec]
command = ["$PYTHON", "$root/scripts/gpu/turn.py"]
options = { name = "$1", start = $2, step = $3 }
[judge]
rule = "greedy"
EOF
}

# edited FILE LINE AFTER: a train.py whose model has a number in it that an
# edit changes: all that reads LINE is compiled anew.
edited() {
  "$PYTHON" - "$@" <<'EOF'
import sys
path, line, after = sys.argv[1:]
text = open(path).read()
assert text.count(line) == 1 and text.count("\n" + after) == 1, path
text = text.replace(line, line + " * EDIT").replace("\n" + after, "\nEDIT = 1.0  # a number in the model\n" + after)
open(path, "w").write(text)
EOF
}

part_overhead() {
  local whose kind name constant start step extra results=$WORK/overhead.jsonl
  for whose in ${WHOSE:-starter upstream}; do
    for kind in ${KINDS:-constants edits}; do
      name=overhead-$whose-$kind constant=EMBEDDING_LR start=0.89 step=-0.005 extra=""
      if [ "$whose" = upstream ] && [ -z "$UPSTREAM" ]; then verdict "$name" 0 "UPSTREAM names no clone"; continue; fi
      if [ ! -d "$WORK/$name/workspace" ]; then
        mkdir -p "$WORK/$name"
        cp -r "$([ "$whose" = upstream ] && echo "$UPSTREAM" || echo "${STARTER:-configs/workspace}")" "$WORK/$name/workspace"
        rm -rf "$WORK/$name/workspace/.git"
        if [ "$kind" = edits ]; then
          if [ "$whose" = upstream ]; then
            edited "$WORK/$name/workspace/train.py" "F.relu(x).square()" "EMBEDDING_LR"
          else
            edited "$WORK/$name/workspace/train.py" "F.relu(self.up(rms_norm(x))).square()" "EMBEDDING_LR"
          fi
        fi
        cp -r "$WORK/$name/workspace" "$WORK/$name/plain"
        sed -i "s/^TIME_BUDGET = [0-9]*/TIME_BUDGET = ${BUDGET%s}/" "$WORK/$name/plain/prepare.py"
        commit "$WORK/$name/workspace"
        [ "$kind" = constants ] || extra=$'\n[search.space]\nEDIT = { low = 0.5, high = 1.5 }'
        [ "$kind" = constants ] || { constant=EDIT start=0.99 step=-0.002; }
        STRATEGY="exec" configure "$name" "$WORK/$name/workspace" "$BUDGET" "$(turning "$constant" "$start" "$step")$extra"
      fi
      [ "$kind" = constants ] || { constant=EDIT start=1.2 step=0.002; }
      TORCHINDUCTOR_CACHE_DIR=$WORK/plain/inductor TRITON_CACHE_DIR=$WORK/plain/triton PYTHONPATH=${SITE:-} \
        "$PYTHON" scripts/gpu/overhead.py plain "$results" "$name" "${PLAIN:-2}" "$WORK/$name/plain" "$constant" "$start" "$step"
      local done_already
      done_already=$(daemon "$name" trials --runs --json 2>/dev/null | grep -c '"status": "completed"' || true)
      [ "$done_already" -ge "${TRIALS:-6}" ] ||
        PYTHONPATH=${SITE:-} daemon "$name" run --trials $((${TRIALS:-6} - done_already)) >"$WORK/$name/log" 2>&1 || tail -5 "$WORK/$name/log"
      "$PYTHON" scripts/gpu/overhead.py report "$results" "$name" "$WORK/$name/state" &&
        verdict "$name" 1 "less than python train.py" || verdict "$name" 0 "see above"
    done
  done
}

part_standby() {
  local name begun
  rm -rf "$WORK/ours" && cp -r "${STARTER:-configs/workspace}" "$WORK/ours" && commit "$WORK/ours"
  for name in alone beside; do
    git clone -q "$WORK/ours" "$WORK/workspace-$name" 2>/dev/null || true
    STRATEGY="exec" configure "standby-$name" "$WORK/workspace-$name" "$BUDGET" "$(turning EMBEDDING_LR 0.89 -0.005)"
  done
  # Two trials a turn: beside the first a standby for the second gets ready,
  # and the second begins beside the first one's evaluation.
  for ((begun = 0; begun < ${TRIALS:-6}; begun += 2)); do
    daemon standby-alone run --trials 2 --set 'trial.standby="off"' --set 'trial.overlap="off"' >>"$WORK/standby-alone/log" 2>&1
    daemon standby-beside run --trials 2 >>"$WORK/standby-beside/log" 2>&1
  done
  "$PYTHON" scripts/gpu/overhead.py pairs "$WORK/standby-alone/state" "$WORK/standby-beside/state" &&
    verdict standby 1 "at 0.995 of training alone or better" || verdict standby 0 "see above"
}

part_evaluation() {
  [ -n "$UPSTREAM" ] || { verdict evaluation 0 "UPSTREAM names no clone of karpathy/autoresearch"; return; }
  PYTHONPATH=${SITE:-} "$PYTHON" scripts/gpu/evaluation.py configs/workspace "$UPSTREAM" "${ROUNDS:-2}" &&
    verdict evaluation 1 "at most 0.4 of upstream's time, the same score" || verdict evaluation 0 "see above"
}

part_notary() {
  local whose name
  for whose in ${WHOSE:-starter upstream}; do
    name=notary-$whose
    if [ "$whose" = upstream ] && [ -z "$UPSTREAM" ]; then verdict "$name" 0 "UPSTREAM names no clone"; continue; fi
    rm -rf "${WORK:?}/$name" && mkdir -p "$WORK/$name"
    cp -r "$([ "$whose" = upstream ] && echo "$UPSTREAM" || echo "${STARTER:-configs/workspace}")" "$WORK/$name/workspace"
    rm -rf "$WORK/$name/workspace/.git"
    # Part data's validation text must leave fresh rows: all 21 M tokens need VAL_PERCENT=45.
    sed -i "s/^EVAL_TOKENS = .*/EVAL_TOKENS = ${EVAL:-4} * 524288/" "$WORK/$name/workspace/prepare.py"
    "$PYTHON" scripts/gpu/notary.py lie "$WORK/$name/workspace/train.py"
    STRATEGY="exec" configure "$name" "$WORK/$name/workspace" "$BUDGET" "$(turning LIE 0 1)"$'\n[search.space]\nLIE = { low = 0, high = 9 }'
    commit "$WORK/$name/workspace"
    (PYTHONPATH=${SITE:-} timeout -s INT "${LIMIT:-360}" "$bin" --config "$WORK/$name/autoresearch.toml" run --trials "${TRIALS:-5}" \
      --set "judge.audit=${AUDIT:-false}" 2>&1 || true) |
      tee "$WORK/$name/log" | grep --line-buffered -E 'trial (begins|ends)|notary|level=(WARN|ERROR)' || true
    "$PYTHON" scripts/gpu/notary.py show "$bin" "$WORK/$name/state" &&
      verdict "$name" 1 "the lies are caught, and nothing else" || verdict "$name" 0 "see above"
  done
}

part_node() {
  local log=$WORK/node/log address="" command pid
  rm -rf "$WORK/ours" "$WORK/node" && cp -r "${STARTER:-configs/workspace}" "$WORK/ours" && commit "$WORK/ours"
  STRATEGY="exec" configure node "$WORK/ours" "$BUDGET" "$(turning EMBEDDING_LR 0.59 -0.005)"$'\n[[seats]]\nkind = "slurm"\ngres = "gpu:1"\ntime = "8h"'
  sed -i 's/^devices = .*/devices = []/' "$WORK/node/autoresearch.toml"
  mkdir -p "$WORK/node/slurm"/{bin,all,jobs,steps}
  for command in sbatch squeue scancel srun; do ln -s "$root/scripts/gpu/slurm.sh" "$WORK/node/slurm/bin/$command"; done
  FAKE_SLURM=$WORK/node/slurm PATH=$WORK/node/slurm/bin:$PATH daemon node run --trials "${TRIALS:-5}" --set 'http.listen="127.0.0.1:0"' >"$log" 2>&1 &
  pid=$!
  until address=$(sed -n 's/.*msg=ready.* listen=\([^ ]*\).*/\1/p' "$log") && [ -n "$address" ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$log"; verdict node 0 "the daemon ended before it was ready"; return; }
    sleep 0.2
  done
  "$PYTHON" scripts/gpu/node.py "http://$address/metrics" "$pid" "$bin" "$WORK/node/state" &&
    verdict node 1 "a node's GPU serves as one here does" || { tail -n 30 "$log"; verdict node 0 "see above"; }
  kill "$pid" 2>/dev/null || true
  wait "$pid" || true
}

part_sandbox() {
  local name turn
  rm -rf "$WORK/ours" && cp -r "${STARTER:-configs/workspace}" "$WORK/ours" && commit "$WORK/ours"
  for name in off require; do
    rm -rf "$WORK/workspace-$name" && git clone -q "$WORK/ours" "$WORK/workspace-$name"
    STRATEGY="exec" configure "sandbox-$name" "$WORK/workspace-$name" "$BUDGET" "$(turning EMBEDDING_LR 0.89 -0.005)"
    : >"$WORK/sandbox-$name/log"
  done
  # Without comes first: it leaves bytecode and packed rows, which a trial in the sandbox only reads.
  for ((turn = 0; turn < ${PAIRS:-3}; turn++)); do
    for name in off require; do
      daemon "sandbox-$name" run --trials 1 --set "trial.sandbox=\"$name\"" >>"$WORK/sandbox-$name/log" 2>&1 || tail -n 20 "$WORK/sandbox-$name/log"
    done
  done
  grep -h 'sandbox' "$WORK/sandbox-require/log" | sort -u | head -n 5
  "$PYTHON" scripts/gpu/overhead.py compare 0.99 "$WORK/sandbox-off/state" "$WORK/sandbox-require/state" &&
    verdict sandbox 1 "in the sandbox at 0.99 of without or better, compiled alike" || verdict sandbox 0 "see above, and $WORK/sandbox-require/log"
  tiny hang hang.py
  configure hang "$WORK/hang/workspace" 30s $'[watchdog]\nstall = "5s"'
  sed -i 's/^\[trial\]$/[trial]\nsandbox = "require"/' "$WORK/hang/autoresearch.toml"
  hung sandbox-hang
  [ -n "$UPSTREAM" ] || return 0
  rm -rf "$WORK/clone" && cp -r "$UPSTREAM" "$WORK/clone"
  configure sandbox-upstream "$WORK/clone" "$BUDGET" ""
  PYTHONPATH=${SITE:-} daemon sandbox-upstream run --trials 1 --set 'trial.sandbox="require"'
  daemon sandbox-upstream show 1
  verdict sandbox-upstream "$(daemon sandbox-upstream trials --runs --json | grep -c '"status": "completed"')" "upstream's train.py scored in the sandbox"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
"$bin" --version
for part in "${@:-data}"; do
  echo "== $part"
  "part_$part"
done
exit $failed
