"""Sets the CUDA that MindSpore uses. Every program imports this, so it imports nothing slow."""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path


def own_cuda(prefix: str | None = None) -> Path:
    """The CUDA folder of a Python environment (sys.prefix by default), which may not exist."""
    return Path(prefix or sys.prefix) / "cuda"


def use_own_cuda(
    environ: MutableMapping[str, str] | None = None, prefix: str | None = None
) -> None:
    """Sets CUDA_HOME to `own_cuda` if that exists and CUDA_HOME is not set.

    MindSpore reads it when it is imported, and loads its GPU plugin only if `$CUDA_HOME/bin/nvcc`
    prints a release it supports. `src.runtime.plugins.cuda_libraries` writes that file.
    """
    environ = os.environ if environ is None else environ
    home = own_cuda(prefix)
    if not environ.get("CUDA_HOME") and (home / "bin" / "nvcc").is_file():
        environ["CUDA_HOME"] = str(home)
