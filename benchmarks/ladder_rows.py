"""The rows of a ladder: kept in a file, compared, and drawn."""

import json
import math
import statistics
import threading
from collections.abc import Sequence
from pathlib import Path

from src.runtime.files import write_atomically

METRICS = ("AP", "AP50", "AP75")
ERRORS = 2  # standard errors that the mean difference of a part that pays is above


class Rows:
    """Rows in a file of JSON lines, each with the `flags` of its run; threads may add to them.

    Args:
        path: of the file; need not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lock = threading.Lock()
        lines = path.read_text().splitlines() if path.is_file() else []
        self.rows = [json.loads(line) for line in lines]

    def find(self, flags: Sequence[str]) -> dict | None:
        """The row of a run with these flags, if there is one."""
        return next((row for row in self.rows if row["flags"] == list(flags)), None)

    def add(self, row: dict) -> dict:
        """Adds a row, and writes the file as a whole, so that no line is cut short."""
        with self.lock:
            self.rows.append(row)
            write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        return row


def read_evaluation(path: Path) -> dict[str, float]:
    """METRICS of the last evaluation in a run's metrics.jsonl."""
    records = map(json.loads, path.read_text().splitlines())
    last = [record for record in records if record["kind"] == "evaluation"][-1]
    return {name: round(last[name], 4) for name in METRICS}


def best_rates(rows: Sequence[dict]) -> dict[str, float]:
    """Each rung's learning rate of the highest AP."""
    best: dict[str, dict] = {}
    for row in sorted(rows, key=lambda row: row["lr"]):
        if row["rung"] not in best or row["AP"] > best[row["rung"]]["AP"]:
            best[row["rung"]] = row
    return {rung: row["lr"] for rung, row in best.items()}


def summaries(rows: Sequence[dict], rungs: Sequence[str]) -> list[dict]:
    """A row for each rung: means over its seeds, and its differences to the rung before."""
    found = []
    for before, rung in zip((None, *rungs), rungs):
        own = of_rung(rows, rung)
        row = {"rung": rung, "lr": next(iter(own.values()))["lr"], "seeds": len(own)}
        for name in (*METRICS, "cpu_seconds"):
            row[name] = round(statistics.mean(r[name] for r in own.values()), 4)
        if before is not None:
            row["before"] = before
            row |= compare(own, of_rung(rows, before))
        found.append(row)
    return found


def of_rung(rows: Sequence[dict], rung: str) -> dict[int, dict]:
    """The rung's rows by their seeds."""
    return {row["seed"]: row for row in rows if row["rung"] == rung}


def compare(own: dict[int, dict], before: dict[int, dict]) -> dict:
    """Paired differences of METRICS, their means and standard errors, and whether AP's pay."""
    seeds = sorted(own.keys() & before.keys())
    facts = {}
    for name in METRICS:
        differences = [round(own[seed][name] - before[seed][name], 4) for seed in seeds]
        facts[f"{name}_differences"] = differences
        facts[f"{name}_difference"] = round(statistics.mean(differences), 4)
        facts[f"{name}_error"] = standard_error(differences)
    return {**facts, "pays": pays(facts["AP_differences"])}


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    return round(statistics.stdev(values) / math.sqrt(len(values)), 5)


def pays(differences: Sequence[float]) -> bool | None:
    """Whether all differences are above 0 and their mean above ERRORS standard errors.

    None for fewer than two, which decide nothing.
    """
    error = standard_error(differences)
    if error is None:
        return None
    return min(differences) > 0 and statistics.mean(differences) > ERRORS * error


def draw(rows: Sequence[dict], rungs: Sequence[str], path: Path) -> None:
    """A PNG of AP over the rungs: a line for each seed, and their mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    of_rungs = [of_rung(rows, rung) for rung in rungs]
    for seed in sorted(of_rungs[0]):
        axes.plot(
            rungs, [own[seed]["AP"] for own in of_rungs], "o-", alpha=0.4, label=f"seed {seed}"
        )
    means = [statistics.mean(row["AP"] for row in own.values()) for own in of_rungs]
    axes.plot(rungs, means, "k_-", markersize=16, label="mean")
    axes.set(ylabel="AP (protocol coco)", title="each rung adds a part to the one before it")
    axes.tick_params(axis="x", rotation=20)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
