"""Whether what a device computes is right: its updates against the CPU's, and sums over ranks."""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.doctor.trial import (
    GRADIENT_FLOATS,
    OPTIMIZERS,
    PRECISIONS,
    Request,
    sharing,
    to_request,
)
from src.runtime.plugins.commands import MINDSPORE_LOG_LEVEL, Answer, ask_python, without_launcher
from src.runtime.plugins.findings import Finding, failed, ok, skipped
from src.runtime.text import count

# Largest relative difference of loss and gradient norm from the CPU's in float32. On an H200
# (docs/gpu.md) float32 was 1e-5 away, float16 with norms in float32 0.02 % in the loss and 0.12 %
# in the gradient norm; norms in float16, whose gradients are wrong, gave 8 times the norm.
TOLERANCES = {"float32": 1e-3, "float16": 1e-2}
# of what an update takes from the loss, which tells whether it did anything
FALL_TOLERANCES = {"float32": 0.1, "float16": 0.2}
FIRST_ORDER = 0.1  # of that fall from what the gradients say, to first order
REFERENCE_SECONDS = 300
CARD_SECONDS = 1800  # cards newer than the plugin compile its kernels at their first start
LOST_REMEDY = (
    "read what ranks printed above, and run the doctor with one rank on each machine; see also "
    "'When a rank fails' in docs/distributed.md"
)
CPU_REMEDY = "unset ONEDNN_MAX_CPU_ISA; pip install -r requirements.txt"
NUMBERS = ("loss", "norm", "after")

Answers = dict[str, Any] | None


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
    remedy = (
        "mend what failed above; if nothing did, set GLOG_v=1, run the doctor again with --report "
        "FILE, and report it: FILE has MindSpore's own log"
    )
    return failed(name, f"the process that makes the update {told}", remedy)


def check_update(
    name: str, own: Mapping[str, Any], wanted: Mapping[tuple[str, str], Mapping] | None
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
    name: str, own: Mapping[str, Any], wanted: Mapping[str, Any] | None, told: str
) -> Finding:
    """An update on a card against the CPU's; None where that did not end."""
    if wanted is None or "error" in wanted:
        reason = wanted["error"] if wanted else "it did not end"
        remedy = "run python3 -m src.doctor --device_target=CPU, and do what it says"
        return failed(name, f"{told}; the CPU's, to compare with: {reason}", remedy)
    tolerance = TOLERANCES[own["precision"]]
    compared = [
        ("loss", own["loss"], wanted["loss"], tolerance),
        ("gradient norm", own["norm"], wanted["norm"], tolerance),
        ("fall of the loss", fall(own), fall(wanted), FALL_TOLERANCES[own["precision"]]),
    ]
    what, found, right, allowed = max(compared, key=lambda c: difference(c[1], c[2]) / c[3])
    away = difference(found, right)
    if away <= allowed:
        return ok(name, f"{told}; the {what} is {away:.1g} from the CPU's, {allowed:g} is allowed")
    return failed(
        name,
        f"{what} {shown(found)}, on the CPU {shown(right)}: they differ by {away:.2g}, {allowed:g} "
        "is allowed",
        "do not train on it: unset NVIDIA_TF32_OVERRIDE, update the driver, try another card",
    )


def fall(update: Mapping[str, Any]) -> float | None:
    """What an update took from the loss of its batch; None where that is no number."""
    if not all(is_number(update[key]) for key in NUMBERS):
        return None
    return update["loss"] - update["after"]


def check_fall(name: str, own: Mapping[str, Any], told: str) -> Finding:
    """An update without another device to compare with: its loss falls by rate x norm^2.

    That is for momentum; of AdamW it is known that it falls.
    """
    found = fall(own)
    told += f"; it falls by {shown(found)}"
    if own["optimizer"] == "momentum" and found is not None:
        expected = own["rate"] * own["norm"] ** 2
        told += f", by the gradients {shown(expected)}"
        is_right = difference(found, expected) <= FIRST_ORDER
    else:
        is_right = found is not None and found > 0
    return ok(name, told) if is_right else failed(name, told, CPU_REMEDY)


def difference(own: float | None, wanted: float | None) -> float:
    """Relative difference; infinite where one is no number."""
    if not (is_number(own) and is_number(wanted)):
        return math.inf
    return abs(own - wanted) / max(abs(wanted), 1e-12)


def is_number(value: float | None) -> bool:
    """Whether it is finite; what is not is None in JSON."""
    return value is not None and math.isfinite(value)


def shown(number: float | None) -> str:
    """A number for people."""
    return f"{number:.4g}" if is_number(number) else "nan or infinite"


def check_ranks(answer: Answer, done: Answers) -> list[Finding]:
    """What the ranks of a job found together."""
    if done is None or "ranks" not in done:
        return [failed("ranks meet", f"no: {answer.problem}: {answer.reason}", LOST_REMEDY)]
    found = [check_failures(done["ranks"]), *check_cards(done["ranks"])]
    if "transport" not in done:
        return [*found, skipped("sum over ranks", "not every rank has a card of its own to run on")]
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


def check_cards(ranks: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether each rank has a card of its own; nothing where cards are unknown, as on CPU."""
    name = "a card each"
    if shared := sharing(ranks):
        told = "; ".join(f"ranks {numbers} take the same card" for numbers in shared)
        remedy = "unset CUDA_VISIBLE_DEVICES, or name as many cards in it as a machine has ranks"
        return [failed(name, told, remedy)]
    return [ok(name, "no two ranks take the same")] if all(rank["card"] for rank in ranks) else []


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
