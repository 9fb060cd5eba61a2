"""Loads the weights that a run starts from, and sets the keys that they decide."""

from collections.abc import Callable, Mapping
from typing import Any

from src.config.configuration import Config
from src.config.open_keys import contradictions, settled, treatment
from src.distributed.ranks import Ranks
from src.models.ssd import SSD, build_ssd
from src.runtime.errors import InputError
from src.weights.checkpoint_file import check_run, read_origin, run_config
from src.weights.loading import load_backbone, load_for_finetuning

Saved = Mapping[str, Any] | None  # configuration of the run that is resumed, if one is
Log = Callable[[str], None]  # takes a line


def fill_open_keys(cfg: Config, saved: Saved, log: Log, ranks: Ranks) -> Config:
    """The configuration with its open keys set as the starting weights need them."""
    if saved:  # the checkpoint has the weights, whatever their origin
        cfg = cfg.replace(**{key: saved[key] for key in ("pretrained", "finetune")})
    origin = ranks.from_main(starting_point(cfg, saved) if ranks.is_main else None)
    cfg = settled(cfg, origin)
    if "padding" in origin and not saved:
        needed = treatment(cfg.padding, cfg.image_mean, cfg.image_std)
        log(f"{cfg.finetune or cfg.pretrained}: needs {needed}")
    return cfg


def starting_point(cfg: Config, saved: Saved) -> Mapping[str, Any]:
    """How the starting weights were trained; InputError if they contradict the configuration."""
    if saved:
        return saved
    source = cfg.finetune or cfg.pretrained
    if not source:
        return {}
    origin = read_origin(source)
    if wrong := contradictions(cfg, origin):
        advice = "omit these keys, or set them as the weights were trained"
        raise InputError("\n  ".join([f"{source}: was trained differently; {advice}", *wrong]))
    return origin


def build_network(cfg: Config, anchors_per_cell: int, log: Log, *, start: bool = True) -> SSD:
    """The detector, with the configured starting weights if `start` is true."""
    network = build_ssd(cfg, anchors_per_cell)
    if not start:
        return network
    if cfg.pretrained and not cfg.finetune:
        log(load_backbone(network, cfg.pretrained))
    if cfg.finetune:
        if cfg.pretrained:
            log(f"{cfg.pretrained}: not loaded, since --finetune gives the whole network")
        check_run(cfg.finetune, run_config(cfg.finetune), cfg, finetuning=True)
        log(load_for_finetuning(network, cfg.finetune, cfg.classes[1:]))
    return network
