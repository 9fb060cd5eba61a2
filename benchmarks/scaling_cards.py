"""Seconds that an update of the base recipe might take on a card. Estimates; nothing is measured.

An update of 16 images of 640 px takes

    T_update = T_compute + T_upload + T_messages + T_bytes + T_dispatch

T_compute is 8.64 TFLOP (90 G multiply-adds an image, forward and twice that backward) at 35 to 50 %
of the tensor cores' peak, and norms and activations at the memory's speed, rounded up; for a V100
in float32, which has no tensor cores for that, from the 0.8 s on that were published for eight of
them. The rest is overhead, from counts: bytes of a batch at the speed of pageable memory, calls of
NCCL, bytes of the sum between a machine's cards, launches of graphs and waits for the device.
"""

from dataclasses import dataclass

FORMULA = (
    "T_update = T_compute + T_upload + T_messages + T_bytes + T_dispatch; "
    "T_compute = 8.64 TFLOP / (35 to 50 % of the peak) + norms and activations"
)
IMAGES = 16  # of an update on a card
DIGITS = 3
BATCH_BYTES = IMAGES * 1.43e6  # shipped for 16 images, row pipeline of the README
PAGEABLE = (6e9, 3e9)  # bytes/s from pageable memory to a card
CALL = (21e-6, 31e-6)  # seconds of a call of NCCL and its launch
LINKS = {"nvlink": 2e-3, "pcie": 25e-3}  # seconds for 133 MB over the 8 cards of a machine

Range = tuple[float, float]  # the better and the worse end, in seconds


@dataclass(frozen=True)
class Host:
    """What an update does besides computing.

    Attributes:
        copy: seconds of the copy of a batch within the host's memory.
        messages: calls of NCCL.
        dispatch: seconds of launching graphs, of waits for the device and of ranks for each other.
    """

    copy: float
    messages: int
    dispatch: Range


# a sum for each tensor, three waits, a copied batch; and one message, one wait, no copy
BEFORE = Host(copy=6e-3, messages=478, dispatch=(6e-3, 10e-3))
NOW = Host(copy=0.0, messages=1, dispatch=(4e-3, 5e-3))
COMPUTE = {  # seconds, by card and type of the convolutions
    "V100 float32": (0.80, 0.95),
    "V100 float16": (0.25, 0.30),
    "A100 TF32": (0.20, 0.20),
    "A100 float16": (0.10, 0.10),
    "H100 TF32": (0.09, 0.10),
    "H100 float16": (0.05, 0.06),
}


def overhead(host: Host, link: str) -> Range:
    """Seconds of an update besides computing."""
    low, high = (
        host.copy + BATCH_BYTES / speed + host.messages * call + LINKS[link] + dispatch
        for speed, call, dispatch in zip(PAGEABLE, CALL, host.dispatch)
    )
    return low, high


def update_seconds(card: str, host: Host = NOW, link: str = "nvlink") -> Range:
    """Seconds of an update on one of eight cards of a machine; `card` is a name in COMPUTE."""
    low, high = (own + more for own, more in zip(COMPUTE[card], overhead(host, link)))
    return low, high


def row(link: str) -> dict:
    """The estimates for all cards, with the overhead as it was and as it is."""
    return {
        "is": "an estimate, not measured",
        "formula": FORMULA,
        "link": link,
        "images": IMAGES,
        "overhead_ms": {
            name: [round(1e3 * end, 1) for end in overhead(host, link)]
            for name, host in (("before", BEFORE), ("now", NOW))
        },
        "cards": {card: card_row(card, link) for card in COMPUTE},
    }


def card_row(card: str, link: str) -> dict:
    """The numbers of a card: [better, worse]."""
    before, now = (update_seconds(card, host, link) for host in (BEFORE, NOW))
    return {
        "estimated_seconds_compute": list(COMPUTE[card]),
        "estimated_seconds_before": [round(end, DIGITS) for end in before],
        "estimated_seconds": [round(end, DIGITS) for end in now],
        "estimated_images_per_second": [round(IMAGES / end) for end in now],
    }
