"""Checks the updates that a device computes by comparing them with the CPU's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import Finding, failed, ok, skipped

# Largest relative difference of loss and gradient norm from the CPU's in float32. On an H200
# (docs/gpu.md) float32 differed by 1e-5, float16 with norms in float32 by 0.02 % in the loss and
# 0.12 % in the gradient norm; norms in float16, whose gradients are wrong, gave 8 times the norm.
TOLERANCES = {"float32": 1e-3, "float16": 1e-2}
# of the fall of the loss, which shows whether the update did anything
FALL_TOLERANCES = {"float32": 0.1, "float16": 0.2}
FIRST_ORDER_TOLERANCE = 0.1  # between the fall of the loss and rate x norm^2
CPU_REMEDY = "unset ONEDNN_MAX_CPU_ISA; pip install -r requirements.txt"

Update = Mapping[str, Any]  # of trial_update.update or try_update
ByCase = dict[tuple[str, str], Update]


def by_case(updates: Sequence[Update]) -> ByCase:
    """Updates by optimizer and precision."""
    return {(update["optimizer"], update["precision"]): update for update in updates}


def check_updates(
    cases: Sequence[tuple[str, str]],
    answer: Answer,
    result: Mapping[str, Any] | None,
    reference: Mapping[str, Any] | None,
) -> list[Finding]:
    """A finding for each case, a pair of optimizer and precision.

    `answer` and `result` are those of `trial.run_trial` on the device; `reference` is the result on
    the CPU, or None if the device is a CPU.
    """
    own = by_case((result or {}).get("updates", []))
    expected = None if reference is None else by_case(reference.get("updates", []))
    findings: list[Finding] = []
    has_ended = False
    for case in cases:
        name = f"{case[0]}, {case[1]}"
        if has_ended:
            findings.append(skipped(name, "the one before did not end"))
        elif case in own:
            findings.append(check_update(name, own[case], expected))
        else:
            has_ended = True
            findings.append(crash(name, answer))
    return findings


def crash(name: str, answer: Answer) -> Finding:
    """The finding on an update whose process ended without a result."""
    remedy = (
        "fix what failed above; if nothing did, set GLOG_v=1, run the doctor again with --report "
        "FILE, and report it: FILE has MindSpore's own log"
    )
    found = f"{answer.problem or 'no answer'}: {answer.reason}"
    return failed(name, f"the process that makes the update {found}", remedy)


def check_update(name: str, own: Update, expected: ByCase | None) -> Finding:
    """An update on a card against the CPU's, or one on a CPU against its own gradients."""
    if "error" in own:
        return failed(name, own["error"], "python3 -m src.doctor --report FILE, and report it")
    found = f"loss {shown(own['loss'])}, gradient norm {shown(own['norm'])}"
    if expected is None:
        return check_fall(name, own, found)
    return check_against(name, own, expected.get((own["optimizer"], "float32")), found)


def check_against(name: str, own: Update, expected: Update | None, found: str) -> Finding:
    """An update on a card against the CPU's; None if that did not end."""
    if expected is None or "error" in expected:
        reason = expected["error"] if expected else "it did not end"
        remedy = "run python3 -m src.doctor --device_target=CPU, and do what it says"
        return failed(name, f"{found}; the CPU's, to compare with: {reason}", remedy)
    tolerance = TOLERANCES[own["precision"]]
    compared = [
        ("loss", own["loss"], expected["loss"], tolerance),
        ("gradient norm", own["norm"], expected["norm"], tolerance),
        ("fall of the loss", fall(own), fall(expected), FALL_TOLERANCES[own["precision"]]),
    ]
    what, number, right, allowed = max(compared, key=lambda c: difference(c[1], c[2]) / c[3])
    away = difference(number, right)
    if away <= allowed:
        return ok(name, f"{found}; the {what} is {away:.1g} from the CPU's, {allowed:g} is allowed")
    return failed(
        name,
        f"{what} {shown(number)}, on the CPU {shown(right)}: they differ by {away:.2g}, "
        f"{allowed:g} is allowed",
        "do not train on it: unset NVIDIA_TF32_OVERRIDE, update the driver, try another card",
    )


def check_fall(name: str, own: Update, found: str) -> Finding:
    """An update on a CPU: with momentum the loss falls by rate x norm^2, with AdamW it falls."""
    fallen = fall(own)
    found += f"; it falls by {shown(fallen)}"
    if own["optimizer"] == "momentum" and fallen is not None:
        expected = own["rate"] * own["norm"] ** 2
        found += f", by the gradients {shown(expected)}"
        is_right = difference(fallen, expected) <= FIRST_ORDER_TOLERANCE
    else:
        is_right = fallen is not None and fallen > 0
    return ok(name, found) if is_right else failed(name, found, CPU_REMEDY)


def fall(update: Update) -> float | None:
    """By how much an update lowers the loss of its batch; None if a number is not finite."""
    if not all(is_finite(update[key]) for key in ("loss", "norm", "after")):
        return None
    return update["loss"] - update["after"]


def difference(own: float | None, expected: float | None) -> float:
    """Relative difference; infinite if one is not finite."""
    if not (is_finite(own) and is_finite(expected)):
        return math.inf
    return abs(own - expected) / max(abs(expected), 1e-12)


def is_finite(value: float | None) -> bool:
    """Whether a number from JSON is finite; nan and infinity are None there."""
    return value is not None and math.isfinite(value)


def shown(number: float | None) -> str:
    """The number as text."""
    return f"{number:.4g}" if is_finite(number) else "nan or infinite"
