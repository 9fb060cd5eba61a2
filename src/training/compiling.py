"""Compiles what a run needs before it starts."""

import time
from pathlib import Path
from typing import Optional

import mindspore as ms

from src.config.configuration import Config
from src.data.workers import Layout
from src.distributed.ranks import Ranks
from src.runtime.graph_cache import GraphCache
from src.training.evaluator import Evaluator
from src.training.resume import FREE_ON_RESUME
from src.training.run_log import RunLog
from src.training.step import TrainStep

# keys that may change while the graphs stay the same: those of paths, logs and ends of a run, and
# numbers that an update is given or that plain Python decides on
NOT_IN_GRAPHS = (
    *FREE_ON_RESUME, "epoch_size", "lr", "lr_schedule", "lr_by", "lr_milestones", "lr_factor",
    "warmup_ratio", "warmup_epochs", "auto_scale_lr", "lr_batch_size", "seed",
)  # fmt: skip
GRAPHS = ".graphs"  # folder beside output_path, so that runs share it; can be deleted any time


def compile_graphs(
    cfg: Config,
    step: TrainStep,
    layout: Layout,
    evaluator: Optional[Evaluator],
    log: RunLog,
    ranks: Ranks,
) -> None:
    """Compiles the graphs of a run, or takes them from GRAPHS where they were compiled before.

    Where the ranks' graphs are the same, the main rank compiles them for all.

    Args:
        layout: of a training batch.
        evaluator: of the run, if it evaluates.
    """

    def work() -> None:
        step.compile(layout, batches=cfg.accumulate)
        if evaluator is not None:
            evaluator.compile()

    def compile_here() -> bool:
        if not cfg.compile_cache:
            work()
            return False
        decisive = {key: value for key, value in cfg.items() if key not in NOT_IN_GRAPHS}
        evaluated = None if evaluator is None else evaluator.model.graph_facts()
        root = Path(cfg.output_path).absolute().parent / GRAPHS
        # ranks that add up on the host have graphs of the same kind, whatever their number
        own = ranks.size if ranks.is_in_graphs else ranks.size > 1
        if ranks.is_in_graphs:  # and the others each their own
            root = root / f"rank_{ranks.rank}"
        facts = [ms.__version__, decisive, layout, evaluated, own]
        return GraphCache(root, facts).compile(work)

    started = time.perf_counter()
    if ranks.is_in_graphs or not cfg.compile_cache:
        found = compile_here()
    else:
        found = ranks.main_does(compile_here)
        if not ranks.is_main:
            found = compile_here()
    how = "compiled graphs loaded" if found else "compiled"
    log.line(f"{how} in {time.perf_counter() - started:.1f} s")
