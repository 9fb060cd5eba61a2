"""Checks of what MindSpore's plugin for NVIDIA cards needs: driver, CUDA 11, cuDNN 8."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.runtime.plugins.commands import Answer, ask
from src.runtime.plugins.findings import Finding, failed, ok, skipped
from src.runtime.plugins.nvidia_cards import SMI_QUERY, Card, entries_of
from src.runtime.plugins.software import mindspore_folder
from src.runtime.text import count

SMI_SECONDS, NVCC_SECONDS, LDD_SECONDS, CUDNN_SECONDS = 30, 10, 30, 60
OLDEST, NEWEST = (11, 1), (11, 8)  # releases of nvcc that MindSpore accepts
PLUGIN_11_6 = (11, 6)  # from this release on it loads the plugin for 11.6, else that for 11.1
CUDNN_MAJOR = 8
CUDNN_OF_HOPPER = (8, 6)
BUSY_SHARE = 0.1  # of a card's memory; more in use by others is reported
INSTALL = "bash scripts/setup.sh --gpu, which installs CUDA 11.8 and cuDNN 8.9 from pip"
OLDEST_DRIVER = "450.80.02"  # runs machine code of any CUDA 11 (minor-version compatibility)
# a driver compiles PTX of its own release of CUDA and of older ones; the first driver of each
DRIVER_FOR_PTX = {"11.1": "455.23", "11.6": "510.39"}
PASCAL = re.compile(r"\b(P100|P40|P6|P4|GTX 10\d\d|TITAN Xp?)\b")
HOPPER = re.compile(r"\b(H100|H200|H800|H20|GH200)\b")


def ask_smi(environ: Mapping[str, str]) -> Answer:
    """nvidia-smi's output, one line per card."""
    query = ["nvidia-smi", f"--query-gpu={SMI_QUERY}", "--format=csv,noheader,nounits"]
    return ask(query, seconds=SMI_SECONDS, environ=environ)


def check_cards(answer: Answer, cards: Sequence[Card]) -> Finding:
    """How many cards the driver shows, and of which kind."""
    name = "nvidia-smi"
    if answer.problem == "not found":
        remedy = "install NVIDIA's driver; start a container with --gpus all"
        return failed(name, "not found", remedy)
    if answer.problem or not cards:
        return failed(
            name,
            f"{answer.problem or 'no cards'}: {answer.last_line}",
            "restart the machine, which loads the driver's module again; if that does not help, "
            "reinstall the driver; start a container with --gpus all",
        )
    kinds = sorted({card.kind for card in cards})
    found = ", ".join(f"{sum(card.kind == kind for card in cards)} x {kind}" for kind in kinds)
    busy = [i for i, card in enumerate(cards) if card.used > BUSY_SHARE * card.memory]
    if busy:
        found += f"; in use by others: {', '.join(map(str, busy))}"
    return ok(name, found)


def check_driver(cards: Sequence[Card], plugin: str, ranks: int) -> Finding:
    """Whether the driver is new enough for each card, see `oldest_driver`.

    `plugin` is the CUDA of MindSpore's plugin, "11.1" or "11.6"; `ranks` are on this machine.
    """
    if not cards:
        return skipped("driver", "nvidia-smi shows no card")
    needed = [oldest_driver(card.name, plugin=plugin, ranks=ranks) for card in cards]
    oldest, purpose = max(needed, key=lambda pair: numbers(pair[0]))
    found = f"{cards[0].driver}; {oldest} or newer is needed {purpose}"
    if numbers(cards[0].driver) >= numbers(oldest):
        return ok("driver", found)
    return failed("driver", found, f"install a driver of {oldest} or newer")


def numbers(version: str) -> tuple[int, ...]:
    """A version as comparable numbers: (450, 80, 2) for 450.80.02."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def oldest_driver(card: str, *, plugin: str, ranks: int) -> tuple[str, str]:
    """The oldest driver that a card of this name needs, and why.

    The plugin's kernels have machine code for Pascal to Ada, its NCCL for Pascal only. A single
    rank needs no NCCL.
    """
    if HOPPER.search(card):
        return DRIVER_FOR_PTX[plugin], f"for {card}, for which it compiles PTX of CUDA {plugin}"
    if ranks > 1 and not PASCAL.search(card):
        return DRIVER_FOR_PTX[plugin], f"for several ranks: it compiles NCCL's PTX of CUDA {plugin}"
    return OLDEST_DRIVER, "for CUDA 11"


def check_visible(cards: int, local_ranks: int, environ: Mapping[str, str]) -> Finding:
    """Whether CUDA_VISIBLE_DEVICES leaves one of the `cards` for each rank of this machine."""
    name, value = "cards and ranks", environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        visible, setting = cards, "CUDA_VISIBLE_DEVICES is not set"
        if not cards:
            return skipped(name, "nvidia-smi shows no card")
    else:
        entries = entries_of(environ) or []
        setting = f"CUDA_VISIBLE_DEVICES is {value!r}"
        wrong = [e for e in entries if e.lstrip("-").isdigit() and not 0 <= int(e) < max(cards, 1)]
        if not entries or (wrong and cards):
            there = f"the machine has {cards}, from 0" if cards else "no card is named"
            return failed(name, f"{setting}, but {there}", "unset it, or name existing cards")
        visible = len(entries)
    if visible >= local_ranks or (visible == 1 and value is not None):  # each rank sees its own
        return ok(name, f"{setting}; {visible} for {count(local_ranks, 'rank')}")
    return failed(
        name,
        f"{setting}; {visible} for {local_ranks} ranks on this machine",
        f"start {visible} ranks here (mpirun -n {visible}), or let them see more cards",
    )


def release_of(environ: Mapping[str, str]) -> tuple[tuple[int, int] | None, str]:
    """The release of nvcc in CUDA_HOME, which MindSpore asks for; or None and the reason."""
    home = environ.get("CUDA_HOME")
    if not home:
        return None, "CUDA_HOME is not set"
    nvcc = Path(home) / "bin" / "nvcc"
    answer = ask([str(nvcc), "--version"], seconds=NVCC_SECONDS, environ=environ)
    if answer.problem:
        return None, f"CUDA_HOME is {home}, and bin/nvcc in it: {answer.problem}"
    match = re.search(r"release (\d+)\.(\d+)", answer.text)
    if not match:
        return None, f"{nvcc} prints no release: {answer.last_line}"
    return (int(match.group(1)), int(match.group(2))), ""


def check_nvcc(release: tuple[int, int] | None, reason: str, home: str) -> Finding:
    """Whether MindSpore loads its plugin with nvcc's release."""
    name = "CUDA_HOME, nvcc"
    if release is None:
        return failed(name, reason, f"set CUDA_HOME to the folder of CUDA 11.6, or: {INSTALL}")
    found = f"CUDA {release[0]}.{release[1]} in {home}"
    if OLDEST <= release <= NEWEST:
        return ok(name, f"{found}: the plugin for {plugin_for(release)}")
    return failed(
        name,
        f"{found}; MindSpore 2.10 needs 11.1 to 11.8",
        f"install CUDA 11.6 beside it, which newer drivers run, and set CUDA_HOME; or: {INSTALL}",
    )


def plugin_for(release: tuple[int, int] | None) -> str:
    """The plugin that MindSpore loads for a release of nvcc."""
    return "11.6" if release is None or release >= PLUGIN_11_6 else "11.1"


def plugin_file(plugin: str) -> Path | None:
    """The plugin's library; None if MindSpore is not installed."""
    folder = mindspore_folder()
    return folder and folder / "lib" / "plugin" / f"libmindspore_gpu.so.{plugin}"


def linked(library: Path, environ: Mapping[str, str]) -> tuple[dict[str, str | None], str]:
    """The libraries that `library` is linked to, and their paths; None for those not found.

    The second value is an error message, or "".
    """
    answer = ask(["ldd", str(library)], seconds=LDD_SECONDS, environ=environ)
    if answer.problem:
        return {}, f"ldd {answer.problem}: {answer.last_line}"
    found = {}
    for line in answer.text.splitlines():
        if match := re.match(r"\s*(\S+) => (not found|\S+)", line):
            found[match.group(1)] = None if match.group(2) == "not found" else match.group(2)
    return found, ""


def mixed_in(plugin: Path, environ: Mapping[str, str]) -> str:
    """A hint at folders in LD_LIBRARY_PATH with libraries that the plugin has links to; or "".

    The plugin loads its links, see cuda_libraries.py, but LD_LIBRARY_PATH is searched before them
    for what these load themselves.
    """
    links = {path.name for path in plugin.parent.glob("gpu*/*.so.*") if path.is_symlink()}
    folders = filter(None, environ.get("LD_LIBRARY_PATH", "").split(":"))
    found = [folder for folder in folders if any(Path(folder, name).exists() for name in links)]
    if not found:
        return ""
    return (
        f"LD_LIBRARY_PATH has {', '.join(found)}, whose libraries may be mixed with those of pip: "
        "remove it if cuDNN or cuBLAS fail"
    )


def check_libraries(
    libraries: Mapping[str, str | None],
    problem: str,
    plugin: str,
    remedy: str = "",
    *,
    mixed: str = "",
) -> Finding:
    """Whether the linker finds the libraries of the plugin; for `mixed` see `mixed_in`."""
    name = "its libraries"
    if problem:
        return skipped(name, problem)
    missing = sorted(library for library, path in libraries.items() if path is None)
    if not missing:
        found = f"all that the plugin for {plugin} is linked to are found"
        return ok(name, f"{found}; {mixed}" if mixed else found)
    if missing == ["libcuda.so.1"]:
        remedy = "it comes with NVIDIA's driver; start a container with --gpus all"
    return failed(
        name,
        f"not found for the plugin for {plugin}: {', '.join(missing)}",
        remedy or f"add their folder to LD_LIBRARY_PATH before the start, or: {INSTALL}",
    )


def ask_cudnn(path: str, environ: Mapping[str, str]) -> Answer:
    """The version number that a cuDNN library returns, 8906 for 8.9.6."""
    code = f"import ctypes; print(ctypes.CDLL({path!r}).cudnnGetVersion())"
    return ask([sys.executable, "-c", code], seconds=CUDNN_SECONDS, environ=environ)


def check_cudnn(path: str | None, answer: Answer | None, cards: Sequence[Card]) -> Finding:
    """Whether cuDNN has the version that the plugin and the card need.

    `path` is that of libcudnn.so.8, None if the linker does not find it; `answer` is `ask_cudnn`'s.
    """
    if path is None or answer is None:
        return skipped("cuDNN", f"no libcudnn.so.{CUDNN_MAJOR} is found")
    number = answer.last_line
    if answer.problem or not number.isdigit() or int(number) < 1000:
        reason = number if answer.problem else f"version {number}"
        return failed("cuDNN", f"{path} gives no version: {reason}", INSTALL)
    version = (int(number) // 1000, int(number) % 1000 // 100)
    found = f"{version[0]}.{version[1]}"
    if version[0] != CUDNN_MAJOR:
        return failed("cuDNN", f"{found}; expected {CUDNN_MAJOR}", INSTALL)
    hopper = [card.name for card in cards if HOPPER.search(card.name)]
    if hopper and version < CUDNN_OF_HOPPER:
        return failed("cuDNN", f"{found}; {hopper[0]} needs 8.6 or newer", INSTALL)
    return ok("cuDNN", found)
