"""Times detection with the network, with exported files, and beside them torchvision's RetinaNet.

    python benchmarks/inference.py [--image_size 640] [--batches 1 8] [--peer VENV/bin/python]

Prints a JSON line for each batch size: milliseconds and CPU milliseconds an image from pixels to
detections, suppression included, and peak memory. Each way runs in a process of its own, and they
alternate. Scores are spread so that about 1,000 predictions of an image pass the threshold, in the
peer's network too; both have 80 classes and random weights otherwise. Flags of train.py change our
network.

mindspore: the network in graph mode, and post-processing in NumPy as in eval.py. mindir, onnx:
files of export.py; onnx_winograd: with --winograd=0.15; onnx_fast: with --winograd=10; onnx_plain:
with norms not folded.
torchvision: retinanet_resnet50_fpn; torchvision_onnx: its torch.onnx.export, run by the same ONNX
Runtime as our files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MEGA, MILLI, make_parser, parse, print_row
from benchmarks.processes import alternate, serve

CLASSES = 80
CANDIDATES = 1000  # of an image, that pass the threshold
THRESHOLD = 0.05
COMPARED = 2  # images on which exported files are checked
# the most `winograd` that keeps to 1.2 of the peer's memory, and one that limits nothing
LITTLE_MEMORY, LEAST_TIME = 0.15, 10.0
EXPORTED = ("mindir", "onnx", "onnx_winograd", "onnx_fast", "onnx_plain")
OURS = ("mindspore", *EXPORTED)
PEERS = ("torchvision", "torchvision_onnx")
FILES = {
    "mindir": "folded.mindir", "onnx": "folded.onnx", "onnx_winograd": "winograd.onnx",
    "onnx_fast": "fast.onnx", "onnx_plain": "plain.onnx", "torchvision_onnx": "peer.onnx",
}  # fmt: skip


def prepare(
    folder: Path,
    image_size: int,
    batch: int,
    flags: Sequence[str],
    roles: Sequence[str] = EXPORTED,
) -> None:
    """Writes images.npy, a checkpoint of the base network, and its exported files of `roles`."""
    import numpy as np

    from benchmarks.evaluation import make_evaluation
    from src.data.eval_loader import EvalSamples, eval_batches
    from src.deploy.exporter import Exporter, run_network
    from src.deploy.formats import describe
    from src.detection.anchors import build_anchors
    from src.models.folding import fold_norms
    from src.prediction.network_model import load_network
    from src.training.checkpoints import write_checkpoint

    keys = {"image_size": [image_size, image_size], "export_batch": batch}
    (folder / "pictures").mkdir()
    count = max(batch, COMPARED)
    cfg, annotations, network = make_evaluation(folder / "pictures", count, flags, **keys)
    samples = EvalSamples(annotations, sizes=[cfg.image_size], keep_aspect=False)
    images = next(eval_batches(samples, batch_size=count, workers=0)).images[0]
    np.save(folder / "images.npy", images[:batch])
    path = folder / "network.ckpt"
    write_checkpoint(path, network.parameters_dict(), cfg.to_yaml(), {"epoch": 1, "step": 1})
    cfg = cfg.replace(checkpoint_path=str(path))
    truth = run_network(network, images, "network.ckpt")
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    growth = {FILES["onnx_winograd"]: LITTLE_MEMORY, FILES["onnx_fast"]: LEAST_TIME}
    for name in (FILES[role] for role in roles):
        exporter = Exporter(anchors, describe(cfg), growth.get(name, 0))
        fold = (lambda network: network) if name.startswith("plain") else fold_norms
        file_format = "ONNX" if name.endswith("onnx") else "MINDIR"
        outcome = exporter.export(
            lambda fold=fold: fold(load_network(cfg)), truth, folder / name, file_format
        )
        found = outcome.comparison.compared
        print(f"{name}: {found} detections as the network's", file=sys.stderr)


def build_network(folder: Path, threads: int):
    """Detection by the network and NumPy."""
    import numpy as np

    from src.config.configuration import make_config
    from src.detection.postprocess import build_postprocessor
    from src.prediction.inference import build_inference
    from src.prediction.network_model import load_network
    from src.prediction.recorded import detector_config
    from src.runtime.device import set_up_device

    images = np.load(folder / "images.npy")
    path = str(folder / "network.ckpt")
    cfg = make_config([(detector_config(path), path), ({"checkpoint_path": path}, "benchmark")])
    set_up_device("CPU", cpu_threads=threads)
    network, postprocess = load_network(cfg), build_postprocessor(cfg)
    inference = build_inference(cfg, network, postprocess, len(images))
    scales, size = np.ones((1, 2)), np.array(cfg.image_size[::-1], np.float32)

    def work():
        outputs = inference.forward([images])
        for row in range(len(images)):
            inference.merged([inference.candidates(outputs, row, scales, size)])

    return work, {}


def build_mindir(path: Path, threads: int):
    """Detection by a MINDIR file."""
    import numpy as np

    from src.deploy.exported import load_exported
    from src.deploy.formats import read_description
    from src.runtime.device import set_up_device

    images = np.load(path.parent / "images.npy")
    set_up_device("CPU", cpu_threads=threads)
    model = load_exported(path, read_description(path))
    return lambda: model.forward(images), {"file_mb": round(path.stat().st_size / MEGA, 2)}


def prepare_peer(folder: Path, image_size: int) -> None:
    """Writes the peer's network with spread scores, and its ONNX file."""
    import torch

    model, images = peer_network(image_size), peer_images(folder)
    logits = []
    predictor = model.head.classification_head.cls_logits
    handle = predictor.register_forward_hook(lambda _, __, output: logits.append(output))
    with torch.no_grad():
        model(images)
        handle.remove()
        every = torch.cat([level.flatten() for level in logits])
        least = every.topk(CANDIDATES * len(images)).values[-1]
        threshold = torch.logit(torch.tensor(THRESHOLD))
        predictor.bias += threshold - least
        torch.save(model.state_dict(), folder / "peer.pth")
        names = [f"image{index}" for index in range(len(images))]
        torch.onnx.export(
            model,
            (images,),
            folder / FILES["torchvision_onnx"],
            input_names=names,
            opset_version=17,
            dynamo=False,
        )
        found = [len(image["scores"]) for image in model(images)]
    print(f"peer: {found} detections", file=sys.stderr)


def peer_network(image_size: int):
    from torchvision.models.detection import retinanet_resnet50_fpn

    return retinanet_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES,
        min_size=image_size,
        max_size=image_size,
        score_thresh=THRESHOLD,
        nms_thresh=0.6,
        detections_per_img=100,
    ).eval()


def peer_images(folder: Path) -> list:
    import numpy as np
    import torch

    return [torch.from_numpy(i).permute(2, 0, 1) / 255 for i in np.load(folder / "images.npy")]


def build_peer(folder: Path, image_size: int, threads: int):
    """Detection by torchvision."""
    import torch

    torch.set_num_threads(threads)
    model, images = peer_network(image_size), peer_images(folder)
    model.load_state_dict(torch.load(folder / "peer.pth"))

    def work():
        with torch.inference_mode():
            model(images)

    return work, {}


def build_onnx(path: Path, threads: int):
    """Detection by an ONNX file, ours or the peer's, with ONNX Runtime alone."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images = np.load(path.parent / "images.npy")
    feed = {"images": images}
    if path.name == FILES["torchvision_onnx"]:  # an input for each image
        floats = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
        feed = {value.name: image for value, image in zip(session.get_inputs(), floats)}
    return lambda: session.run(None, feed), {"file_mb": round(path.stat().st_size / MEGA, 2)}


def build(role: str, folder: Path, image_size: int, threads: int):
    """A function that detects in the images once, and facts, for `serve`."""
    if role == "mindspore":
        return build_network(folder, threads)
    if role == "torchvision":
        return build_peer(folder, image_size, threads)
    path = folder / FILES[role]
    return build_mindir(path, threads) if role == "mindir" else build_onnx(path, threads)


def compare(args: argparse.Namespace, batch: int) -> dict:
    """A row: all ways to detect in a batch of that size."""
    with tempfile.TemporaryDirectory() as name:
        numbers = [name, str(args.image_size), str(batch)]
        ways = ["--ways", *args.ways]
        prepare_ours = [sys.executable, __file__, "--prepare", "ours", *numbers, *ways, *args.flags]
        subprocess.run(prepare_ours, check=True)
        pythons = dict.fromkeys(OURS, sys.executable)
        if args.peer:
            subprocess.run([args.peer, __file__, "--prepare", "peer", *numbers], check=True)
            pythons.update(zip(PEERS, (args.peer, sys.executable)))
        more = ["--threads", str(args.threads)]
        commands = {
            role: [python, __file__, "--serve", role, *numbers, *more]
            for role, python in pythons.items()
            if role in args.ways
        }
        found = alternate(commands, args.rounds)
    row = {"image_size": args.image_size, "batch": batch}
    for role, times in found.items():
        row[role] = {
            "ms_an_image": round(times["seconds"] / batch * MILLI),
            "cpu_ms_an_image": round(times["cpu_seconds"] / batch * MILLI),
            "peak_gb": round(times["peak_gb"], 2),
            **times["facts"],
        }
    for peer in filter(found.get, PEERS):
        for role in filter(found.get, ("onnx", "onnx_winograd", "onnx_fast")):
            for what in ("seconds", "cpu_seconds", "peak_gb"):
                ratio = found[role][what] / found[peer][what]
                row[f"{role}_to_{peer}_{what}"] = round(ratio, 3)
    return row


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7, help="timed, after the first")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has torchvision")
    ways = (*OURS, *PEERS)
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, help="by default all")
    parser.add_argument("--prepare", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    args = parse(parser, argv)
    os.environ.setdefault("GLOG_v", "3")
    role, folder, *numbers = args.prepare or args.serve or ["", ""]
    if args.prepare and role == "ours":
        own = [role for role in EXPORTED if role in args.ways]
        prepare(Path(folder), *map(int, numbers), args.flags, own)
    elif args.prepare:
        prepare_peer(Path(folder), int(numbers[0]))
    elif args.serve:
        serve(lambda: build(role, Path(folder), int(numbers[0]), args.threads))
    else:
        for batch in args.batches:
            print_row("inference", compare(args, batch))


if __name__ == "__main__":
    main()
