"""Times an evaluation and its parts.

    python benchmarks/evaluation.py [--rows whole tta ...] [--images 24]

Prints a JSON line for each row.

metric: COCO's metric alone on generated detections, 5,000 images x 100, with its peak memory;
pycocotools on the same ones, alternating.
whole: images a second of eval.py's path at 640 px with the base network, whose class scores are
spread so that about 1,000 predictions an image pass the threshold; what the main thread waits
for, and CPU time of the parts; without the loss. tta: the same with test-time augmentation, over
none. loss: the same with the loss of the images, over without, in CPU time; first: the first
evaluation of each, which compiles. memory: what ten times the images add to the peak memory of an
evaluation with a small network, without the metric. Flags of train.py change the network.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import (
    GIGA,
    MEGA,
    MILLI,
    configure,
    make_parser,
    measure,
    parse,
    peak_bytes,
    print_row,
)
from benchmarks.evaluation_data import CLASSES, draw_head_norms, generated_split, spread_scores
from benchmarks.input_pipeline import make_annotations, write_images
from benchmarks.processes import result, start

SIZE = 640
REPEATS = 30
READ, NETWORK, POSTPROCESS = "reading", "network", "post-processing"  # parts in the stopwatch
CANDIDATES = 1000  # of an image, that pass the threshold
METRIC_IMAGES, PER_IMAGE = 5000, 100
TTA = {"none": {}, "flip": {"tta_flip": True}, "scales": {"tta_scales": [0.8, 1.0, 1.2]}}


def metric_row(args: argparse.Namespace) -> dict:
    """Seconds of CPU and peak memory of the metric, each time in a process of its own."""
    found = {"faster": [], "pycocotools": []}
    with tempfile.TemporaryDirectory() as folder:
        generated_split(Path(folder), args.metric_images, PER_IMAGE)
        for _ in range(args.rounds):
            for library, rows in found.items():
                rows.append(result(start(__file__, "--metric", library, folder)))
    row = {"images": args.metric_images, "detections": args.metric_images * PER_IMAGE}
    for library, rows in found.items():
        row[library] = {
            "cpu_s": round(statistics.median(r["cpu_s"] for r in rows), 1),
            "peak_gb": round(max(r["peak_gb"] for r in rows), 2),
            "AP": rows[0]["AP"],
        }
    return row


def time_metric(library: str, folder: Path) -> dict:
    """Computes the metric once; ground truth and detections are read beforehand."""
    import numpy as np

    rows = np.load(folder / "detections.npy")
    if library == "faster":
        from src.data.readers.coco_reader import read_coco
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
    return {"cpu_s": time.process_time() - started, "peak_gb": peak_bytes() / GIGA, "AP": ap}


def make_evaluation(folder: Path, images: int, flags: Sequence[str], **keys):
    """The configuration, the split and the network of an evaluation on drawn JPEGs."""
    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd
    from src.runtime.device import set_up_device

    write_images(folder, images)
    annotations = make_annotations(folder, images)
    usual = {"image_size": [SIZE, SIZE], "eval_batch_size": 4, "eval_loss": False}
    cfg = configure(flags, **{**usual, **keys})
    set_up_device("CPU")
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell).set_train(False)
    draw_head_norms(network)
    spread_scores(network, cfg, annotations, above=CANDIDATES)
    return cfg, annotations, network


@contextmanager
def watched(watch):
    """Gives a stopwatch the time that the main thread spends on each part of an evaluation."""
    from src.evaluation import detect

    def timed(part, function):
        def call(*arguments, **keys):
            with watch(part):
                return function(*arguments, **keys)

        return call

    def timed_batches(*arguments, **keys):
        with closing(batches(*arguments, **keys)) as items:
            yield from iter(timed(READ, lambda: next(items, None)), None)

    batches, follower = detect.eval_batches, detect.Follower
    submit, drain = follower.submit, follower.drain
    with (
        patch.object(detect, "eval_batches", timed_batches),
        patch.object(detect.Inference, "forward", timed(NETWORK, detect.Inference.forward)),
        patch.object(follower, "submit", timed(POSTPROCESS, submit)),
        patch.object(follower, "drain", timed(POSTPROCESS, lambda host: list(drain(host)))),
    ):
        yield


def timed_detection(cfg, annotations, network, model=None) -> tuple[float, float, dict[str, float]]:
    """Seconds, CPU-seconds of this process and its workers, and seconds waited for each part."""
    from src.evaluation.detect import detect_with
    from src.runtime.stopwatch import Stopwatch

    watch = Stopwatch()
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    with watched(watch):
        found = detect_with(network, cfg, annotations, model=model)
    seconds = time.perf_counter() - wall
    found.check()
    return seconds, sum(os.times()[:4]) - cpu, watch.lap()


def whole_row(args: argparse.Namespace) -> dict:
    """Images a second, and where the time of the main thread goes."""
    with tempfile.TemporaryDirectory() as folder:
        setting = make_evaluation(Path(folder), args.images, args.flags)
        timed_detection(*setting)  # compiles
        runs = [timed_detection(*setting) for _ in range(args.rounds)]
        work = host_work(*setting)
    seconds, cpu, parts = sorted(runs, key=lambda run: run[0])[args.rounds // 2]
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
    from src.data.eval_loader import EvalSamples, eval_batches
    from src.detection.postprocess import build_postprocessor
    from src.evaluation.detect import detect_batch
    from src.prediction.inference import build_inference

    samples = EvalSamples(annotations, sizes=[cfg.image_size], keep_aspect=False)
    batches = []
    read = eval_batches(samples, batch_size=cfg.eval_batch_size, workers=0)
    _, reading = measure(lambda: batches.extend(read))
    inference = build_inference(cfg, network, build_postprocessor(cfg), cfg.eval_batch_size)
    outputs = inference.forward(batches[0].images)

    def post_process():
        for _ in range(REPEATS):
            detect_batch(inference, batches[0], outputs, annotations.category_ids, {})

    _, seconds = measure(post_process)
    return {
        READ: round(reading / len(annotations) * MILLI, 1),
        POSTPROCESS: round(seconds / REPEATS / cfg.eval_batch_size * MILLI, 1),
    }


def tta_row(args: argparse.Namespace) -> dict:
    """Time of each kind of augmentation over that of none, alternating."""
    times: dict[str, list[float]] = {name: [] for name in TTA}
    with tempfile.TemporaryDirectory() as folder:
        cfg, annotations, network = make_evaluation(Path(folder), args.images, args.flags)
        for number in range(args.rounds + 1):  # the first one compiles
            for name, keys in TTA.items():
                seconds, _, _ = timed_detection(cfg.replace(**keys), annotations, network)
                if number:
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "images_per_s": {n: round(args.images / m, 3) for n, m in medians.items()},
        "times_as_long": {n: round(m / medians["none"], 2) for n, m in medians.items()},
    }


def loss_row(args: argparse.Namespace) -> dict:
    """CPU time with and without the loss, alternating, and that of the first time of each."""
    from src.detection.postprocess import build_postprocessor
    from src.evaluation.split_loss import build_split_model

    times: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        cfg, annotations, network = make_evaluation(Path(folder), args.images, args.flags)
        models = {
            name: build_split_model(
                cfg.replace(eval_loss=name == "with"),
                network,
                annotations,
                build_postprocessor(cfg),
            )
            for name in times
        }
        for _ in range(args.rounds + 1):
            for name, model in models.items():
                _, cpu, _ = timed_detection(cfg, annotations, network, model)
                times[name].append(cpu)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {
        "cpu_ms_an_image": {n: round(m / args.images * MILLI) for n, m in medians.items()},
        "times_as_much": round(medians["with"] / medians["without"], 3),
        "first_cpu_s": {name: round(values[0], 1) for name, values in times.items()},
    }


def memory_row(args: argparse.Namespace) -> dict:
    """Peak memory of detecting in few and in many images, a process each."""
    few, many = args.memory_images
    peaks = {n: result(start(__file__, "--peak", n))["peak_mb"] for n in (few, many)}
    return {
        "peak_mb": peaks,
        "kb_an_image": round((peaks[many] - peaks[few]) * 1e3 / (many - few), 1),
    }


def peak_memory(images: int) -> dict:
    """Peak memory in MB of detecting in so many images, 100 detections each."""
    with tempfile.TemporaryDirectory() as folder:
        small = {"backbone": "resnet18", "fpn_channels": 8, "head_depth": 0, "num_workers": 0}
        timed_detection(*make_evaluation(Path(folder), images, [], image_size=[64, 64], **small))
    return {"peak_mb": peak_bytes() / MEGA}


ROWS = {
    "metric": metric_row, "whole": whole_row, "tta": tta_row, "loss": loss_row,
    "memory": memory_row,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--images", type=int, default=24, help="of whole, tta and loss")
    parser.add_argument("--rounds", type=int, default=3, help="timed, of all rows but memory")
    parser.add_argument("--metric_images", type=int, default=5000)
    parser.add_argument("--memory_images", type=int, nargs=2, default=(500, 5000))
    parser.add_argument("--metric", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parse(parser, argv)
    os.environ.setdefault("GLOG_v", "3")
    if args.metric:
        print(json.dumps(time_metric(args.metric[0], Path(args.metric[1]))))
    elif args.peak:
        print(json.dumps(peak_memory(args.peak)))
    else:
        for name in args.rows:
            print_row(f"evaluation {name}", ROWS[name](args))


if __name__ == "__main__":
    main()
