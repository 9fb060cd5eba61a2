"""How training might scale to many ranks: a row of scaling.py. A prediction, not measured.

The gradients are added up by a ring all-reduce after the backward pass, without overlap, as
src/distributed/gradient_sum.py does it. Over n ranks it takes

    T_reduce(n) = 2 (n-1)/n * bytes / bandwidth + 2 (n-1) * latency

so efficiency(n) = T_step / (T_step + T_reduce(n)). T_step is by default the published 0.8 s. The
row also has the seconds of an update on each kind of card and their overhead, estimated in
scaling_cards.py, with the efficiency that follows, and what one H200 took.

Known errors. The efficiency is too high, since ranks also wait for the slowest of them and for
their data. It is too low, since T_step of 8 GPUs contains their own all-reduce; a host's ranks get
equal shares of its network, while in a ring ordered by hosts one of them uses all of it; 8 ranks
count as 8 hosts, although they fit into one; and a library may use trees, whose latency is lower.
"""

import argparse
from pathlib import Path

from benchmarks import scaling_cards
from benchmarks.common import GIGA, MEGA, MILLI

FORMULA = (
    "T_reduce(n) = 2 (n-1)/n * bytes / bandwidth + 2 (n-1) * latency; "
    "efficiency(n) = T_step / (T_step + T_reduce(n))"
)
RANKS = (8, 64, 512)
MAX_POWER = 9  # the plot ends at 2**9 ranks
RANKS_OF_HOST = 8  # cards in a machine, which share its network
HOST_GBITS = (25, 100, 400)  # Gbit/s of a machine: three generations of Ethernet
GBITS_OF_GBYTE = 8
STEP_SECONDS = 0.8  # published for the base recipe on 8 cards of V100's class, 16 images each
MBYTES = 133.4  # float32 gradients, statistics and numbers of the base network; row reduce counts
LATENCY_US = 20.0  # a message between two machines, with what the library adds
MICRO = 1e-6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The row's own flags."""
    share = 100 / RANKS_OF_HOST / GBITS_OF_GBYTE
    group = parser.add_argument_group("prediction")
    group.add_argument(
        "--step_seconds",
        type=float,
        default=STEP_SECONDS,
        help="an update without the sum over ranks; by default 8 V100-class cards, 16 images each",
    )
    group.add_argument(
        "--bandwidth_gbytes",
        type=float,
        default=share,
        help=f"GB/s of a rank; by default 100 Gbit/s shared by {RANKS_OF_HOST} ranks of a host",
    )
    group.add_argument("--latency_us", type=float, default=LATENCY_US, help="of a message")
    group.add_argument("--mbytes", type=float, default=MBYTES, help="that are added up")
    group.add_argument(
        "--link", choices=scaling_cards.LINKS, default="nvlink", help="between a machine's cards"
    )
    group.add_argument("--plot", type=Path, default=Path("output/scaling.png"))


def reduce_seconds(ranks: int, *, nbytes: float, bandwidth: float, latency: float) -> float:
    """Seconds of a ring all-reduce.

    Args:
        nbytes: that each rank holds.
        bandwidth: bytes per second that each rank sends and receives.
        latency: seconds of a message.
    """
    return 2 * (ranks - 1) / ranks * nbytes / bandwidth + 2 * (ranks - 1) * latency


def predict(
    args: argparse.Namespace, ranks: int, gbytes: float, step_seconds: float = 0.0
) -> tuple[float, float]:
    """(efficiency, seconds of the all-reduce) of so many ranks with so many GB/s each.

    Args:
        step_seconds: of an update without the sum over machines; 0 takes those of the arguments.
    """
    step_seconds = step_seconds or args.step_seconds
    seconds = reduce_seconds(
        ranks,
        nbytes=args.mbytes * MEGA,
        bandwidth=gbytes * GIGA,
        latency=args.latency_us * MICRO,
    )
    return step_seconds / (step_seconds + seconds), seconds


def row(args: argparse.Namespace) -> dict:
    """The prediction at RANKS; draws the plot."""
    predicted = {ranks: predict(args, ranks, args.bandwidth_gbytes) for ranks in RANKS}
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(args).savefig(args.plot)
    keys = ("step_seconds", "bandwidth_gbytes", "latency_us", "mbytes")
    return {
        "is": "a prediction, not measured",
        "formula": FORMULA,
        **{key: getattr(args, key) for key in keys},
        "efficiency": {ranks: round(share, 3) for ranks, (share, _) in predicted.items()},
        "reduce_ms": {ranks: round(s * MILLI, 1) for ranks, (_, s) in predicted.items()},
        "updates": updates(args),
        "plot": str(args.plot),
    }


def updates(args: argparse.Namespace) -> dict:
    """Seconds of an update on each kind of card, and the efficiency at RANKS that they allow."""
    found = scaling_cards.row(args.link)
    for card, numbers in found["cards"].items():
        ends = scaling_cards.update_seconds(card, link=args.link)
        numbers["estimated_efficiency"] = {
            ranks: [round(predict(args, ranks, args.bandwidth_gbytes, s)[0], 2) for s in ends]
            for ranks in RANKS
        }
    return found


def draw(args: argparse.Namespace):
    """Predicted efficiency over ranks, a line a bandwidth; that of --bandwidth_gbytes is bold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    usual = (gbits / RANKS_OF_HOST / GBITS_OF_GBYTE for gbits in HOST_GBITS)
    for gbytes in sorted({args.bandwidth_gbytes, *usual}, reverse=True):
        draw_line(axes, args, gbytes)
    axes.set_title("Prediction, not measured: efficiency of data-parallel training")
    axes.set_xscale("log", base=2)
    axes.set_xticks([2**power for power in range(MAX_POWER + 1)])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="ranks n", ylabel="efficiency: images/s of n ranks over n times those of one")
    axes.set_ylim(0, 1.05)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", title="network")
    figure.supxlabel(caption(args), fontsize=9)
    return figure


def draw_line(axes, args: argparse.Namespace, gbytes: float) -> None:
    """The line of a bandwidth; that of --bandwidth_gbytes with its values at RANKS."""
    every = [2**power for power in range(MAX_POWER + 1)]
    is_asked = gbytes == args.bandwidth_gbytes
    gbits = gbytes * GBITS_OF_GBYTE * RANKS_OF_HOST
    axes.plot(
        every,
        [predict(args, ranks, gbytes)[0] for ranks in every],
        linewidth=3 if is_asked else 1.5,
        label=f"{gbits:.4g} Gbit/s a host of {RANKS_OF_HOST} ranks, {gbytes:.3g} GB/s a rank",
    )
    for ranks in RANKS if is_asked else ():
        share = predict(args, ranks, gbytes)[0]
        axes.plot(ranks, share, "ko")
        axes.annotate(f"{share:.0%}", (ranks, share), (0, 8), textcoords="offset points")


def caption(args: argparse.Namespace) -> str:
    """The formula and its numbers."""
    numbers = (
        f"T_step = {args.step_seconds:g} s, bytes = {args.mbytes:g} MB, "
        f"latency = {args.latency_us:g} us, no overlap"
    )
    return "\n".join([*FORMULA.split("; "), numbers])
