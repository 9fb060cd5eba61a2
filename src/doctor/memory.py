"""The memory of a card against an update of the configuration.

    python3 -m src.doctor.memory '[BYTES, {KEY: VALUE, ...}]'

takes a card's memory and a configuration as JSON and prints the estimate as JSON, in a process of
its own, since it imports MindSpore.
"""

import json
import sys
from collections.abc import Mapping

from src.config.configuration import Config
from src.runtime.plugins.findings import Finding, failed, ok, skipped
from src.runtime.plugins.plugin import ask_json

NAME = "memory of a card"


def needed(card: int, keys: Mapping) -> dict:
    """Bytes that an update takes by estimate, and flags that lower it where the card is smaller."""
    from src.config.configuration import make_config
    from src.detection.anchors import build_anchors
    from src.models.card_memory import estimate_training_memory, options_of, smaller_update
    from src.models.ssd import build_ssd

    cfg = make_config([(keys, "src.doctor.memory")])
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    options = options_of(cfg)
    total = sum(estimate_training_memory(network, **options).values())
    way_on = smaller_update(card, network, **options) if total > card else ""
    return {"bytes": total, "way_on": way_on}


def check_memory(card: int, found: Mapping | None) -> Finding:
    """Whether an update fits.

    Args:
        card: bytes of the smallest card; 0 where none is seen.
        found: of `needed`; None where it gave no answer.
    """
    if not card:
        return skipped(NAME, "no card tells it")
    if found is None:
        return skipped(NAME, "MindSpore is needed for the estimate")
    told = f"{card / 1e9:.1f} GB; an update takes about {found['bytes'] / 1e9:.1f} GB by estimate"
    return failed(NAME, told, found["way_on"]) if found["way_on"] else ok(NAME, told)


def check_config_memory(cfg: Config, card: int, environ: Mapping[str, str]) -> Finding:
    """`check_memory` of a configuration."""
    if not card:
        return check_memory(card, None)
    request = json.dumps([card, dict(cfg)])
    _, found = ask_json("src.doctor.memory", request, environ=environ)
    return check_memory(card, found)


def main() -> None:
    print(json.dumps(needed(*json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
