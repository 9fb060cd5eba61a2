"""Whether what a device computes is right: its updates against the CPU's, and sums over ranks."""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from src.command import MINDSPORE_LOG_LEVEL
from src.data.problems import count
from src.doctor.commands import Answer, ask_python, without_launcher
from src.doctor.findings import Finding, failed, ok, skipped
from src.doctor.trial import (
    GRADIENT_FLOATS,
    OPTIMIZERS,
    PRECISIONS,
    Request,
    to_request,
)

# Largest relative difference of loss and norm from the CPU's in float32. Emulated on a CPU, float16
# is 0.1 % away; float32 by another order of adding up is some 1e-6 away, TF32 some 1e-3.
TOLERANCES = {"float32": 1e-3, "float16": 1e-2}
FALL_TOLERANCE = 0.1  # of a loss's fall from what the gradients say, to first order
REFERENCE_SECONDS = 300
CARD_SECONDS = 1800  # cards newer than the plugin compile its kernels at their first start
CPU_REMEDY = "unset ONEDNN_MAX_CPU_ISA; are MindSpore and NumPy those of requirements.txt?"
NUMBERS = {"loss": "loss", "norm": "gradient norm", "after": "loss after the update"}

Answers = Optional[dict[str, Any]]


def cases(target: str) -> list[tuple[str, str]]:
    """Pairs of optimizer and precision that are tried; a CPU only emulates float16."""
    precisions = PRECISIONS[:1] if target == "CPU" else PRECISIONS
    return [(optimizer, precision) for precision in precisions for optimizer in OPTIMIZERS]


def try_out(request: Request, seconds: float, environ: Mapping[str, str]) -> tuple[Answer, Answers]:
    """A trial in a process of its own; its answer is of what was done where it crashed.

    Args:
        environ: of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(to_request(request), encoding="utf-8")
        environ = dict(environ) if request.is_rank else without_launcher(environ)
        environ.setdefault("GLOG_v", MINDSPORE_LOG_LEVEL)
        answer = ask_python(
            "src.doctor.trial", str(asked), str(answered), seconds=seconds, environ=environ
        )
        try:
            return answer, json.loads(answered.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return answer, None


def limit(target: str) -> float:
    """Seconds that a trial may take."""
    return REFERENCE_SECONDS if target == "CPU" else CARD_SECONDS


def reference(environ: Mapping[str, str]) -> tuple[Answer, Answers]:
    """The CPU's updates, in float32."""
    return try_out(Request("CPU", cases=cases("CPU")), REFERENCE_SECONDS, environ)


def by_case(done: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Updates by optimizer and precision."""
    return {(update["optimizer"], update["precision"]): update for update in done}


def check_updates(
    asked: Sequence[tuple[str, str]], answer: Answer, done: Answers, expected: Answers
) -> list[Finding]:
    """A finding for each case.

    Args:
        asked: pairs of optimizer and precision.
        answer, done: of the trial on the device.
        expected: of `reference`; None for CPU, which is compared with none.
    """
    own = by_case((done or {}).get("updates", []))
    wanted = None if expected is None else by_case(expected.get("updates", []))
    findings: list[Finding] = []
    is_over = False
    for case in asked:
        name = f"{case[0]}, {case[1]}"
        if is_over:
            findings.append(skipped(name, "the one before did not end"))
        elif case in own:
            findings.append(check_update(name, own[case], wanted))
        else:
            is_over = True
            findings.append(crash(name, answer))
    return findings


def crash(name: str, answer: Answer) -> Finding:
    """What is told of a trial that ended without its answer."""
    told = f"{answer.problem or 'no answer'}: {answer.reason}"
    remedy = "run it again with GLOG_v=1 for MindSpore's own log; do the versions above fit?"
    return failed(name, f"the process that makes the update {told}", remedy)


def check_update(
    name: str, own: Mapping[str, Any], wanted: Optional[Mapping[tuple[str, str], Mapping]]
) -> Finding:
    """An update against the CPU's, or on a CPU against what its gradients say of its loss."""
    if "error" in own:
        remedy = "python3 -m src.doctor --report FILE, and report it"
        return failed(name, own["error"], remedy)
    told = f"loss {shown(own['loss'])}, gradient norm {shown(own['norm'])}"
    if wanted is None:
        return check_fall(name, own, told)
    return check_against(name, own, wanted.get((own["optimizer"], "float32")), told)


def check_against(
    name: str, own: Mapping[str, Any], wanted: Optional[Mapping[str, Any]], told: str
) -> Finding:
    """An update on a card against the CPU's; None where that did not end."""
    if wanted is None or "error" in wanted:
        reason = wanted["error"] if wanted else "it did not end"
        remedy = "python3 -m src.doctor, without a device, looks at the CPU alone"
        return failed(name, f"{told}; the CPU's, to compare with: {reason}", remedy)
    limit = TOLERANCES[own["precision"]]
    differences = {key: difference(own[key], wanted[key]) for key in NUMBERS}
    key = max(differences, key=differences.get)
    if differences[key] <= limit:
        return ok(name, f"{told}; {differences[key]:.1g} from the CPU's, {limit:g} is allowed")
    return failed(
        name,
        f"{NUMBERS[key]} {shown(own[key])}, on the CPU {shown(wanted[key])}: they differ by "
        f"{differences[key]:.2g}, {limit:g} is allowed",
        "do not train on it: unset NVIDIA_TF32_OVERRIDE, update the driver, try another card",
    )


def check_fall(name: str, own: Mapping[str, Any], told: str) -> Finding:
    """An update without another device to compare with: its loss falls by rate x norm^2.

    That is for momentum; of AdamW it is known that it falls.
    """
    numbers = [own[key] for key in NUMBERS]
    is_finite = all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers)
    fall = own["loss"] - own["after"] if is_finite else math.nan
    expected = own["rate"] * own["norm"] ** 2 if is_finite else math.nan
    is_right = fall > 0
    if own["optimizer"] == "momentum":
        is_right = abs(fall - expected) <= FALL_TOLERANCE * expected
        told += f"; it falls by {shown(fall)}, by the gradients {shown(expected)}"
    else:
        told += f"; it falls by {shown(fall)}"
    if is_right:
        return ok(name, told)
    return failed(name, told, CPU_REMEDY)


def difference(own: Optional[float], wanted: Optional[float]) -> float:
    """Relative difference; infinite where one is no number."""
    if own is None or wanted is None or not math.isfinite(own):
        return math.inf
    return abs(own - wanted) / max(abs(wanted), 1e-12)


def shown(number: Optional[float]) -> str:
    """A number for people; what json could not hold was not finite."""
    return "nan or infinite" if number is None or not math.isfinite(number) else f"{number:.4g}"


def check_ranks(answer: Answer, done: Answers) -> list[Finding]:
    """What the ranks of a job found together."""
    if done is None or "ranks" not in done:
        limit = "see 'When a rank fails' in docs/distributed.md"
        return [failed("ranks meet", f"no: {answer.problem}: {answer.reason}", limit)]
    found = [check_failures(done["ranks"])]
    if "transport" not in done:
        return [*found, skipped("sum over ranks", "a rank has no device to run on")]
    wrong = [rank for rank, number in enumerate(done["wrong_sums"]) if number]
    through = f"{len(done['ranks'])} ranks, {done['transport']}"
    advice = "NCCL_DEBUG=INFO tells NCCL's choices; try NCCL_P2P_DISABLE=1 and NCCL_SHM_DISABLE=1"
    if wrong:
        found.append(failed("sum over ranks", f"not exact on ranks {wrong}; {through}", advice))
    else:
        found.append(ok("sum over ranks", f"exact; {through}"))
    seconds = done["sum_seconds"]
    size = 4 * GRADIENT_FLOATS / 1e6
    found.append(ok("time of a sum", f"{size:.0f} MB in {1000 * seconds:.0f} ms"))
    if done["differing"]:
        found.append(failed("ranks equal", done["differing"], advice))
    else:
        found.append(ok("ranks equal", "to the last bit after updates with images of their own"))
    return found


def check_failures(ranks: Sequence[Mapping[str, Any]]) -> Finding:
    """What the other ranks' own checks found."""
    hosts = len({rank["host"] for rank in ranks})
    told = f"{count(len(ranks), 'rank')} on {count(hosts, 'machine')}"
    lines = [
        f"rank {number}: {name}: {text}"
        for number, rank in enumerate(ranks)
        for name, text in rank["failures"]
        if number
    ]
    if not lines:
        return ok("ranks meet", told)
    remedy = "run the doctor on that machine for what to do"
    return failed("ranks meet", "\n".join([f"{told}; what fails on others:", *lines]), remedy)
