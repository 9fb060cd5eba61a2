#!/usr/bin/env bash
# Trains with several ranks, on this machine or on several; docs/distributed.md says more.
# usage: bash scripts/run_distribute_train.sh --devices N --config FILE [OPTIONS] [-- FLAGS OF train.py]
#   --devices N             ranks in all, one for each device
#   --config FILE           recipe
#   --launcher mpirun|msrun default mpirun
#   --hostfile FILE         machines, a line "name slots=N" each; default this machine alone
#   --node_rank K           msrun: which line of the host file this machine is, from 0
#   --port P                msrun: of its scheduler, on the first machine; default a free one
#   --log_dir DIR           a log for each rank; default log_output/DATE-TIME
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
[[ $devices =~ ^[1-9][0-9]*$ ]] || bad_usage "--devices is '$devices'; expected how many ranks"
[ -z "$hostfile" ] || [ -f "$hostfile" ] || bad_usage "$hostfile: no such file; check --hostfile"
train=(train.py --run_distribute=True --device_num="$devices" --config_path="$config" "${flags[@]}")

with_mpirun() {
  local mpirun variable options=()
  mpirun=$(command -v mpirun) || { echo "error: no mpirun in PATH; install Open MPI 4" >&2; exit 1; }
  [ "$(id -u)" != 0 ] || options+=(--allow-run-as-root)
  # this machine alone: as many ranks as asked for, whatever it has of cores
  if [ -n "$hostfile" ]; then options+=(--hostfile "$hostfile"); else options+=(--oversubscribe); fi
  for variable in $(compgen -e | grep -E '^(NCCL|HCCL)_'); do options+=(-x "$variable"); done
  # data workers need cores of their own, so ranks are not bound to one
  run_job "$mpirun" -n "$devices" "${options[@]}" --bind-to none --output-filename "$log_dir" \
    --merge-stderr-to-stdout "$PYTHON" "${train[@]}"
}

with_msrun() {
  local master=127.0.0.1 here=$devices
  if [ -n "$hostfile" ]; then read_hosts; fi
  [ -n "$port" ] || port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0))
print(s.getsockname()[1])')
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
  fi
  exit "$status"
}

# asks the ranks to save and leave; at the second time, ends the job
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
