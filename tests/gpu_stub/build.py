"""Builds a CUDA that computes nothing, on which MindSpore's own GPU plugin loads.

The plugin then runs its passes, selects and builds kernels: what it refuses to compile here it
refuses on a card too. Nothing is said of numbers, of speed, and of what cuDNN would refuse.

    python -m tests.gpu_stub.build FOLDER     prints the variables that a process needs
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SOURCES = Path(__file__).parent
RUNTIME = "libcudart.so.11.0"  # holds everything; the others are names that the plugin links to
NAMES = (
    "libcublas.so.11", "libcurand.so.10", "libcudnn.so.8", "libcuda.so.1", "libcusolver.so.11",
    "libcufft.so.10", "libcusparse.so.11", "libnvrtc.so.11.2",
)  # fmt: skip
NCCL = "libnccl.so.2"
OF_CUDA = re.compile(r"(cuda|cu[A-Z]|cublas|cudnn|cufft|curand|cusolver|cusparse|nvrtc|__cuda)")
# answers as CUDA 11.6's does; STUB_NVCC_RELEASE stands for another
NVCC = """#!/bin/sh
release=${STUB_NVCC_RELEASE:-11.6}
echo "Cuda compilation tools, release $release, V$release.124"
"""


def build(folder: Path) -> dict[str, str]:
    """Builds the libraries and an nvcc in a folder; the variables of a process that uses them.

    gcc and binutils are needed. A fault is put in by the variables that the sources name, or by
    deleting a library.
    """
    (folder / "home" / "bin").mkdir(parents=True)
    nvcc = folder / "home" / "bin" / "nvcc"
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    written = folder / "cuda.o"
    gcc([SOURCES / "cuda.c"], written, "-c")
    rest = folder / "rest.c"
    rest.write_text("".join(map(definition, imported() - defined(written))))
    link(folder / RUNTIME, [written, rest])
    link(folder / NCCL, [SOURCES / "nccl.c"])
    empty = folder / "empty.c"
    empty.write_text("\n")
    for name in NAMES:
        link(folder / name, [empty])
    return {
        "CUDA_HOME": str(folder / "home"),
        "LD_LIBRARY_PATH": str(folder),
        # before what an environment for real cards has beside the plugin, which is found first
        "LD_PRELOAD": f"{folder / RUNTIME} {folder / NCCL}",
        "OMP_NUM_THREADS": "1",  # the plugin's passes compile with as many threads as it likes
    }


def definition(name: str) -> str:
    """C code of a function that does nothing and succeeds."""
    if name.startswith("__cuda"):  # what registers kernels gets a handle
        return f"void *{name}() {{ static char handle[4096]; return handle; }}\n"
    return f"int {name}() {{ return 0; }}\n"


def imported() -> set[str]:
    """Functions of CUDA's libraries that MindSpore's plugin for CUDA 11.6 imports."""
    plugin = Path(importlib.util.find_spec("mindspore").origin).parent / "lib" / "plugin"
    libraries = [plugin / "libmindspore_gpu.so.11.6", *plugin.glob("gpu11.6/*.so*")]
    libraries += plugin.glob("gpu/libcuda_ops.so.11*")
    return {name for name in symbols(libraries, "--dynamic", "--undefined-only")
            if OF_CUDA.match(name)}  # fmt: skip


def defined(library: Path) -> set[str]:
    """Functions that an object file defines."""
    return symbols([library], "--defined-only")


def symbols(files: Iterable[Path], *options: str) -> set[str]:
    """Names that nm lists, without versions."""
    output = subprocess.run(
        ["nm", *options, *map(str, files)], check=True, capture_output=True, text=True
    ).stdout
    return {words[-1].partition("@")[0] for line in output.splitlines()
            if len(words := line.split()) >= 2}  # fmt: skip


def link(library: Path, sources: Iterable[Path]) -> None:
    """Makes a shared library of sources or object files, known by its file's name."""
    gcc(sources, library, "-shared", f"-Wl,-soname,{library.name}")


def gcc(sources: Iterable[Path], output: Path, *options: str) -> None:
    """Compiles; -w since the parameters of stubs are not used."""
    subprocess.run(
        ["gcc", "-fPIC", "-w", *options, *map(str, sources), "-o", str(output)], check=True
    )


def main() -> None:
    folder = Path(sys.argv[1])
    for name, value in build(folder).items():
        print(f"export {name}={value}")


if __name__ == "__main__":
    main()
