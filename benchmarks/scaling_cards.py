"""Seconds that an update of the base recipe might take on a card: estimates, and a measurement.

An update of 16 images of 640 px takes

    T_update = T_compute + T_upload + T_messages + T_bytes + T_weights + T_host

T_compute, forward and backward, is by FORMULA 8.64 TFLOP (90 G multiply-adds an image, forward and
twice that backward) at 35 to 50 % of the tensor cores' peak, and norms and activations at the
memory's speed, rounded up. A V100 has no tensor cores for float32; its range starts at the 0.8 s
published for eight of them. Float16 has norms in float32, with changes of type and layout around
them. T_weights is the update of the weights. The rest is counted: bytes of a batch at the speed of
pageable memory, calls of NCCL, bytes of the sum between a machine's cards, work of the host between
graphs. No term contains the norm of the gradients, which was not timed since it changed.

MEASURED is one H200, which has the tensor cores of an H100 (docs/measured.md). Its forward and
backward pass, with the upload, took 1.5 to 1.7 times what FORMULA gave in TF32, and 1.2 to 1.5
times in float16 with norms in float16 as well. So the worse end of each estimate in COMPUTE is
FORMULA's times TF32_MISS or FLOAT16_MISS.
"""

from dataclasses import dataclass

FORMULA = (
    "T_update = T_compute + T_upload + T_messages + T_bytes + T_weights + T_host; "
    "T_compute = 8.64 TFLOP / (35 to 50 % of the peak) + norms and activations, "
    "its worse end times 1.7 in TF32, 1.5 in float16, as an H200 took"
)
IMAGES = 16  # of an update on a card
DIGITS = 3
BATCH_BYTES = IMAGES * 1.43e6  # shipped for 16 images, docs/measured.md
PAGEABLE = (6e9, 3e9)  # bytes/s from pageable memory to a card
CALL = (21e-6, 31e-6)  # seconds of a call of NCCL and its launch
LINKS = {"nvlink": 2e-3, "pcie": 25e-3}  # seconds for 133 MB over the 8 cards of a machine
WEIGHTS = (7e-3, 10e-3)  # seconds measured on an H200, taken for all cards
TF32_MISS = 1.7  # measured 0.149 s, by the formula 0.09 to 0.10
FLOAT16_MISS = 1.5  # measured 0.073 s, by the formula 0.05 to 0.06; norms in float16

Range = tuple[float, float]  # the better and the worse end, in seconds


@dataclass(frozen=True)
class Host:
    """What an update does besides computing.

    Attributes:
        copy: seconds of the copy of a batch within the host's memory.
        messages: calls of NCCL.
        between: seconds of the host's work between graphs, and of ranks' waits for each other.
    """

    copy: float
    messages: int
    between: Range


# a sum for each tensor, results read three times, a copied batch; guessed in `between`
BEFORE = Host(copy=6e-3, messages=478, between=(6e-3, 10e-3))
# one message, results read once, no copy. 2 ms remained on one H200; 5 with other ranks is a guess
NOW = Host(copy=0.0, messages=1, between=(2e-3, 5e-3))
COMPUTE = {  # estimated seconds, by card and type of the convolutions
    "V100 float32": (0.80, 0.95),
    "V100 float16": (0.45, 0.55 * FLOAT16_MISS),
    "A100 TF32": (0.20, 0.20 * TF32_MISS),
    "A100 float16": (0.22, 0.22 * FLOAT16_MISS),
    # the better end is 0.149 s of an H200, whose memory is faster, less 4 ms of upload in that
    "H100 TF32": (0.145, 0.10 * TF32_MISS),
    "H100 float16": (0.10, 0.10 * FLOAT16_MISS),
}
# seconds on one H200, one rank, medians. `compute` includes the upload; `replaced_norm` is the norm
# of the gradients by a kernel that has been replaced
MEASURED = {
    "H200 TF32": {"compute": 0.149, "weights": 0.010, "replaced_norm": 0.064, "update": 0.225},
    "H200 float16, norms in float16 (since changed to float32)": {
        "compute": 0.073,
        "weights": 0.008,
        "replaced_norm": 0.064,
        "update": 0.142,
    },
}


def overhead(host: Host, link: str) -> Range:
    """Seconds of an update besides forward and backward."""
    low, high = (
        host.copy + BATCH_BYTES / speed + host.messages * call + LINKS[link] + weights + between
        for speed, call, weights, between in zip(PAGEABLE, CALL, WEIGHTS, host.between)
    )
    return low, high


def update_seconds(card: str, host: Host = NOW, link: str = "nvlink") -> Range:
    """Seconds of an update on one of eight cards of a machine; `card` is a name in COMPUTE."""
    low, high = (own + more for own, more in zip(COMPUTE[card], overhead(host, link)))
    return low, high


def row(link: str) -> dict:
    """The estimates for all cards, with the overhead before and now; and MEASURED."""
    return {
        "is": "an estimate, not measured, except in 'measured'",
        "formula": FORMULA,
        "link": link,
        "images": IMAGES,
        "estimated_overhead_ms": {
            name: [round(1e3 * end, 1) for end in overhead(host, link)]
            for name, host in (("before", BEFORE), ("now", NOW))
        },
        "cards": {card: card_row(card, link) for card in COMPUTE},
        "measured": {
            card: {f"measured_seconds_{part}": value for part, value in parts.items()}
            for card, parts in MEASURED.items()
        },
    }


def card_row(card: str, link: str) -> dict:
    """The numbers of a card: [better, worse]."""
    before, now = (update_seconds(card, host, link) for host in (BEFORE, NOW))
    return {
        "estimated_seconds_compute": [round(end, DIGITS) for end in COMPUTE[card]],
        "estimated_seconds_before": [round(end, DIGITS) for end in before],
        "estimated_seconds": [round(end, DIGITS) for end in now],
        "estimated_images_per_second": [round(IMAGES / end) for end in now],
    }
