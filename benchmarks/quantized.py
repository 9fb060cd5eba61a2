"""Times exported detectors of 32, 16 and 8 bits with ONNX Runtime, and with OpenVINO.

    python benchmarks/quantized.py [--image_size 640] [--batches 1 8] [--openvino]

Prints a JSON line for each batch size: milliseconds and CPU milliseconds an image from pixels to
detections, suppression included, peak memory, the file's size, and ratios to float32. Each way runs
in a process of its own, and they alternate. The network has random weights, with about 1,000
predictions of an image above the threshold. Flags of train.py change it.

float32, fp16, int8: files of export.py with norms folded, by ONNX Runtime. openvino, openvino_int8:
the first and the last by OpenVINO, told to compute in float32 what is not in 8 bits;
openvino_default: the first as OpenVINO chooses, which is bfloat16 where the processor has it. These
also say in which type, and how many of the detections of ONNX Runtime with the same file they give.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import MEGA, MILLI, make_parser, parse, print_row
from benchmarks.inference import FILES, build_onnx
from benchmarks.inference import prepare as prepare_float32
from benchmarks.processes import alternate, serve

FORMATS = ("float32", "fp16", "int8")
OPENVINO = {  # the file of each way, and the type that OpenVINO is told to compute in
    "openvino": ("float32", "f32"),
    "openvino_default": ("float32", ""),
    "openvino_int8": ("int8", "f32"),
}


def prepare(folder: Path, image_size: int, batch: int, flags: Sequence[str]) -> None:
    """Writes images.npy, a file of each format, and what ONNX Runtime detects with it."""
    import numpy as np
    import onnx

    from src.deploy.formats import OUTPUTS
    from src.deploy.quantize import to_fp16, to_int8

    prepare_float32(folder, image_size, batch, flags, roles=("onnx",))
    model = onnx.load(str(folder / FILES["onnx"]))
    images = np.load(folder / "images.npy")
    made = {"float32": model, "fp16": to_fp16(model), "int8": to_int8(model, [images])}
    for name, one in made.items():
        onnx.save(one, str(folder / f"{name}.onnx"))
        detect, _ = build_onnx(folder / f"{name}.onnx", threads=0)
        np.savez(folder / f"{name}.npz", **dict(zip(OUTPUTS, detect())))


def build_openvino(path: Path, precision: str, threads: int):
    """Detection by OpenVINO, and how many of ONNX Runtime's detections it gives."""
    import numpy as np
    import openvino

    from src.deploy.formats import OUTPUTS

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if precision:
        hints["INFERENCE_PRECISION_HINT"] = precision
    model = openvino.Core().compile_model(str(path), "CPU", hints)
    images = np.load(path.parent / "images.npy")
    found = model([images])
    equal, wanted = count_equal([found[name] for name in OUTPUTS], path.with_suffix(".npz"))
    chosen = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    size = round(path.stat().st_size / MEGA, 2)
    return lambda: model([images]), {"type": chosen, "equal": equal, "of": wanted, "file_mb": size}


def count_equal(outputs: Sequence, path: Path) -> tuple[int, int]:
    """How many detections in the file are equal to one of the outputs, and how many there are."""
    import numpy as np

    from src.deploy.compare import equal_indices
    from src.deploy.formats import OUTPUTS
    from src.detection.postprocess import Detections

    equal = wanted = 0
    with np.load(path) as file:
        others = [file[name] for name in OUTPUTS]
    for own, other in zip(zip(*outputs), zip(*others)):
        one, two = (Detections(*arrays).take(arrays[2] >= 0) for arrays in (own, other))
        equal += int((equal_indices(two, one) >= 0).sum())
        wanted += len(two.scores)
    return equal, wanted


def build(role: str, folder: Path, threads: int):
    """A function that detects in the images once, and facts, for `serve`."""
    if role in OPENVINO:
        name, precision = OPENVINO[role]
        return build_openvino(folder / f"{name}.onnx", precision, threads)
    return build_onnx(folder / f"{role}.onnx", threads)


def compare(args: argparse.Namespace, batch: int) -> dict:
    """A row: all ways to detect in a batch of that size."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = [str(args.image_size), str(batch)]
        command = [sys.executable, __file__, "--prepare", folder, *numbers, *args.flags]
        subprocess.run(command, check=True)
        roles = [*FORMATS, *(OPENVINO if args.openvino else ())]
        more = ["--threads", str(args.threads)]
        found = alternate(
            {role: [sys.executable, __file__, "--serve", role, folder, *more] for role in roles},
            args.rounds,
        )
    row, base = {"image_size": args.image_size, "batch": batch}, found["float32"]
    for role, times in found.items():
        row[role] = {
            "ms_an_image": round(times["seconds"] / batch * MILLI, 1),
            "cpu_ms_an_image": round(times["cpu_seconds"] / batch * MILLI, 1),
            "to_float32": round(times["seconds"] / base["seconds"], 3),
            "cpu_to_float32": round(times["cpu_seconds"] / base["cpu_seconds"], 3),
            "peak_gb": round(times["peak_gb"], 2),
            **times["facts"],
        }
    return row


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7, help="timed, after the first")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--openvino", action="store_true", help="needs the package openvino")
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parse(parser, argv)
    os.environ.setdefault("GLOG_v", "3")
    if args.prepare:
        folder, *numbers = args.prepare
        prepare(Path(folder), *map(int, numbers), args.flags)
        return
    if args.serve:
        role, folder = args.serve
        serve(lambda: build(role, Path(folder), args.threads))
        return
    if args.openvino and importlib.util.find_spec("openvino") is None:
        parser.error(f"{sys.executable} has no package openvino; 'pip install openvino' gets it")
    for batch in args.batches:
        print_row("quantized", compare(args, batch))


if __name__ == "__main__":
    main()
