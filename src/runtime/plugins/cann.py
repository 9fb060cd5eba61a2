"""Checks of what MindSpore's plugin for Ascend cards needs, as far as possible without a card."""

import re
from collections.abc import Mapping
from pathlib import Path

from src.runtime.plugins.commands import Answer, ask
from src.runtime.plugins.findings import Finding, failed, ok
from src.runtime.plugins.software import mindspore_folder

HOMES = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")  # set by CANN's set_env.sh
OLDEST, NEWEST = (8, 2), (9, 1)  # CANN versions that MindSpore 2.10 supports
SMI_SECONDS = 30
VERSION_FILES = ("version.cfg", "opp/version.info", "compiler/version.info", "runtime/version.info")
SOURCE = "source CANN's set_env.sh (by default /usr/local/Ascend/ascend-toolkit/set_env.sh)"


def home_of(environ: Mapping[str, str]) -> Path | None:
    """CANN's folder, from its environment variables."""
    return next((Path(environ[name]) for name in HOMES if environ.get(name)), None)


def check_home(home: Path | None) -> Finding:
    """Whether CANN's variables are set and name a folder."""
    if home is None:
        return failed("CANN's folder", f"neither {' nor '.join(HOMES)} is set", SOURCE)
    if not home.is_dir():
        return failed("CANN's folder", f"{home}: no such folder", SOURCE)
    return ok("CANN's folder", str(home))


def read_version(home: Path) -> str | None:
    """CANN's version, from a file in its folder; None if there is none."""
    for name in VERSION_FILES:
        try:
            text = (home / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if match := re.search(r"(?i)version\S*\s*=\s*\[?(?:CANN[-_ ]?)?(\d+\.\d+[\w.]*)", text):
            return match.group(1)
    return None


def check_version(found: str | None) -> Finding:
    """Whether MindSpore 2.10 supports this CANN."""
    needed = f"MindSpore 2.10 needs {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    if found is None:
        return failed("CANN", f"no version file in its folder; {needed}", SOURCE)
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if OLDEST <= numbers <= NEWEST:
        return ok("CANN", found)
    return failed("CANN", f"{found}; {needed}", "install such a release")


def ask_smi(environ: Mapping[str, str]) -> Answer:
    """npu-smi's table of cards."""
    return ask(["npu-smi", "info"], seconds=SMI_SECONDS, environ=environ)


def check_cards(answer: Answer) -> Finding:
    """Whether the driver shows cards."""
    name = "npu-smi"
    if answer.problem:
        detail = "" if answer.problem == "not found" else f": {answer.last_line}"
        return failed(
            name,
            answer.problem + detail,
            "install the driver and firmware of the card; a container needs /dev/davinci* and "
            "/usr/local/Ascend/driver",
        )
    cards = re.findall(r"^\|\s*\d+\s+(\w+)\s*\|\s*(?:OK|Warning|Alarm)", answer.text, re.MULTILINE)
    if not cards:
        remedy = "restart the machine, or reinstall the card's driver and firmware"
        return failed(name, f"shows no card: {answer.last_line}", remedy)
    return ok(name, f"{len(cards)} x {cards[0]}")


def memory_of(text: str) -> int:
    """MiB of a card's memory: the largest total of npu-smi's "used / total" columns."""
    totals = re.findall(r"/\s*(\d+)\s*\|\s*$", text, re.MULTILINE)
    return max(map(int, totals), default=0)


def plugin_file() -> Path | None:
    """The plugin's library; None if MindSpore is not installed."""
    folder = mindspore_folder()
    return folder and folder / "lib" / "plugin" / "libmindspore_ascend.so.2"
