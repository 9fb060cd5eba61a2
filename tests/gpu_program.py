"""Compiles what a run needs for a GPU that computes nothing: a part of test_gpu.py.

python gpu_program.py FOLDER FLAGS [--suppression]

FLAGS is a JSON list, of train.py's flags. MindSpore's dumps go to FOLDER, and a file of this rank:
{graph: dumps, "error": traceback}.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, os.getcwd())

from src.distributed.launch import find_launch, prepare_environment  # noqa: E402

OBJECTS = 8  # G
BOTTLENECKS = (2, 1, 1, 1)  # of a ResNet-50's stages: each kind, with and without a projection


def compile_case(cfg, ranks, record: Callable[[str], None]) -> None:
    """Everything of one configuration; of several ranks their sum alone, the rest is the same.

    Args:
        record: gets a name for the graphs that were built since the last call.
    """
    import numpy as np

    from src.detection.anchors import build_anchors
    from src.detection.postprocess import build_postprocessor
    from src.evaluation.split_loss import LossModel
    from src.losses.detection_loss import build_loss
    from src.models.ssd import build_ssd
    from src.prediction.network_model import build_model
    from src.training.setup import build_step

    generator = build_anchors(cfg)
    anchors = generator.boxes(cfg.image_size)
    network = build_ssd(cfg, generator.anchors_per_cell)
    averaged = build_ssd(cfg, generator.anchors_per_cell) if cfg.ema_decay else None
    step = build_step(cfg, network, averaged=averaged, ranks=ranks)
    if ranks.size > 1:
        step.sums.sum_over_ranks.compile()
        record("sum")
        return
    n = cfg.batch_size
    layout = {
        "images": ((n, *cfg.image_size, 3), np.uint8),
        "assigned": ((n, len(anchors)), np.int32),
        "boxes": ((n, OBJECTS, 4), np.float32),
        "labels": ((n, OBJECTS), np.int32),
    }
    step.compile(layout, batches=cfg.accumulate)
    record("update")
    model = build_model(
        cfg, averaged or network, batch_size=n, postprocess=build_postprocessor(cfg)
    )
    LossModel(model, build_loss(cfg), cfg.image_size, layout).compile(cfg.image_size)
    record("evaluation")


def compile_suppression(cfg) -> None:
    """That of an exported file, which is the same for all recipes."""
    import mindspore as ms
    import numpy as np

    from src.deploy.export_cells import Suppression

    n = cfg.batch_size
    limits = {"score_threshold": 0.05, "nms_iou": 0.6, "class_agnostic": False}
    suppression = Suppression(cfg.pre_nms_top_k, **limits, max_detections=cfg.max_detections)
    shapes = ((n, cfg.pre_nms_top_k, 4), np.float32), ((n, cfg.pre_nms_top_k), np.float32)
    labels = ms.Tensor(np.zeros((n, cfg.pre_nms_top_k), np.int32))
    found = [ms.Tensor(np.zeros(*shape)) for shape in shapes]
    suppression.set_train(False).compile(*found, labels)


def main() -> None:
    folder, flags = Path(sys.argv[1]), json.loads(sys.argv[2])
    launch = find_launch()
    prepare_environment(launch)
    import mindspore as ms

    from src.config.command_line import parse_args
    from src.distributed.join import build_device
    from src.models import resnet
    from tests.narrow.narrow_resnet import narrow_resnet

    narrow_resnet()
    resnet.VARIANTS["resnet50"] = (resnet.BottleneckBlock, BOTTLENECKS)
    own = folder / f"rank_{launch.rank}"
    ms.set_context(save_graphs=1, save_graphs_path=str(own))
    found, seen = {}, set()

    def record(graph):
        new = set(own.glob("**/graph_build_*.ir")) - seen
        found[graph] = sorted(map(str, new))
        seen.update(new)

    cfg = parse_args("", [*flags, "--device_target=GPU"])
    try:
        compile_case(cfg, build_device(cfg, launch), record)
        if "--suppression" in sys.argv:
            compile_suppression(cfg)
            record("suppression")
    except Exception:
        found["error"] = traceback.format_exc()
    (folder / f"found_{launch.rank}.json").write_text(json.dumps(found))
    if launch.size > 1:
        from mpi4py import MPI

        MPI.Finalize()
    os._exit(0)  # there is nothing to clean up on a card that is none


if __name__ == "__main__":
    main()
