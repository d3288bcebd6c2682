"""Runs lies, honest edits and changed constants as trials of real studies on the CPU, and says what came of each.

    python redteam.py --binary bin/autoresearchd --study .build/study short|lies|honest|audit|constants [--only NAME…]

STUDY is what scripts/study.sh makes: its workspace, environment and data are copied, and only the copies are touched.
The last line counts; the exit status is 1 if a lie gained or an honest edit did not count.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import edit
import honest
import lies

HERE = pathlib.Path(__file__).resolve().parent
SEQUENCES = 128  # that are scored
SIZES = {"DEVICE_BATCH_SIZE": "16", "TOTAL_BATCH_SIZE": "16 * 128"}
BUDGETS = {"steps": "20 steps", "seconds": "2s", "fresh": "20 steps"}
AUDITED = {"fresh": {"judge.audit": "fresh"}}  # settings, by the kind of budget


def lay(options, name):
    """A study of its own; returns its folder, and its train.py."""
    study, place = options.study, options.folder / name
    if options.told:
        return place, (place / "workspace/train.py").read_text()
    shutil.rmtree(place, ignore_errors=True)
    (place / "workspace").mkdir(parents=True)
    shutil.copytree(study / "cache", place / "cache")
    workspace = place / "workspace"
    for path in (study / "workspace").iterdir():
        if path.is_file():
            shutil.copy(path, workspace)
    prepare = workspace / "prepare.py"
    text, count = re.subn(r"(?m)^EVAL_TOKENS = .*$", f"EVAL_TOKENS = {SEQUENCES} * 128", prepare.read_text())
    assert count == 1
    prepare.write_text(text)
    start = edit.Edits((workspace / "train.py").read_text())
    for constant, value in SIZES.items():
        start.constant(constant, value)
    (workspace / "train.py").write_text(start.text)
    git = ["git", "-C", str(workspace), "-c", "user.name=red", "-c", "user.email=red@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *words], check=True)
    return place, start.text


def run(options, name, trials, settings, files=()):
    """The runs of a study of so many trials; files are proposed in their order."""
    place, _ = options.laid[name]
    command = [sys.executable, str(HERE / "agent.py"), *map(str, files)]
    sets = {
        "study.workspace": place / "workspace",
        "study.state": place / "state",
        "study.cache": place / "cache",
        "study.tag": "red",
        "trial.python": options.study / "workspace/.venv/bin/python",
        "trial.devices": "cpu",
        "judge.rule": "greedy",
        "http.listen": "",
        **settings,
    }
    if files:
        sets |= {"search.strategy": "agent", "search.agent.command": command, "search.agent.wait": "10m"}
    for deadline in ("startup", "compile", "stall", "evaluate", "exit"):
        sets[f"watchdog.{deadline}"] = "5m"
    sets |= {"watchdog.total": "20m"}
    words = [str(options.binary), "--config", str(options.study / "autoresearch.toml")]
    given = [f"--set={key}={toml(value)}" for key, value in sets.items()]
    log = place / "daemon.log"
    # Threads that wait for each other take minutes for what one does in seconds, where others use the cores too.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not options.told:
        with open(log, "w") as out:
            done = subprocess.run(
                [*words, "run", "--trials", str(trials), *given], stdout=out, stderr=subprocess.STDOUT, env=environment
            )
        if done.returncode:
            sys.exit(f"the study in {place} ended with status {done.returncode}:\n{log.read_text()[-3000:]}")
    state = f"--state={place / 'state'}"
    listed = subprocess.run([*words, state, "trials", "--json", "--runs"], capture_output=True, text=True)
    if listed.returncode:
        sys.exit(listed.stderr)
    return json.loads(listed.stdout), place


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value if isinstance(value, (list, int)) else str(value))


def ran(each):
    detail = str(each.get("detail") or each.get("reason") or "")
    return f"{each['status']}: {detail.strip()}"


def write(folder, text, edits):
    """One train.py for each edit; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, function in edits.items():
        changed = edit.Edits(text)
        function(changed)
        compile(changed.text, name, "exec")
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(changed.text)
    return paths


def chosen(all_of, only):
    missing = [name for name in only if name not in all_of]
    if missing:
        sys.exit(f"there is no {', '.join(missing)}")
    return {name: all_of[name] for name in only or all_of}


def play(options, name, edits, budget):
    """Runs a study of edits. Returns its baseline, {name: run}, and its place."""
    options.laid[name] = lay(options, name)
    place, text = options.laid[name]
    files = write(place / "edits", text, edits)
    runs, place = run(
        options, name, len(files) + 1, {"trial.budget": BUDGETS[budget], **AUDITED.get(budget, {})}, files
    )
    if runs[0]["status"] != "completed":
        sys.exit(f"the honest starter did not come through: {ran(runs[0])}")
    return runs[0], {each["description"]: each for each in runs[1:]}, place


def answered(name, each, by, honest_bpb, compares):
    """Whether a lie came to what it must; says so."""
    if each is None:
        print(f"  {name}: FAULT: it did not run", flush=True)
        return False
    words = ran(each)
    gained = each["decision"] == "keep" or compares and bool(each["val_bpb"]) and each["val_bpb"] < honest_bpb - 1e-9
    right = not gained and bool(re.search(by, words))
    score = f"{each['val_bpb']:.6f}" if each["val_bpb"] else "-"
    print(f"  {name}: {'' if right else 'FAULT: '}{score} {words.splitlines()[0][:240]}", flush=True)
    return right


def record(options, script, name, right):
    """Notes how a fault of docs/faults.md went, for scripts/faults.sh take."""
    git = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    words = {
        "way": f"scripts/redteam/{script}.py {name.replace('-', '_')}",
        "result": "passed" if right else "failed",
        "machine": options.machine,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": git.stdout.strip(),
    }
    with open(options.folder / "faults.jsonl", "a") as file:
        file.write(json.dumps(words) + "\n")


def kept_alone(place):
    """Whether results.tsv says keep of the baseline and of nothing else."""
    rows = (place / "state/results.tsv").read_text().splitlines()[1:]
    if sum("\tkeep\t" in row for row in rows) == 1 and "of my own" not in "".join(rows):
        return True
    print("  FAULT: results.tsv says keep of more than the baseline:", *rows, sep="\n", flush=True)
    return False


def tell_lies(options, told=lies.LIES):
    right = []
    for kind in BUDGETS:
        group = {name: value for name, value in told.items() if value[1] == kind}
        if not group:
            continue
        baseline, runs, place = play(options, f"lies-{kind}", {name: value[0] for name, value in group.items()}, kind)
        print(f"{kind}: honest val_bpb {baseline['val_bpb']:.6f}", flush=True)
        for name, (_, _, by) in group.items():
            # Only where the work is the same are scores.
            right.append(answered(name, runs.get(name), by, baseline["val_bpb"], kind != "seconds"))
            record(options, "lies", name, right[-1])
        right.append(kept_alone(place))
    print(f"{len(told)} lies, {'all answered' if all(right) else f'{right.count(False)} FAULTS'}", flush=True)
    return all(right)


def be_honest(options, edits=honest.EDITS):
    baseline, runs, _ = play(options, "honest", edits, "steps")
    for name in edits:
        each = runs.get(name)
        record(options, "honest", name, each is not None and each["status"] == "completed")
    return judge_honest({"baseline": baseline, **{name: runs.get(name) for name in edits}}, ("completed",))


def audit(options):
    """An honest edit that is better comes through an audit, and one that cannot be audited is told so."""
    edits = {name: honest.EDITS[name] for name in ("lengths-of-one", "a-wrapper-is-scored")}
    baseline, runs, _ = play(options, "audited", edits, "fresh")
    right = True
    for name, each in {"baseline": baseline, **runs}.items():
        good = each["status"] == "completed" and (
            name == "a-wrapper-is-scored" or abs(each["fresh"]["val_bpb"] - each["val_bpb"]) < 1e-5
        )
        right &= good
        print(f"  {name}: {'' if good else 'FAULT: '}{json.dumps(each.get('fresh'))} {ran(each)[:400]}", flush=True)
    return right


def change_constants(options):
    options.laid["constants"] = lay(options, "constants")
    settings = {
        "trial.budget": BUDGETS["steps"],
        "search.strategy": "random",
        "study.seed": options.seed,
        # Wider or deeper models, and larger batches, would take minutes each.
        "search.space.MODEL_DIM": {"choices": [16, 32, 64, 128]},
        "search.space.DEPTH": {"choices": [1, 2, 3, 4]},
        "search.space.TOTAL_BATCH_SIZE": {"choices": [512, 1024, 2048, 4096]},
    }
    runs, _ = run(options, "constants", options.trials, settings)
    # Batch sizes that do not divide, models that diverge: that is no alarm.
    failures = ("completed", "crashed", "out of memory", "diverged")
    return judge_honest({f"{each['id']} {each['description']}": each for each in runs}, failures)


def judge_honest(runs, allowed):
    alarms, faults = [], []
    for name, each in runs.items():
        words = "it did not run" if each is None else ran(each)
        said = words + str(each.get("flags", "")) if each else ""
        if "not proven" in said or "not be proven" in said or said.startswith("tampered"):
            alarms.append(name)
        elif each is None or each["status"] not in allowed:
            faults.append(name)
        score = f"{each['val_bpb']:.6f}" if each and each["val_bpb"] else "-"
        print(f"  {name}: {score} {words.splitlines()[0][:240]}", flush=True)
    print(f"{len(runs)} honest trials, {len(alarms)} false alarms: {', '.join(alarms) or 'none'}", flush=True)
    if faults:
        print(f"FAULT: these failed otherwise: {', '.join(faults)}", flush=True)
    return not alarms and not faults


SHORT = ("smaller-loss", "rows-remembered")  # the others' kinds are in daemon/trainer's tests too
SHORT_HONEST = ("batch-that-does-not-divide",)


def short(options):
    """Some of each, in one study."""
    told = {name: lies.LIES[name] for name in SHORT}
    edits = {name: honest.EDITS[name] for name in SHORT_HONEST}
    baseline, runs, place = play(options, "short", edits | {name: value[0] for name, value in told.items()}, "steps")
    right = [answered(name, runs.get(name), value[2], baseline["val_bpb"], True) for name, value in told.items()]
    right.append(judge_honest({"baseline": baseline, **{name: runs.get(name) for name in edits}}, ("completed",)))
    return all(right)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--study", type=pathlib.Path, required=True)
    parser.add_argument("--folder", type=pathlib.Path, help="where the copies go; STUDY's neighbour redteam")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=42, help="of the changed constants")
    parser.add_argument("--machine", default="", help="its name in docs/faults.md")
    parser.add_argument("--told", action="store_true", help="only look again at what has run")
    parser.add_argument("part", choices=("short", "lies", "honest", "audit", "constants"))
    options = parser.parse_args()
    options.binary, options.study = options.binary.resolve(), options.study.resolve()
    options.folder = (options.folder or options.study.parent / "redteam").resolve()
    options.laid = {}
    right = {
        "short": lambda: short(options),
        "lies": lambda: tell_lies(options, chosen(lies.LIES, options.only)),
        "honest": lambda: be_honest(options, chosen(honest.EDITS, options.only)),
        "audit": lambda: audit(options),
        "constants": lambda: change_constants(options),
    }[options.part]()
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
