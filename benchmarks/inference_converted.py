"""Times a converted detector and its ONNX file beside torchvision's original, of equal weights.

    python benchmarks/inference_converted.py --peer VENV/bin/python [--short_side 800]

Prints a JSON line: milliseconds and CPU milliseconds from an image of 480 x 640 to detections,
resizing and suppression included, and peak memory; and how many of the original's detections each
way finds. Each runs in a process of its own, and they alternate. The original is
retinanet_resnet50_fpn_v2 with random weights, predictors whose scores spread, and biases with which
about 1,000 predictions pass the threshold.

mindspore: the network in graph mode, on a canvas as torchvision pads to. onnx: the file of
export.py, which takes whole pixels, with norms folded. torchvision, torchvision_onnx: the original,
and its torch.onnx.export, run by the same ONNX Runtime as our file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MILLI, REPOSITORY, make_parser, print_row
from benchmarks.processes import alternate, serve

HEIGHT, WIDTH = 480, 640
CLASSES, THRESHOLD, CANDIDATES = 91, 0.05, 1000
CLASS_SPREAD, BOX_SPREAD = 0.05, 0.01  # of the predictors' weights; boxes stay near their anchors
UNNAMED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # of COCO's ids; they find nothing
STEP = 32  # pixels that torchvision pads a single image to multiples of
BOX, SCORE = 2.0, 0.01  # pixels and score within which detections are the same
OURS, PEERS = ("mindspore", "onnx"), ("torchvision", "torchvision_onnx")
FILES = {"onnx": "ours.onnx", "torchvision_onnx": "peer.onnx"}


def canvas_of(short_side: int) -> tuple[int, int]:
    """Height and width that torchvision pads the image to."""
    sides = (short_side, short_side * WIDTH // HEIGHT)
    return tuple(-(-side // STEP) * STEP for side in sides)


def peer_network(short_side: int):
    from torchvision.models.detection import retinanet_resnet50_fpn_v2

    return retinanet_resnet50_fpn_v2(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES,
        min_size=short_side,
        max_size=canvas_of(short_side)[1],
        score_thresh=THRESHOLD,
    ).eval()


def peer_image(folder: Path):
    import numpy as np
    import torch

    return torch.from_numpy(np.load(folder / "image.npy")).permute(2, 0, 1) / 255


def prepare_peer(folder: Path, short_side: int) -> None:
    """Writes the original's weights, its ONNX file, and what it detects."""
    import numpy as np
    import torch

    torch.manual_seed(1)
    model, image = peer_network(short_side), peer_image(folder)
    predictor = model.head.classification_head.cls_logits
    torch.nn.init.normal_(predictor.weight, std=CLASS_SPREAD)
    torch.nn.init.normal_(model.head.regression_head.bbox_reg.weight, std=BOX_SPREAD)
    unnamed = torch.zeros(CLASSES, dtype=torch.bool)
    unnamed[list(UNNAMED)] = True
    logits = []
    handle = predictor.register_forward_hook(lambda _, __, output: logits.append(output))
    with torch.no_grad():
        predictor.bias.view(-1, CLASSES)[:, unnamed] = -50
        model([image])
        handle.remove()
        least = torch.cat([level.flatten() for level in logits]).topk(CANDIDATES).values[-1]
        predictor.bias += torch.logit(torch.tensor(THRESHOLD)) - least
        torch.save(model.state_dict(), folder / "peer.pth")
        (found,) = model([image])
        torch.onnx.export(
            model,
            ([image],),
            folder / FILES["torchvision_onnx"],
            input_names=["image"],
            opset_version=17,
            dynamo=False,
        )
    np.savez(folder / "peer.npz", **{name: value.numpy() for name, value in found.items()})


def prepare_ours(folder: Path, short_side: int) -> None:
    """Converts the original's weights, and exports them."""
    canvas = list(canvas_of(short_side))
    sides = [f"--image_size={canvas}", f"--short_side={short_side}", f"--long_side={canvas[1]}"]
    convert = ["-m", "src.weights", folder / "peer.pth", folder / "ours.ckpt"]
    export = ["export.py", f"--checkpoint_path={folder / 'ours.ckpt'}", "--file_format=ONNX"]
    export += [f"--file_name={folder / FILES['onnx']}", f"--export_image={folder / 'image.png'}"]
    for command in (convert, [*export, *sides]):
        subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True, stdout=sys.stderr)


def build_network(folder: Path, short_side: int, threads: int):
    """Detection by the network and NumPy."""
    import numpy as np

    from src.prediction.detector import Detector

    canvas = canvas_of(short_side)
    detector = Detector.load(
        folder / "ours.ckpt",
        image_size=list(canvas),
        short_side=short_side,
        long_side=canvas[1],
        cpu_threads=threads,
    )
    image = np.load(folder / "image.npy")
    names = {name: label for label, name in enumerate(detector.names)}

    def detect():
        boxes, scores, found = detector(image)
        return boxes, scores, [names[name] for name in found]

    return detect


def build_onnx(folder: Path, short_side: int, threads: int):
    """Detection by our ONNX file, with ONNX Runtime and NumPy alone."""
    import numpy as np

    from src.data.short_side import ShortSide
    from src.data.transforms import FILL

    session, image = open_session(folder / FILES["onnx"], threads), np.load(folder / "image.npy")
    canvas = canvas_of(short_side)
    fitting = ShortSide(
        short=short_side, long=canvas[1], canvases=(canvas,), fill=FILL, exact=False
    )

    def detect():
        fitted, scale = fitting.fit(image, canvas)
        boxes, scores, labels = (
            output[0] for output in session.run(None, {"images": fitted[None]})
        )
        objects = labels >= 0
        return (boxes / np.tile(scale, 2))[objects], scores[objects], labels[objects]

    return detect


def open_session(path: Path, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def build_peer(folder: Path, short_side: int, threads: int):
    """Detection by torchvision."""
    import torch

    torch.set_num_threads(threads)
    model, image = peer_network(short_side), peer_image(folder)
    model.load_state_dict(torch.load(folder / "peer.pth"))

    def detect():
        with torch.inference_mode():
            (found,) = model([image])
        return [found[name].numpy() for name in ("boxes", "scores", "labels")]

    return detect


def build_peer_onnx(folder: Path, short_side: int, threads: int):
    """Detection by the original's ONNX file."""
    import numpy as np

    session = open_session(folder / FILES["torchvision_onnx"], threads)
    pixels = np.load(folder / "image.npy").transpose(2, 0, 1).astype(np.float32) / 255
    return lambda: session.run(None, {"image": pixels})


BUILDERS = dict(
    zip((*OURS, *PEERS), (build_network, build_onnx, build_peer, build_peer_onnx), strict=True)
)


def build(role: str, folder: Path, short_side: int, threads: int):
    """The role's detection, and the share of the original's detections that it finds."""
    import numpy as np

    detect = BUILDERS[role](folder, short_side, threads)
    boxes, scores, labels = detect()
    ids = np.setdiff1d(np.arange(CLASSES), UNNAMED) if role in OURS else np.arange(CLASSES)
    with np.load(folder / "peer.npz") as expected:
        same = np.abs(boxes[:, None] - expected["boxes"]).max(axis=2, initial=0) <= BOX
        same &= np.abs(scores[:, None] - expected["scores"]) <= SCORE
        same &= ids[np.asarray(labels, int)][:, None] == expected["labels"]
        sides = expected["boxes"][:, 2:] - expected["boxes"][:, :2]
        has_area = (sides > 0).all(axis=1)  # we drop boxes without area in the image
        found = int(same.any(axis=0)[has_area].sum())
        facts = {"found": found, "of": int(has_area.sum()), "detections": len(scores)}
    return detect, facts


def write_image(folder: Path) -> None:
    """Writes a drawn image, as an array and as a file."""
    import cv2
    import numpy as np

    from src.data.synthetic import write_dataset

    write_dataset(folder / "drawn", train=1, val=1, seed=1)
    path = next((folder / "drawn").rglob("*.jpg"))
    image = cv2.resize(cv2.imread(str(path)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "image.png"), image)
    np.save(folder / "image.npy", image[..., ::-1].copy())


def compare(args: argparse.Namespace) -> dict:
    """The row."""
    with tempfile.TemporaryDirectory() as name:
        write_image(Path(name))
        numbers = [name, str(args.short_side)]
        for role, python in (("peer", args.peer), ("ours", sys.executable)):
            subprocess.run([python, __file__, "--prepare", role, *numbers], check=True)
        pythons = dict.fromkeys((*OURS, *PEERS), sys.executable) | {"torchvision": args.peer}
        more = ["--threads", str(args.threads)]
        commands = {
            role: [python, __file__, "--serve", role, *numbers, *more]
            for role, python in pythons.items()
        }
        found = alternate(commands, args.rounds)
    row = {"short_side": args.short_side, "canvas": canvas_of(args.short_side)}
    for role, times in found.items():
        row[role] = {
            "ms_an_image": round(times["seconds"] * MILLI),
            "cpu_ms_an_image": round(times["cpu_seconds"] * MILLI),
            "peak_gb": round(times["peak_gb"], 2),
            **times["facts"],
        }
    for role in OURS:
        for peer in PEERS:
            ratio = found[role]["seconds"] / found[peer]["seconds"]
            row[f"{role}_to_{peer}"] = round(ratio, 3)
    return row


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--short_side", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=7, help="timed, after the first")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has torchvision")
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault("GLOG_v", "3")
    role, folder, side = args.prepare or args.serve or ["", "", "0"]
    if args.prepare:
        (prepare_peer if role == "peer" else prepare_ours)(Path(folder), int(side))
    elif args.serve:
        serve(lambda: build(role, Path(folder), int(side), args.threads))
    elif not args.peer:
        parser.error("--peer is needed, an interpreter that has torchvision")
    else:
        print_row("inference converted", compare(args))


if __name__ == "__main__":
    main()
