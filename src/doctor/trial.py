"""A trial: updates of a small network, and what ranks do together, in a process of its own.

    python3 -m src.doctor.trial REQUEST.json ANSWER.json

A process can use only one kind of device with MindSpore, so a card and the CPU that it is compared
with need a trial each. A trial that crashes or hangs does not stop the other checks.
"""

import ctypes
import dataclasses
import json
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.doctor.trial_ranks import gather_facts, run_together, sharing
from src.doctor.trial_update import try_update
from src.runtime.files import to_json, write_atomically
from src.runtime.plugins.commands import MINDSPORE_LOG_LEVEL, Answer, ask_python, without_launcher

CPU_SECONDS = 300
CARD_SECONDS = 1800  # cards newer than the plugin compile its kernels at their first start
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True)
class Request:
    """What a trial has to do.

    Attributes:
        device_id: which card; ignored with several ranks.
        cases: pairs of optimizer and precision, one update each.
        is_rank: whether this is a rank of the job that started the command.
        failures: names and texts of this rank's failed checks.
        card: unique name of the card that this rank takes; "" if unknown.
    """

    target: str
    device_id: int = 0
    cases: Sequence[Sequence[str]] = ()
    is_rank: bool = False
    failures: Sequence[Sequence[str]] = ()
    can_run: bool = True
    card: str = ""

    def facts(self) -> dict[str, Any]:
        """What the other ranks need to know of this one."""
        return {
            "host": socket.gethostname(),
            "failures": list(self.failures),
            "can_run": self.can_run,
            "card": self.card,
        }


def run_trial(request: Request, environ: Mapping[str, str]) -> tuple[Answer, dict[str, Any] | None]:
    """Runs a trial; returns what it printed, and its result, partial after a crash, or None."""
    with tempfile.TemporaryDirectory() as folder:
        input_file, output_file = Path(folder, "request.json"), Path(folder, "answer.json")
        input_file.write_text(json.dumps(dataclasses.asdict(request)), encoding="utf-8")
        environ = dict(environ) if request.is_rank else without_launcher(environ)
        environ.setdefault("GLOG_v", MINDSPORE_LOG_LEVEL)
        seconds = CPU_SECONDS if request.target == "CPU" else CARD_SECONDS
        files = str(input_file), str(output_file)
        answer = ask_python("src.doctor.trial", *files, seconds=seconds, environ=environ)
        try:
            return answer, json.loads(output_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return answer, None


def run_here(request: Request, save: Callable[[dict], None]) -> dict[str, Any]:
    """Runs a trial in this process; `save` gets the updates so far, as the next one may crash."""
    if not request.is_rank:
        return run_alone(request, save)
    from src.distributed.launch import find_launch, prepare_environment

    launch = find_launch()
    if launch.by == "mpirun":
        ranks = gather_facts(request.facts())
        if not all(rank["can_run"] for rank in ranks) or sharing(ranks):
            return {"ranks": ranks}
    prepare_environment(launch)
    return run_together(request.target, request.cases[0], request.facts(), launch)


def run_alone(request: Request, save: Callable[[dict], None]) -> dict[str, Any]:
    """The updates of one process."""
    from src.runtime.device import set_up_device, use_full_float32

    set_up_device(request.target, device_id=request.device_id)
    use_full_float32(request.target)
    answer: dict[str, Any] = {"updates": []}
    for optimizer, precision in request.cases:
        answer["updates"].append(try_update(request.target, optimizer, precision))
        save(answer)
    return answer


def main() -> None:
    # killed when the doctor ends, however it ends
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

    def save(answer: dict) -> None:
        write_atomically(Path(sys.argv[2]), to_json(answer))

    save(run_here(request, save))


if __name__ == "__main__":
    main()
