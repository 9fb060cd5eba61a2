"""Whether an update of the configuration fits into the memory of a card.

    python3 -m src.doctor.memory '[BYTES, {KEY: VALUE, ...}]'

prints the estimate as JSON, for a card of so many bytes and a configuration. It is a process of its
own because it imports MindSpore.
"""

import json
import sys
from collections.abc import Mapping

from src.config.configuration import Config
from src.runtime.plugins.findings import Finding, failed, ok, skipped
from src.runtime.plugins.plugin import ask_json

NAME = "memory of a card"


def needed(card: int, keys: Mapping) -> dict:
    """Estimated bytes of an update, and flags of one that fits if the card is too small."""
    from src.config.configuration import make_config
    from src.detection.anchors import build_anchors
    from src.models.card_fit import smaller_update
    from src.models.card_memory import update_memory
    from src.models.ssd import build_ssd
    from src.weights.coco_classes import COCO_NAMES

    cfg = make_config([(keys, "src.doctor.memory")])
    if not cfg.classes:  # those of the data are not read here
        cfg = cfg.replace(classes=COCO_NAMES)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell, drawn=False)
    total = update_memory(cfg, network)
    advice = smaller_update(cfg, network, card) if total > card else ""
    return {"bytes": total, "advice": advice}


def check_memory(card: int, found: Mapping | None) -> Finding:
    """Whether an update fits on the smallest card, of `card` bytes, by what `needed` `found`."""
    if not card:
        return skipped(NAME, "no card reports its memory")
    if found is None:
        return skipped(NAME, "MindSpore is needed for the estimate")
    text = f"{card / 1e9:.1f} GB; an update takes about {found['bytes'] / 1e9:.1f} GB by estimate"
    return failed(NAME, text, found["advice"]) if found["advice"] else ok(NAME, text)


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
