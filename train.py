"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists every key."""

from pathlib import Path

from src.config import Config, parse_args
from src.data.dataset import build_annotations, find_source
from src.data.loader import steps_per_epoch
from src.errors import exit_on_bad_input
from src.files import check_file, make_output_folder


@exit_on_bad_input
def main(argv=None) -> None:
    cfg = parse_args(__doc__, argv)
    # everything that can be wrong is looked at before MindSpore's import costs seconds, and what is
    # quick to look at before a large annotation file is read
    check_file(cfg, "finetune" if cfg.finetune else "pretrained")
    roles = [True, False] if cfg.eval_interval else [True]
    for training in roles:
        find_source(cfg, training=training)
    folder = make_output_folder(cfg.output_path)
    annotations, *validation = [build_annotations(cfg, training=training) for training in roles]
    steps_per_epoch(annotations, cfg.batch_size)  # raises where there is not one
    (folder / "config.yaml").write_text(cfg.to_yaml(), encoding="utf-8")
    train(cfg, annotations, validation[0] if validation else None, folder)


def train(cfg: Config, annotations, val_annotations, folder: Path) -> None:
    """Trains, with a log in `folder`, and says where the result lies."""
    from src.data.summary import build_summary
    from src.detection.anchors import build_anchors
    from src.device import build_device
    from src.training.hooks import RunLog
    from src.training.trainer import Trainer

    build_device(cfg)
    log = RunLog(folder)
    log.line(annotations.summary())
    log.line(build_summary(cfg, annotations, build_anchors(cfg)).match_line())
    if val_annotations is not None:
        log.line(val_annotations.summary())
    best = Trainer(cfg, annotations, val_annotations, log).run()
    if best is None:
        log.line(f"done, not evaluated: {folder / 'ckpt' / 'last.ckpt'}")
    else:
        log.line(f"done, best AP {best.overall['AP']:.3f}: {folder / 'ckpt' / 'best.ckpt'}")
    log.close()


if __name__ == "__main__":
    main()
