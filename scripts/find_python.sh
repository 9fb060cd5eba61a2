# Chooses the interpreter; `source` it from a script. Leaves PYTHON: the one of an active environment,
# else that of .venv, else python3. Its programs come first in PATH.
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x .venv/bin/python ]; then
  export PATH="$PWD/.venv/bin:$PATH"
fi
PYTHON=$(command -v python3) || { echo "error: no python3; run scripts/run_demo.sh once" >&2; exit 1; }
