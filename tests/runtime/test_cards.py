"""Whether a machine without a card is noticed early."""

from types import SimpleNamespace

import pytest

from src.runtime import cards, device
from src.runtime.errors import InputError
from src.runtime.plugins import plugin


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


def test_a_card_needs_a_driver_and_mindspore(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "DEVICE_FOLDER", tmp_path)
    assert not cards.has_card("CPU")
    assert not cards.has_card("GPU")
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(plugin, "probe", lambda target: SimpleNamespace(can_run=False))
    assert not cards.has_card("GPU")
    monkeypatch.setattr(plugin, "probe", lambda target: SimpleNamespace(can_run=True))
    assert cards.has_card("GPU")
    assert not cards.has_card("Ascend")
