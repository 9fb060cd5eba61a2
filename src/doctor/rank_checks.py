"""Checks that the ranks of a job communicate, have a card each, sum exactly and stay equal."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.doctor.trial_ranks import GRADIENT_FLOATS, sharing
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.findings import Finding, failed, ok, skipped
from src.runtime.text import count

LOST_REMEDY = (
    "read what ranks printed above, and run the doctor with one rank on each machine; see also "
    "'When a rank fails' in docs/distributed.md"
)
SUM_REMEDY = "NCCL_DEBUG=INFO shows NCCL's choices; try NCCL_P2P_DISABLE=1 and NCCL_SHM_DISABLE=1"
CARDS_MISSING = "not every rank has a card of its own to run on"
MEGABYTES = 4 * GRADIENT_FLOATS / 1e6  # of the timed sum


def check_ranks(answer: Answer, result: Mapping[str, Any] | None) -> list[Finding]:
    """The findings on what `trial.run_trial` returned on the main rank."""
    if result is None or "ranks" not in result:
        found = f"no: {answer.problem}: {answer.reason}"
        return [failed("ranks communicate", found, LOST_REMEDY)]
    ranks = result["ranks"]
    findings = [check_failures(ranks), *check_cards(ranks)]
    if "transport" not in result:
        return [*findings, skipped("sum over ranks", CARDS_MISSING)]
    through = f"{len(ranks)} ranks, {result['transport']}"
    if wrong := [rank for rank, number in enumerate(result["wrong_sums"]) if number]:
        found = f"not exact on ranks {wrong}; {through}"
        findings.append(failed("sum over ranks", found, SUM_REMEDY))
    else:
        findings.append(ok("sum over ranks", f"exact; {through}"))
    duration = f"{MEGABYTES:.0f} MB in {1000 * result['sum_seconds']:.0f} ms"
    equal = ok("ranks equal", "to the last bit after updates with different images")
    if differing := result["differing"]:
        equal = failed("ranks equal", differing, SUM_REMEDY)
    return [*findings, ok("time of a sum", duration), equal]


def check_cards(ranks: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether each rank has its own card; nothing where cards are unknown, as on CPU."""
    name = "one card per rank"
    if shared := sharing(ranks):
        found = "; ".join(f"ranks {numbers} take the same card" for numbers in shared)
        remedy = "unset CUDA_VISIBLE_DEVICES, or name as many cards in it as a machine has ranks"
        return [failed(name, found, remedy)]
    return [ok(name, "no two ranks take the same")] if all(rank["card"] for rank in ranks) else []


def check_failures(ranks: Sequence[Mapping[str, Any]]) -> Finding:
    """The failed checks of ranks other than the main one."""
    hosts = len({rank["host"] for rank in ranks})
    found = f"{count(len(ranks), 'rank')} on {count(hosts, 'machine')}"
    lines = [
        f"rank {number}: {name}: {text}"
        for number, rank in enumerate(ranks)
        for name, text in rank["failures"]
        if number
    ]
    if not lines:
        return ok("ranks communicate", found)
    remedy = "run the doctor on that machine for what to do"
    text = "\n".join([f"{found}; what fails on others:", *lines])
    return failed("ranks communicate", text, remedy)
