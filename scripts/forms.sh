#!/usr/bin/env bash
# Checks the example files of docs/cluster.md for form, as far as that can be
# done offline: the Kubernetes Job by Kubernetes' schemas, the SkyPilot task by
# the keys of SkyPilot's own, their shell text and the sbatch file by shellcheck.
# scripts/test.sh slurm shows the sbatch file to a real Slurm.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$root/scripts/tools.sh"
need shellcheck shellcheck
# shellcheck source=/dev/null
. "$build/env"
packages_venv forms kubernetes-validate==1.37.0

wanted="skypilot==0.14.1"
sky=$build/forms-sky
if [ "$(cat "$sky/wanted" 2>/dev/null)" != "$wanted" ]; then
  say "fetching SkyPilot's schemas into .build/forms-sky"
  rm -rf "$sky"
  "$build/tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$sky" "$wanted"
  echo "$wanted" >"$sky/wanted"
fi

files=$root/scripts/examples/cluster
"$build/forms/bin/python" "$root/scripts/forms.py" "$sky" "$files" >"$build/forms.bash"
shellcheck --shell bash "$build/forms.bash"
# A function that only a trap calls looks unreachable to it.
shellcheck --shell bash --exclude SC2317 "$files/slurm.sbatch"
bash -n "$files/slurm.sbatch"
