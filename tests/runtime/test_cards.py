"""Whether a machine without a card is noticed early."""

import pytest

from src.runtime import cards, device
from src.runtime.errors import InputError


@pytest.mark.parametrize(
    ("target", "files", "is_asked"),
    [
        ("CPU", [], False),
        ("GPU", [], True),
        ("GPU", ["nvidiactl", "davinci0"], True),
        ("GPU", ["nvidia0"], False),
        ("GPU", ["dxg"], False),
        ("Ascend", ["davinci_manager"], True),
        ("Ascend", ["davinci3"], False),
    ],
)
def test_mindspore_is_asked_where_no_card_has_a_file(
    tmp_path, monkeypatch, target, files, is_asked
):
    for name in files:
        (tmp_path / name).touch()

    def find_cards(kind):
        raise InputError(f"no {kind}")

    monkeypatch.setattr(cards, "DEVICE_FOLDER", tmp_path)
    monkeypatch.setattr(device, "find_cards", find_cards)
    if is_asked:
        with pytest.raises(InputError, match=f"no {target}"):
            cards.check_cards(target)
    else:
        cards.check_cards(target)
