"""NVIDIA's cards as nvidia-smi lists them, and which of them a process uses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMI_QUERY = "name,memory.total,memory.used,driver_version,uuid"


@dataclass(frozen=True)
class Card:
    """A card as nvidia-smi lists it.

    Attributes:
        memory, used: in MiB; 0 if unknown.
        uuid: unique among all cards.
    """

    name: str
    memory: int
    used: int
    driver: str
    uuid: str = ""

    @property
    def kind(self) -> str:
        """Its name and memory."""
        return f"{self.name}, {self.memory / 1024:.0f} GB" if self.memory else self.name


def read_cards(text: str) -> list[Card]:
    """The cards in nvidia-smi's output; other lines are ignored."""
    cards = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 5 and re.match(r"\d+\.\d", fields[3]):
            memory, used = (int(text) if text.isdigit() else 0 for text in fields[1:3])
            cards.append(Card(fields[0], memory, used, fields[3], fields[4]))
    return cards


def entries_of(environ: Mapping[str, str]) -> list[str] | None:
    """The cards that CUDA_VISIBLE_DEVICES names; None if it is not set."""
    value = environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else [e.strip() for e in value.split(",") if e.strip()]


def visible_cards(cards: Sequence[Card], environ: Mapping[str, str]) -> list[Card]:
    """The cards that this process sees, in the order of device_id.

    A part of a card (MIG) is omitted: nvidia-smi shows the memory of the whole card.
    """
    entries = entries_of(environ)
    if entries is None:
        return list(cards)
    seen = []
    for entry in entries:
        if entry.isdigit():
            seen += cards[int(entry) : int(entry) + 1]
        else:
            seen += [card for card in cards if card.uuid.startswith(entry)][:1]
    return seen


def taken_cards(
    cards: Sequence[Card], environ: Mapping[str, str], *, device_id: int, ranks: int
) -> list[Card]:
    """The visible cards that a training uses: that of device_id, or all with several ranks."""
    seen = visible_cards(cards, environ)
    return seen if ranks > 1 else seen[device_id : device_id + 1]


def card_of(cards: Sequence[Card], environ: Mapping[str, str], local_rank: int) -> str:
    """An identifier of a rank's card, unique on its machine; "" if unknown."""
    entries = entries_of(environ)
    if entries is None:
        return cards[local_rank].uuid if local_rank < len(cards) else ""
    index = 0 if len(entries) == 1 else local_rank  # as in `launch.card_of_rank`
    if index >= len(entries):
        return ""
    own = visible_cards(cards, {"CUDA_VISIBLE_DEVICES": entries[index]})
    return own[0].uuid if own else entries[index] * (not entries[index].isdigit())
