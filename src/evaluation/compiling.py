"""Compiles the graph of an evaluation by eval.py, or loads it from the cache."""

import time
from functools import partial
from pathlib import Path

import mindspore as ms

from src.config.configuration import Config
from src.config.keys import keys_of_scope
from src.config.open_keys import settled
from src.distributed.ranks import Ranks
from src.evaluation.outputs import run_folder
from src.evaluation.split_loss import LossModel
from src.models.card_fit import advice_after_forward
from src.prediction.inference import input_sizes
from src.prediction.network_model import NetworkModel
from src.runtime.graph_cache import GRAPHS, GraphCache
from src.runtime.out_of_memory import with_memory_advice
from src.weights.checkpoint_file import run_config


def compile_model(cfg: Config, model: NetworkModel | LossModel, ranks: Ranks) -> None:
    """Compiles what all images need, or loads it; the main rank compiles for all.

    With `short_side` and with several scales images need graphs of several sizes, which are
    compiled when needed, without the cache: it wants all graphs in one order.
    """
    sizes = input_sizes(cfg.image_size, cfg.tta_scales)
    if not cfg.compile_cache or cfg.resize == "short_side" or sizes != (tuple(cfg.image_size),):
        return
    root = graph_folder(cfg)
    if ranks.is_in_graphs:  # each rank has a device of its own
        root = root / f"rank_{ranks.rank}"
    network = settled(cfg, run_config(cfg.checkpoint_path))
    keys = {key: network[key] for key in keys_of_scope("graph")}
    cache = GraphCache(root, [ms.__version__, "evaluation", keys, model.graph_key()])
    compile_here = partial(cache.compile, partial(model.compile, cfg.image_size))
    started = time.perf_counter()
    with with_memory_advice(partial(advice_after_forward, cfg)):
        found = compile_here() if ranks.is_in_graphs else ranks.on_main(compile_here)
        if not (ranks.is_in_graphs or ranks.is_main):
            compile_here()
    if ranks.is_main:
        how = "compiled graph loaded" if found else "compiled"
        print(f"{how} in {time.perf_counter() - started:.1f} s")


def graph_folder(cfg: Config) -> Path:
    """GRAPHS beside the output folder, or beside the run's folder if the output is inside it."""
    output, run = Path(cfg.output_path).absolute(), run_folder(cfg)
    is_inside = run in output.parents and Path(cfg.checkpoint_path).parent.name == "ckpt"
    return (run if is_inside else output).parent / GRAPHS
