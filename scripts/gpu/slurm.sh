#!/bin/sh
# Stands in for sbatch, squeue, scancel and srun, by the name that it is called by:
# a cluster whose one node, n1, is this machine with its first GPU. FAKE_SLURM is a
# folder with all, jobs and steps in it, FAKE_GPU another GPU, or none.
D=$FAKE_SLURM
case $(basename "$0") in
sbatch)
  cat >/dev/null
  n=$(($(find "$D/all" -type f | wc -l) + 1))
  for a; do case $a in --job-name=*) name=${a#*=} ;; esac; done
  echo "$name" >"$D/all/$n"
  cp "$D/all/$n" "$D/jobs/$n"
  echo "$n"
  ;;
squeue)
  case " $* " in
  *" --steps "*)
    for f in "$D"/steps/*; do
      if [ -e "$f" ] && kill -0 "$(cat "$f")" 2>/dev/null; then basename "$f"; fi
    done
    ;;
  *)
    for f in "$D"/jobs/*; do
      if [ -e "$f" ]; then echo "$(basename "$f")|RUNNING|None|n1|8:00:00|$(cat "$f")"; fi
    done
    ;;
  esac
  ;;
scancel)
  for f in "$D/steps/$1" "$D/steps/$1".*; do
    if [ -e "$f" ]; then
      kill -9 "$(cat "$f")" 2>/dev/null
      rm -f "$f"
    fi
  done
  rm -f "$D/jobs/$1"
  ;;
srun)
  job=''
  while :; do
    case $1 in
    --jobid=*) job=${1#*=} ;;
    --*) ;;
    *) break ;;
    esac
    shift
  done
  echo $$ >"$D/steps/$job.0"
  exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$HOME" LD_LIBRARY_PATH="$LD_LIBRARY_PATH" PYTHONPYCACHEPREFIX="$PYTHONPYCACHEPREFIX" \
    SLURM_JOB_ID="$job" SLURM_STEP_ID=0 SLURMD_NODENAME=n1 CUDA_VISIBLE_DEVICES="${FAKE_GPU-0}" "$@"
  ;;
esac
