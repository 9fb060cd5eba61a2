"""Evaluates a checkpoint with COCO's metric; `python3 eval.py --help` lists every key."""

from pathlib import Path

from src.command import run_command
from src.launch import check_launch, find_launch


def main(argv=None) -> None:
    from src.config import parse_args
    from src.data.dataset import build_annotations
    from src.files import check_file, make_output_folder

    cfg = parse_args(__doc__, argv)
    launch = find_launch()
    check_launch(launch, cfg)
    check_file(cfg, "checkpoint_path", needed=True)
    folder = make_output_folder(cfg.output_path) if launch.is_main else Path(cfg.output_path)
    annotations = build_annotations(cfg, training=False)

    from src.device import build_device
    from src.evaluation.detect import build_detector, detect_with

    ranks = build_device(cfg, launch)
    if ranks.is_main:
        print(annotations.summary())
    results, unreadable = detect_with(build_detector(cfg), cfg, annotations, ranks=ranks)
    ranks.main_does(lambda: report(cfg, annotations, results, unreadable, folder))


def report(cfg, annotations, results: list[dict], unreadable, folder: Path) -> None:
    """Works out the metric, and writes and prints what the detections amount to."""
    from src.evaluation.coco import evaluate, ground_truth
    from src.evaluation.report import metrics_table, save_pictures
    from src.files import to_json, write_atomically

    unreadable.check()  # raises where the number would not be the split's
    write_atomically(folder / "detections.json", to_json(results))
    if annotations.format != "coco":  # what the image ids of the detections mean
        truth = ground_truth(annotations, cfg.classes)
        write_atomically(folder / "ground_truth.json", to_json(truth))
    metrics = evaluate(annotations, cfg.classes, results)
    report = folder / "report"
    save_pictures(annotations, cfg.classes, results, report / "pictures", cfg.pictures)
    write_atomically(report / "metrics.json", to_json(vars(metrics)))
    title = (
        f"{cfg.checkpoint_path} on {annotations.source}: {len(annotations)} images, protocol coco "
        f"(scores above {cfg.score_threshold}, {cfg.max_detections} detections an image)"
    )
    print(metrics_table(metrics, title))
    if unreadable.messages:
        print(f"without detections: {unreadable}")
    print(f"detections: {folder / 'detections.json'}\nreport and pictures: {report}")


if __name__ == "__main__":
    run_command(main)
