"""Updates of a small network, and what ranks do together, in a process of their own.

    python3 -m src.doctor.trial REQUEST.json ANSWER.json

MindSpore can use one kind of device in a process, so a card's updates and the CPU's that they are
compared with are two of these. A process that crashes or hangs takes no other check with it.
"""

import ctypes
import dataclasses
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.config.configuration import Config, make_config
from src.runtime.files import to_json, write_atomically

OPTIMIZERS, PRECISIONS = ("momentum", "adamw"), ("float32", "float16")
# small enough to compile in seconds, with every kind of layer; no decay and no clipping, so that
# the loss after an update follows from the gradients
KEYS = {
    "backbone": "resnet18",
    "image_size": [128, 128],
    "fpn_channels": 32,
    "head_depth": 1,
    "classes": ["background", "a", "b", "c"],
    "batch_size": 4,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "loss_scale": 128.0,  # gradients of this network neither vanish nor overflow in float16 with it
    "dynamic_loss_scale": "false",
    "seed": 1,
}
# an update takes some 1 % from the loss: much more than float16 is off (0.02 % on an H200), and by
# momentum still what the gradients say to first order, but for 3 %
RATES = {"momentum": 1e-2, "adamw": 2e-5}
OBJECTS = 3  # in each image
KNOWN = np.arange(1, 1001, dtype=np.float32)  # rank r gives r + 1 times these; float32 is exact
GRADIENT_FLOATS, GRADIENT_PARTS = 33_300_000, 20  # of ResNet50: 133 MB
TIMED_SUMS = 3
RANK_UPDATES = 2
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True)
class Request:
    """What a trial is asked for.

    Attributes:
        target: CPU, GPU or Ascend.
        device_id: which card; several ranks find theirs themselves.
        cases: pairs of optimizer and precision, one update each.
        is_rank: whether this is a rank of the job that started the command.
        failures: that this rank has found before.
        can_run: whether it has a device to run on.
        card: which card this rank takes, by a name that no other card has; "" where unknown.
    """

    target: str
    device_id: int = 0
    cases: Sequence[Sequence[str]] = ()
    is_rank: bool = False
    failures: Sequence[Sequence[str]] = ()
    can_run: bool = True
    card: str = ""

    def about(self) -> dict[str, Any]:
        """What this rank tells the others of itself."""
        return {
            "host": socket.gethostname(),
            "failures": list(self.failures),
            "can_run": self.can_run,
            "card": self.card,
        }


def trial_config(target: str, optimizer: str, precision: str) -> Config:
    """The configuration of the small network."""
    keys = {**KEYS, "device_target": target, "optimizer": optimizer, "precision": precision}
    return make_config([(keys, "src.doctor.trial")])


def make_batch(cfg: Config, seed: int):
    """Images of noise with boxes at random, the same for the same seed."""
    from src.data.loader import TrainBatch
    from src.detection.assign import build_assigner

    rng = np.random.default_rng(seed)
    height, width = cfg.image_size
    count = (cfg.batch_size, OBJECTS)
    corners = rng.uniform(0, 0.5, (*count, 2)) * (width, height)
    sides = rng.uniform(0.25, 0.5, (*count, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype(np.float32)
    assign = build_assigner(cfg)
    nobody = np.zeros(OBJECTS, bool)
    return TrainBatch(
        images=rng.integers(0, 256, (cfg.batch_size, height, width, 3), np.uint8),
        assigned=np.stack([assign(own, nobody) for own in boxes]).astype(np.int32),
        boxes=boxes,
        labels=rng.integers(0, len(cfg.classes) - 1, count).astype(np.int32),
        image_ids=np.arange(cfg.batch_size),
        unread=[],
    )


def make_step(cfg: Config, ranks=None):
    """The update of a configuration, with freshly drawn weights."""
    from src.detection.anchors import build_anchors
    from src.models.ssd import build_ssd
    from src.training.setup import build_step

    anchors = build_anchors(cfg)
    network = build_ssd(cfg, anchors.anchors_per_cell)
    return build_step(cfg, network, anchors.boxes(cfg.image_size), ranks=ranks)


def update(cfg: Config, step) -> dict:
    """Loss, gradient norm, and the loss of the same batch after the update."""
    batch, rate = make_batch(cfg, cfg.seed), RATES[cfg.optimizer]
    first, second = step([batch], rate), step([batch], rate)
    return {
        "optimizer": cfg.optimizer,
        "precision": cfg.precision,
        "loss": first.loss,
        "norm": first.gradient_norm,
        "after": second.loss,
        "rate": rate,
    }


def updates(request: Request, tell: Callable[[list], None] = len) -> list[dict]:
    """`update` of each case, with the case; a case that raises has its error instead.

    Args:
        tell: is given what is done so far after each.
    """
    done: list[dict] = []
    for optimizer, precision in request.cases:
        try:
            cfg = trial_config(request.target, optimizer, precision)
            numbers = update(cfg, make_step(cfg))
        except Exception as error:  # of MindSpore's, which are of any kind
            numbers = {
                "optimizer": optimizer, "precision": precision, "error": first_line(error),
            }  # fmt: skip
        done.append(numbers)
        tell(done)
    return done


def first_line(error: Exception) -> str:
    """The kind of an error and the first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    return f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"


def add_up(ranks, arrays: Sequence[np.ndarray]):
    """What adds up arrays over the ranks: gives (sum of 1, one tensor an array) when called."""
    import mindspore as ms

    tensors = [ms.Tensor(array) for array in arrays]
    weights = [ms.Parameter(t, name=f"w{i}") for i, t in enumerate(tensors)]
    summed = ranks.make_sum(weights, [], 1)
    summed.compile()
    one = ms.Tensor(np.ones(1, np.float32)), ms.Tensor(1, ms.float32)
    return lambda: summed(one[0], tensors, one[1])


def wrong_sums(ranks) -> int:
    """How many sums of known whole numbers are not exact on this rank; 0 for a sum that works."""
    count, sums = add_up(ranks, [KNOWN * (ranks.rank + 1)])()
    expected = KNOWN * (ranks.size * (ranks.size + 1) // 2)
    return int((sums[0].asnumpy() != expected).sum()) + int(count.asnumpy()[0] != ranks.size)


def time_sum(ranks) -> float:
    """Seconds of a sum of as many floats as ResNet50's gradients have, the median of a few."""
    part = np.full(GRADIENT_FLOATS // GRADIENT_PARTS, 1.0, np.float32)
    call = add_up(ranks, [part] * GRADIENT_PARTS)
    times = []
    for _ in range(1 + TIMED_SUMS):  # the first one sets up connections
        ranks.sync()
        started = time.perf_counter()
        call()[0].asnumpy()
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def differing(ranks, cfg: Config, step) -> str:
    """What is not the same on all ranks after updates with images of their own; "" for nothing."""
    from src.runtime.errors import RunError
    from src.training.agreement import check_same

    for number in range(RANK_UPDATES):
        batch = make_batch(cfg, cfg.seed + ranks.rank + ranks.size * number)
        report = step([batch], RATES[cfg.optimizer])
        if not report.updated:
            return (
                f"update {number + 1}: the loss is {report.loss}, the norm {report.gradient_norm}"
            )
    try:
        check_same(ranks, step.parameters())
    except RunError as error:
        return str(error).partition(";")[0]
    return ""


def together(request: Request, launch) -> dict:
    """What the ranks of a job find; only the main rank's answer is whole."""
    from src.distributed.join import build_device
    from src.runtime.device import use_full_float32

    cfg = trial_config(request.target, *request.cases[0])
    ranks = build_device(cfg, launch)
    use_full_float32(request.target)
    ranks.idle()
    everyone = ranks.gather(request.about())
    answer = {"ranks": everyone, "transport": ranks.describe()}
    answer["wrong_sums"] = ranks.gather(wrong_sums(ranks))
    answer["sum_seconds"] = time_sum(ranks)
    step = make_step(cfg, ranks)
    step.sync()
    # all ranks with one batch make the update of one process with it
    answer["updates"] = [update(cfg, step)]
    answer["differing"] = differing(ranks, cfg, step)
    ranks.gather(None)  # none leaves while another one is at work
    return answer


def ready(request: Request) -> list[dict]:
    """What ranks of mpirun tell of themselves, before any waits for another one's device."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.allgather(request.about())


def sharing(ranks: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Groups of ranks that take the same card of the same machine."""
    takers: dict[tuple[str, str], list[int]] = {}
    for number, rank in enumerate(ranks):
        if rank["card"]:
            takers.setdefault((rank["host"], rank["card"]), []).append(number)
    return [numbers for numbers in takers.values() if len(numbers) > 1]


def alone(request: Request, tell: Callable[[dict], None]) -> dict:
    """The updates of one process; `tell` is given what is done, should the next one crash."""
    from src.runtime.device import set_up_device, use_full_float32

    set_up_device(request.target, device_id=request.device_id)
    use_full_float32(request.target)
    return {"updates": updates(request, lambda done: tell({"updates": done}))}


def answer_to(request: Request, tell: Callable[[dict], None]) -> dict:
    """The trial."""
    if not request.is_rank:
        return alone(request, tell)
    from src.distributed.launch import find_launch, prepare_environment

    launch = find_launch()
    if launch.by == "mpirun":
        everyone = ready(request)
        if not all(rank["can_run"] for rank in everyone) or sharing(everyone):
            return {"ranks": everyone}
    prepare_environment(launch)
    return together(request, launch)


def main() -> None:
    ctypes.CDLL(None).prctl(
        PR_SET_PDEATHSIG, signal.SIGKILL
    )  # ends with the doctor, however that ends
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    output = Path(sys.argv[2])

    def tell(answer: dict) -> None:
        write_atomically(output, to_json(answer))

    tell(answer_to(request, tell))


def to_request(request: Request) -> str:
    """A request as the file that the command takes."""
    return json.dumps(dataclasses.asdict(request))


if __name__ == "__main__":
    main()
