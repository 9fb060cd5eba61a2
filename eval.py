"""Evaluates a checkpoint with COCO's metric; `python3 eval.py --help` lists every key."""

import json

from src.config import parse_args
from src.data.annotations import build_annotations
from src.errors import exit_on_bad_input
from src.files import check_file, make_output_folder, require, write_atomically


@exit_on_bad_input
def main(argv=None) -> None:
    cfg = parse_args(__doc__, argv)
    check_file(require(cfg, "checkpoint_path"))
    annotations = build_annotations(cfg, cfg.val_split)
    folder = make_output_folder(cfg.output_path)

    from src.device import set_up_device
    from src.evaluation.coco import evaluate
    from src.evaluation.detect import build_detector, detect_with
    from src.evaluation.report import metrics_table, save_pictures

    set_up_device(cfg.device_target, device_id=cfg.device_id, cpu_threads=cfg.cpu_threads)
    print(annotations.summary())
    results = detect_with(build_detector(cfg), cfg, annotations)
    write_atomically(folder / "detections.json", json.dumps(results))
    metrics = evaluate(annotations, cfg.classes, results)
    report = folder / "report"
    save_pictures(annotations, cfg.classes, results, report / "pictures", cfg.pictures)
    write_atomically(report / "metrics.json", json.dumps(vars(metrics), indent=1))
    title = (
        f"{cfg.checkpoint_path} on {annotations.source}: {len(annotations)} images, protocol coco"
    )
    print(metrics_table(metrics, title))
    print(f"detections: {folder / 'detections.json'}\nreport and pictures: {report}")


if __name__ == "__main__":
    main()
