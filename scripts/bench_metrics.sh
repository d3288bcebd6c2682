#!/usr/bin/env bash
# How long a scrape of /metrics takes at TRIALS trials: beside a real trial that
# trains on this machine's cores. The goal is a 99th percentile of 10 ms. Before
# that, a scrape beside 64 seats, which seem to train, against one (goal: 50 ms).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
scripts/study.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=/dev/null
. "$build/env"
go build -o "$scratch/serve" ./scripts/serve
python3 scripts/bench_answers.py "$scratch/serve" /metrics --trials "${TRIALS:-1000}" --goal 50
mkdir "$scratch/workspace"
cp -r "$build/study/workspace/.git" "$scratch/workspace/.git"
for name in train.py prepare.py program.md .gitignore; do cp "$build/study/workspace/$name" "$scratch/workspace/"; done
run=(bin/autoresearchd --config "$build/study/autoresearch.toml" run --set "study.workspace=\"$scratch/workspace\""
  --set "study.state=\"$scratch/state\"" --set 'study.tag="bench"' --set "trial.python=\"$build/study/workspace/.venv/bin/python\""
  --set study.baseline=2.0 --set 'trial.budget="60s"')
"${run[@]}" --set study.trials=1 --set 'http.listen=""' >/dev/null 2>&1 # the baseline, which costs no run
go run ./scripts/fill "$scratch/state" "${TRIALS:-1000}"
"${run[@]}" --set 'http.listen="127.0.0.1:0"' 2>"$scratch/log" >/dev/null &
daemon=$!
trap 'kill "$daemon" 2>/dev/null; wait "$daemon" || true; rm -rf "$scratch"' EXIT
python3 - "$scratch/log" "$daemon" "${SCRAPES:-1000}" <<'EOF'
import gzip, http.client, os, re, sys, time

path, daemon, scrapes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def until(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        os.kill(daemon, 0)  # fails where it has ended
        if time.monotonic() > end:
            sys.exit("the daemon did not get on:\n" + open(path).read())
        time.sleep(0.1)
    return found

address = until(lambda: re.search(r"msg=ready.* listen=(\S+)", open(path).read()))[1]
connection = http.client.HTTPConnection(address, timeout=10)

def page():  # as Prometheus asks for it
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "Accept-Encoding": "gzip"})
    return connection.getresponse().read()

def phase():
    return (re.search(r'autoresearch_trial_phase_info\{[^}]*phase="(\w+)"', gzip.decompress(page()).decode()) or [None, None])[1]

def measure(name, going):
    times = []
    for n in range(scrapes):
        begin = time.perf_counter()
        page()
        times.append(1000 * (time.perf_counter() - begin))
        if n % 50 == 0 and not going():
            sys.exit(f"the trial was over after {n} scrapes: ask for fewer (SCRAPES)")
        time.sleep(0.02)
    times.sort()
    rank = lambda share: times[min(len(times) - 1, int(share * len(times)))]
    print(f"{name}: p50 {rank(0.5):.2f} ms, p99 {rank(0.99):.2f} ms, worst {times[-1]:.2f} ms of {scrapes} scrapes")
    return rank(0.99)

until(lambda: phase() == "train")
text = gzip.decompress(page()).decode()
count = sum(int(float(n)) for n in re.findall(r"^autoresearch_decisions_total\S* (\S+)$", text, re.M))
print(f"{count} trials, a page of {len(text)} bytes, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
p99 = measure("while a trial trains", lambda: phase() == "train")
print("goal of 10 ms at p99:", "met" if p99 <= 10 else "missed")
EOF
