"""Whether MindSpore finds cards of a kind.

    python3 -m src.runtime.plugins.plugin GPU

prints it as JSON. It runs in a separate process, since loading a plugin may crash or hang.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from src.runtime.plugins import cann, cuda
from src.runtime.plugins.commands import MINDSPORE_LOG_LEVEL, Answer, ask_python, without_launcher
from src.runtime.plugins.findings import Finding, failed, ok, skipped

PROBE_SECONDS = 180  # for MindSpore's import from a cold disk
ERROR_LINES = 4  # of MindSpore's own error
# if the plugin is not loaded and the earlier checks do not say why
REMEDIES = {"GPU": cuda.INSTALL, "Ascend": cann.SOURCE}
LOADING = "Load dynamic library"  # starts each line of a loading error


@dataclass(frozen=True)
class Probe:
    """What MindSpore finds.

    Attributes:
        is_available: whether the plugin is loaded.
        count: number of cards.
        error: why the plugin is not loaded, or why it finds no card; its own text.
    """

    is_available: bool
    count: int
    error: str

    @property
    def can_run(self) -> bool:
        """Whether there is a card to run on."""
        return self.is_available and self.count > 0


def probe(target: str) -> Probe:
    """Imports MindSpore and looks for GPU or Ascend cards."""
    import mindspore as ms
    from mindspore._c_expression import MSContext

    device = {"GPU": ms.device_context.gpu, "Ascend": ms.device_context.ascend}[target]
    if not device.is_available():
        return Probe(False, 0, MSContext.get_instance().load_plugin_error())
    try:
        return Probe(True, int(device.device_count()), "")
    except RuntimeError as error:
        return Probe(True, 0, without_trace(str(error)))


def without_trace(error: str) -> str:
    """MindSpore's error without frames and call stack."""
    text = error.partition("C++ Call Stack")[0]
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line.strip("- ") and not line.startswith("- "))


def why_none(target: str, error: str) -> str:
    """Why MindSpore has no card of a kind, on one line.

    `error` is its `load_plugin_error`, which is that of all plugins, or that of counting cards.
    """
    if error and LOADING not in error:  # from counting
        return error.splitlines()[0]
    own = re.search(rf"libmindspore_{target.lower()}\S* failed\.\s*(.+)", error)
    return own[1].strip() if own else "it has not loaded its plugin"


def check_available(target: str, answer: Answer, found: Probe | None) -> Finding:
    """Whether MindSpore has loaded its plugin."""
    name = "MindSpore's plugin"
    if found is None:
        return failed(
            name, f"the process that loads MindSpore: {answer.problem}\n{answer.reason}",
            "run python3 -c 'import mindspore'; if that fails too, "
            "pip install --force-reinstall -r requirements.txt",
        )  # fmt: skip
    if found.is_available:
        return ok(name, f"loaded for {target}")
    of_target = f"mindspore_{target.lower()}"
    own = [line for line in found.error.splitlines() if of_target in line]
    reason = "\n".join(own[:ERROR_LINES]) or "not tried: see the checks above"
    return failed(name, f"not loaded for {target}\n{reason}", REMEDIES[target])


def check_count(found: Probe | None) -> Finding:
    """Whether the plugin sees cards."""
    name = "cards it sees"
    if found is None or not found.is_available:
        return skipped(name, "its plugin is not loaded")
    if found.count:
        return ok(name, str(found.count))
    reason = "\n".join(found.error.splitlines()[:ERROR_LINES])
    return failed(
        name,
        f"none\n{reason}".rstrip(),
        "unset CUDA_VISIBLE_DEVICES or ASCEND_RT_VISIBLE_DEVICES, or name an existing card; "
        "start a container with its cards (--gpus all)",
    )


def ask_mindspore(target: str, environ: Mapping[str, str]) -> tuple[Answer, Probe | None]:
    """`probe` in a separate process; None if it fails."""
    answer, found = ask_json("src.runtime.plugins.plugin", target, environ=environ)
    try:
        return answer, Probe(**found)
    except TypeError:
        return answer, None


def ask_json(
    module: str, *arguments: str, environ: Mapping[str, str]
) -> tuple[Answer, dict | None]:
    """Runs a module that imports MindSpore; returns the JSON in its last line, or None."""
    environ = {"GLOG_v": MINDSPORE_LOG_LEVEL, **without_launcher(environ)}
    answer = ask_python(module, *arguments, seconds=PROBE_SECONDS, environ=environ)
    try:
        return answer, None if answer.problem else json.loads(answer.last_line)
    except ValueError:
        return answer, None


def main() -> None:
    print(json.dumps(asdict(probe(sys.argv[1]))))


if __name__ == "__main__":
    main()
