"""Compiles a run's graphs, or loads them from its cache."""

import time
from pathlib import Path

import mindspore as ms

from src.config.configuration import Config
from src.config.keys import keys_of_scope
from src.runtime.graph_cache import GRAPHS, GraphCache
from src.runtime.out_of_memory import with_memory_advice
from src.training.trainer import Trainer


def compile_graphs(cfg: Config, trainer: Trainer) -> None:
    """Compiles or loads the run's graphs; if all ranks' are equal, only the main one compiles."""
    ranks = trainer.ranks
    started = time.perf_counter()
    with with_memory_advice(trainer.memory_advice):
        if ranks.is_in_graphs or not cfg.compile_cache:
            found = compile_here(cfg, trainer)
        else:
            found = ranks.on_main(lambda: compile_here(cfg, trainer))
            if not ranks.is_main:
                found = compile_here(cfg, trainer)
    how = "compiled graphs loaded" if found else "compiled"
    trainer.log.line(f"{how} in {time.perf_counter() - started:.1f} s")


def compile_here(cfg: Config, trainer: Trainer) -> bool:
    """Compiles in this process; returns whether the graphs came from the cache."""
    evaluator, ranks = trainer.evaluator, trainer.ranks
    layout = trainer.loader.samples.layout(cfg.batch_size)

    def work() -> None:
        trainer.train_step.compile(layout, batches=cfg.accumulate)
        if evaluator.is_on:
            evaluator.compile()

    if not cfg.compile_cache:
        work()
        return False
    root = Path(cfg.output_path).absolute().parent / GRAPHS
    if ranks.is_in_graphs:  # each rank has its own graphs
        root = root / f"rank_{ranks.rank}"
    keys = {key: cfg[key] for key in keys_of_scope("graph", "batch")}
    keys["classes"] = len(keys["classes"])  # whatever their names
    evaluated = evaluator.model.graph_key() if evaluator.is_on else None
    # with sums on the host, the graphs do not depend on the number of ranks, if there are several
    size = ranks.size if ranks.is_in_graphs else ranks.size > 1
    return GraphCache(root, [ms.__version__, keys, layout, evaluated, size]).compile(work)
