"""The checks of software, drivers and cards, before any computing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.doctor import memory
from src.doctor.machine import local_size
from src.runtime.plugins import cann, cuda, plugin, software
from src.runtime.plugins.findings import Finding
from src.runtime.plugins.nvidia_cards import card_of, read_cards, taken_cards

if TYPE_CHECKING:
    from src.doctor.checkup import Checkup


def check_software() -> list[Finding]:
    """Python and its packages."""
    return [
        software.check_python(),
        software.check_mindspore(software.installed("mindspore")),
        software.check_numpy(software.installed("numpy")),
    ]


def check_device(checkup: Checkup, target: str) -> bool:
    """Checks driver, libraries and MindSpore's plugin; whether there is a card to run on."""
    (check_cuda if target == "GPU" else check_cann)(checkup)
    answer, found = plugin.ask_mindspore(target, checkup.environ)
    checkup.raw["MindSpore's plugin"] = answer.text
    checkup.add([plugin.check_available(target, answer, found), plugin.check_count(found)])
    checkup.add([memory.check_config_memory(checkup.cfg, checkup.card_bytes, checkup.environ)])
    return found is not None and found.can_run


def check_cuda(checkup: Checkup) -> None:
    """NVIDIA's driver, CUDA and cuDNN."""
    environ, launch = checkup.environ, checkup.launch
    here = local_size(launch, environ)
    smi = cuda.ask_smi(environ)
    cards = read_cards(smi.text)
    taken = taken_cards(cards, environ, device_id=checkup.cfg.device_id, ranks=launch.size)
    checkup.card_bytes = min((card.memory for card in taken if card.memory), default=0) << 20
    checkup.card = card_of(cards, environ, launch.local_rank)
    release, reason = cuda.release_of(environ)
    kind = cuda.plugin_for(release)
    checkup.add([cuda.check_cards(smi, cards), cuda.check_driver(taken or cards, kind, here)])
    checkup.add([cuda.check_visible(len(cards), here, environ)])
    checkup.add([cuda.check_nvcc(release, reason, environ.get("CUDA_HOME", ""))])
    file = cuda.plugin_file(kind)
    libraries, problem = cuda.linked(file, environ) if file else ({}, "MindSpore is not installed")
    checkup.add([cuda.check_libraries(libraries, problem, kind)])
    path = libraries.get("libcudnn.so.8")
    version = cuda.ask_cudnn(path, environ) if path else None
    checkup.add([cuda.check_cudnn(path, version, taken or cards)])


def check_cann(checkup: Checkup) -> None:
    """The Ascend's driver and CANN."""
    home = cann.home_of(checkup.environ)
    smi = cann.ask_smi(checkup.environ)
    checkup.card_bytes = cann.memory_of(smi.text) << 20
    checkup.add([cann.check_cards(smi), cann.check_home(home)])
    if home is not None and home.is_dir():
        checkup.add([cann.check_version(cann.read_version(home))])
    file = cann.plugin_file()
    libraries, problem = cuda.linked(file, checkup.environ) if file else ({}, "no MindSpore here")
    checkup.add([cuda.check_libraries(libraries, problem, "Ascend", cann.SOURCE)])
