"""Trains SSD with a ResNet-FPN backbone; `python3 train.py --help` lists every key."""

from pathlib import Path

from src.config import Config, parse_args
from src.data.annotations import build_annotations
from src.data.loader import steps_per_epoch
from src.errors import exit_on_bad_input
from src.files import check_file, make_output_folder


@exit_on_bad_input
def main(argv=None) -> None:
    cfg = parse_args(__doc__, argv)
    # everything that can be wrong is looked at before MindSpore's import costs seconds
    for path in (cfg.pretrained, cfg.finetune):
        check_file(path)
    annotations = build_annotations(cfg, cfg.train_split)
    steps_per_epoch(annotations, cfg.batch_size)
    val_annotations = build_annotations(cfg, cfg.val_split) if cfg.eval_interval else None
    folder = make_output_folder(cfg.output_path)
    (folder / "config.yaml").write_text(cfg.to_yaml(), encoding="utf-8")
    train(cfg, annotations, val_annotations, folder)


def train(cfg: Config, annotations, val_annotations, folder: Path) -> None:
    """Trains, with a log in `folder`, and says where the result lies."""
    from src.device import set_up_device
    from src.training.hooks import RunLog
    from src.training.trainer import Trainer

    set_up_device(cfg.device_target, device_id=cfg.device_id, cpu_threads=cfg.cpu_threads)
    log = RunLog(folder)
    log.line(annotations.summary())
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
