"""Times an evaluation and its parts.

    python benchmarks/evaluation.py [--rows whole tta ...] [--images 24]

Prints a JSON line for each row.

metric: COCO's metric alone on generated detections, 5,000 images x 100, with its peak memory;
pycocotools on the same ones, turn about.
whole: images a second of eval.py's path at 640 px with the base network, whose class scores are
spread so that about 1,000 predictions an image pass the threshold; what the main thread waits
for, and CPU time of the parts. tta: the same with test-time augmentation, over none. memory: what
ten times the images add to the peak memory of an evaluation with a small network, metric left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.evaluation_data import CLASSES, generated_split, spread_scores
from benchmarks.input_pipeline import make_annotations, write_images

SIZE = 640
MILLI, GIGA = 1e3, 1e9
REPEATS = 30
TURNS = 3  # of the two metrics, and of each way to look
CANDIDATES = 1000  # of an image, that pass the threshold
METRIC_IMAGES, PER_IMAGE = 5000, 100
TTA = {"none": {}, "flip": {"tta_flip": True}, "scales": {"tta_scales": [0.8, 1.0, 1.2]}}


def metric_row(args) -> dict:
    """Seconds of CPU and peak memory of the metric, each time in a process of its own."""
    found = {"faster": [], "pycocotools": []}
    with tempfile.TemporaryDirectory() as folder:
        generated_split(Path(folder), METRIC_IMAGES, PER_IMAGE)
        for _ in range(TURNS):
            for library, rows in found.items():
                rows.append(run_self("--metric", library, folder))
    row = {}
    for library, rows in found.items():
        row[library] = {
            "cpu_s": round(statistics.median(r["cpu_s"] for r in rows), 1),
            "peak_gb": round(max(r["peak_gb"] for r in rows), 2),
            "AP": rows[0]["AP"],
        }
    return {"images": METRIC_IMAGES, "detections": METRIC_IMAGES * PER_IMAGE, **row}


def run_self(*arguments: str) -> dict:
    """What this script prints in another process."""
    command = [sys.executable, __file__, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def time_metric(library: str, folder: Path) -> dict:
    """Works the metric out once; the ground truth is read and the detections are there before."""
    import resource

    import numpy as np

    rows = np.load(folder / "detections.npy")
    if library == "faster":
        from src.data.coco_reader import read_coco
        from src.evaluation.coco_metric import evaluate

        classes = ("background", *(f"class {k}" for k in range(CLASSES)))
        annotations, _ = read_coco(folder / "truth.json", folder, classes)
        started = time.process_time()
        ap = evaluate(annotations, classes, rows).overall["AP"]
    else:
        import contextlib
        import io

        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(folder / "truth.json"))
            started = time.process_time()
            metric = COCOeval(truth, truth.loadRes(rows), "bbox")
            metric.evaluate()
            metric.accumulate()
            metric.summarize()
        ap = float(metric.stats[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGA
    return {"cpu_s": time.process_time() - started, "peak_gb": peak, "AP": ap}


def make_evaluation(folder: Path, images: int, **keys):
    """The configuration, the split and the network of an evaluation on drawn JPEGs."""
    from src.config.configuration import make_config
    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd
    from src.runtime.device import set_up_device

    write_images(folder)
    annotations = make_annotations(folder, images)
    cfg = make_config([({"image_size": [SIZE, SIZE], "eval_batch_size": 4, **keys}, "benchmark")])
    set_up_device("CPU")
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell).set_train(False)
    spread_scores(network, cfg, annotations, above=CANDIDATES)
    return cfg, annotations, network


def timed_detection(cfg, annotations, network) -> tuple[float, float, dict[str, float]]:
    """Seconds, CPU-seconds of this process and its workers, and seconds waited for each part."""
    from src.evaluation.detect import detect_with
    from src.runtime.stopwatch import Stopwatch

    watch = Stopwatch()
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    found = detect_with(network, cfg, annotations, stopwatch=watch)
    seconds = time.perf_counter() - wall
    found.check()
    return seconds, sum(os.times()[:4]) - cpu, watch.lap()


def whole_row(args) -> dict:
    """Images a second, and where the time of the main thread goes."""
    with tempfile.TemporaryDirectory() as folder:
        setting = make_evaluation(Path(folder), args.images)
        timed_detection(*setting)  # compiles
        runs = [timed_detection(*setting) for _ in range(TURNS)]
        work = host_work(*setting)
    seconds, cpu, parts = sorted(runs, key=lambda run: run[0])[TURNS // 2]
    waited = {part: round(100 * spent / seconds, 1) for part, spent in parts.items()}
    return {
        "images": args.images,
        "images_per_s": round(args.images / seconds, 3),
        "waited_for_percent": waited,
        "cpu_ms_an_image": {"all": round(cpu / args.images * MILLI), **work},
        "cpu_not_network_percent": round(100 * sum(work.values()) * args.images / MILLI / cpu, 1),
    }


def host_work(cfg, annotations, network) -> dict[str, float]:
    """CPU milliseconds an image of reading and post-processing, each on its own."""
    from src.data.loader import EvalSamples, eval_batches
    from src.detection.postprocess import build_postprocessor
    from src.evaluation.detect import READ, THIN, detect_batch
    from src.prediction.inference import build_inference

    samples = EvalSamples(annotations, sizes=[cfg.image_size], keep_aspect=False)
    started = time.process_time()
    batches = list(eval_batches(samples, batch_size=cfg.eval_batch_size, workers=0))
    reading = time.process_time() - started
    inference = build_inference(cfg, network, build_postprocessor(cfg), cfg.eval_batch_size)
    outputs = inference.forward(batches[0].images)
    started = time.process_time()
    for _ in range(REPEATS):
        detect_batch(inference, batches[0], outputs, annotations.category_ids)
    thinning = (time.process_time() - started) / REPEATS / cfg.eval_batch_size
    return {
        READ: round(reading / len(annotations) * MILLI, 1),
        THIN: round(thinning * MILLI, 1),
    }


def tta_row(args) -> dict:
    """Time of each way to look, over that of looking once, turn about."""
    times: dict[str, list[float]] = {name: [] for name in TTA}
    with tempfile.TemporaryDirectory() as folder:
        cfg, annotations, network = make_evaluation(Path(folder), args.images)
        for turn in range(TURNS + 1):  # the first one compiles
            for name, keys in TTA.items():
                seconds, _, _ = timed_detection(cfg.replace(**keys), annotations, network)
                if turn:
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "images_per_s": {n: round(args.images / m, 3) for n, m in medians.items()},
        "times_as_long": {n: round(m / medians["none"], 2) for n, m in medians.items()},
    }


def memory_row(args) -> dict:
    """Peak memory of detecting in few and in ten times as many images, a process each."""
    few, many = 500, 5000
    peaks = {n: run_self("--peak", str(n))["peak_mb"] for n in (few, many)}
    return {
        "peak_mb": peaks,
        "kb_an_image": round((peaks[many] - peaks[few]) * 1e3 / (many - few), 1),
    }


def peak_memory(images: int) -> dict:
    """Peak memory in MB of detecting in so many images, 100 detections each."""
    import resource

    with tempfile.TemporaryDirectory() as folder:
        keys = {"backbone": "resnet18", "fpn_channels": 8, "head_depth": 0, "image_size": [64, 64]}
        setting = make_evaluation(Path(folder), images, **keys, num_workers=0)
        timed_detection(*setting)
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


ROWS = {
    "metric": metric_row,
    "whole": whole_row,
    "tta": tta_row,
    "memory": memory_row,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--images", type=int, default=24, help="of whole and tta")
    parser.add_argument("--metric", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("GLOG_v", "3")
    if args.metric:
        print(json.dumps(time_metric(args.metric[0], Path(args.metric[1]))))
    elif args.peak:
        print(json.dumps(peak_memory(args.peak)))
    else:
        for name in args.rows:
            print(json.dumps({"benchmark": f"evaluation {name}", **ROWS[name](args)}), flush=True)


if __name__ == "__main__":
    main()
