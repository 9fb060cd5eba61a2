"""Which CUDA MindSpore is told of; it imports nothing slow, as every program starts with it."""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path


def own_cuda(prefix: str | None = None) -> Path:
    """Where a Python environment has its CUDA, if it has one; sys.prefix by default."""
    return Path(prefix or sys.prefix) / "cuda"


def use_own_cuda(
    environ: MutableMapping[str, str] | None = None, prefix: str | None = None
) -> None:
    """Sets CUDA_HOME to the environment's own CUDA, if it has one and nothing is set.

    MindSpore reads it when it is imported, and loads its GPU plugin only if `$CUDA_HOME/bin/nvcc`
    tells a release it knows. `src.runtime.plugins.cuda_libraries` puts that file there.

    Args:
        environ: os.environ by default.
        prefix: the environment's folder; sys.prefix by default.
    """
    environ = os.environ if environ is None else environ
    home = own_cuda(prefix)
    if not environ.get("CUDA_HOME") and (home / "bin" / "nvcc").is_file():
        environ["CUDA_HOME"] = str(home)
