"""Check the form of the example files for Kubernetes and SkyPilot, offline.

python forms.py SKY FOLDER: SKY holds SkyPilot's package, without what it
depends on; FOLDER holds job.yaml and skypilot.yaml. The job is held against
Kubernetes' own schema. SkyPilot's is a program, of which only the names of keys
are read. Each check is then shown a file with a fault, and must refuse it.
The shell text of both goes to standard output, for shellcheck.
"""

import ast
import copy
import sys
from pathlib import Path

import kubernetes_validate
import yaml

KUBERNETES = "1.31"


class Fault(Exception):
    """What is wrong with a file, in words."""


def names(tree, function):
    """Return the names of all properties that a function of SkyPilot's schemas.py writes down."""
    found = set()
    for body in (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function):
        for node in (n for n in ast.walk(body) if isinstance(n, ast.Dict)):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "properties" and isinstance(value, ast.Dict):
                    found |= {k.value for k in value.keys if isinstance(k, ast.Constant)}
    if not found:
        raise Fault(f"SkyPilot has no properties in {function} any more: read its schemas.py anew")
    return found


def check_task(doc, tree):
    """Raise Fault unless a SkyPilot task has known keys and text where text belongs."""
    parts = {"task": (doc, "get_task_schema"), "resources": (doc["resources"], "_get_single_resources_schema")}
    for path, mount in doc["file_mounts"].items():
        parts[f"file_mounts.{path}"] = (mount, "get_storage_schema")
    for name, (part, function) in parts.items():
        unknown = set(part) - names(tree, function)
        if unknown:
            raise Fault(f"{name} has keys that SkyPilot does not know: {', '.join(sorted(unknown))}")
    for key in ("name", "setup", "run"):
        if not isinstance(doc[key], str):
            raise Fault(f"{key} is no text")


def check_job(doc):
    """Raise Fault unless a Job is what Kubernetes takes and keeps what it is for."""
    try:
        kubernetes_validate.validate(doc, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as e:
        raise Fault(str(e)) from e
    pod = doc["spec"]["template"]["spec"]
    volumes = {v["name"] for v in pod["volumes"]}
    mounts = {m["name"] for c in pod["containers"] for m in c["volumeMounts"]}
    if volumes != mounts:
        raise Fault(f"volumes are {sorted(volumes)}, and mounted are {sorted(mounts)}")


def refuses(check, doc, *args):
    """Raise Fault if a check lets a document pass."""
    try:
        check(doc, *args)
    except Fault:
        return
    raise Fault(f"{check.__name__} lets a fault pass: {doc}")


def main():
    tree = ast.parse((Path(sys.argv[1]) / "sky/utils/schemas.py").read_text())
    folder = Path(sys.argv[2])
    task = yaml.safe_load((folder / "skypilot.yaml").read_text())
    job = yaml.safe_load((folder / "job.yaml").read_text())
    check_task(task, tree)
    check_job(job)
    for part in (lambda d: d, lambda d: d["resources"], lambda d: d["file_mounts"]["/study-backup"]):
        bad = copy.deepcopy(task)
        part(bad)["nosuchkey"] = 1
        refuses(check_task, bad, tree)
    for spoil in (
        lambda d: d["spec"].update(backofLimit=1),
        lambda d: d["spec"]["template"]["spec"]["containers"][0].update(image=7),
        lambda d: d["spec"]["template"]["spec"]["volumes"].pop(),
    ):
        bad = copy.deepcopy(job)
        spoil(bad)
        refuses(check_job, bad)
    print("#!/bin/bash\n" + task["setup"] + task["run"])


if __name__ == "__main__":
    try:
        main()
    except Fault as e:
        sys.exit(f"forms: {e}")
