import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager

from src.data import fonts
from src.data.drawing import Mark, draw_marks
from src.data.fonts import USUAL_FILE, drawable, families, find_font, lacking_fonts, runs
from src.data.page.figures import new_figure

NOBODYS = "\U0010fffd"  # of the area for private use: no font has it
CACHES = (fonts.find_font, fonts.installed, fonts.letters)


@pytest.fixture
def forgetful():
    """What is known of fonts is forgotten before and after."""
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


@pytest.fixture
def no_fonts(forgetful, monkeypatch):
    """A machine with matplotlib's font alone."""
    monkeypatch.setattr(font_manager, "findSystemFonts", list)


def drawn(text, scale=1.0):
    image = np.full((60, 300, 3), 90, np.uint8)
    draw_marks(image, [Mark(np.array([10, 30, 200, 55]), text, (30, 110, 220))], scale)
    return image


def test_usual_font_has_the_letters_of_many_languages():
    for text in ("cat", "Prüfling Ähre", "Прямоугольник", "γάτα 0.93", "قطة"):
        assert list(runs(text)) == [(USUAL_FILE, text)]
        assert drawable(text) == text
        assert lacking_fonts([text]) == ""


def test_letters_that_no_font_has_are_shown_by_their_code_points(no_fonts):
    assert find_font(NOBODYS) is None
    assert drawable(f"a{NOBODYS}") == "a\\U0010fffd"
    assert drawable("猫 (cat) 0.93") == "\\u732b (cat) 0.93"
    assert drawable("a\U000e0101") == "a"  # a variation selector
    assert families(["cat", NOBODYS]) == ["DejaVu Sans"]


def test_note_names_the_packages_of_the_letters(no_fonts):
    note = lacking_fonts(["cat", "猫", "ねこ", "बिल्ली", "\U0001f9ad", "Ähre"])
    assert note.startswith("no installed font has all letters of 猫, ねこ, बिल्ली and 1 more: ")
    assert "'apt install fonts-noto-cjk fonts-noto-core fonts-symbola'" in note
    assert lacking_fonts(["cat", "Ähre", "قطة"]) == ""


def test_another_installed_font_is_used_for_its_letters_alone(forgetful, monkeypatch):
    mono = USUAL_FILE.with_name("DejaVuSansMono.ttf")
    own = {mono: frozenset(map(ord, "猫狗")), USUAL_FILE: frozenset(map(ord, "cat é"))}
    monkeypatch.setattr(fonts, "letters", lambda path: own.get(Path(path), frozenset()))
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(mono)])
    assert list(runs("é猫狗 cat")) == [(USUAL_FILE, "é"), (mono, "猫狗"), (USUAL_FILE, " cat")]
    assert families(["cat", "猫", "狗"]) == ["DejaVu Sans", "DejaVu Sans Mono"]
    assert drawable("猫") == "猫"


def test_labels_of_other_letters_are_drawn():
    plain, marks = drawn("Hund"), drawn("????")
    names = [drawn(text) for text in ("Гунд", "Кошк", "قطة", f"a{NOBODYS}")]
    for picture in names:
        assert (picture[31:55] == plain[31:55]).mean() > 0.9  # the same box
        assert (picture[:30] != marks[:30]).any()
        label = (picture[:28] != 90).any(axis=2)
        assert 12 <= label.any(axis=1).sum() <= 20
    assert (names[0] != names[1]).any()
    large = (drawn("Гунд", scale=2.0)[:28] != 90).any(axis=2)
    assert large.sum() > 2 * (names[0][:28] != 90).any(axis=2).sum()


def test_label_wider_than_the_image_is_cut():
    image = np.zeros((20, 30, 3), np.uint8)
    text = "Прямоугольник Прямоугольник"
    draw_marks(image, [Mark(np.array([25, 2, 29, 8]), text, (255, 0, 0))])
    assert image.shape == (20, 30, 3)
    assert (image[:, :, 0] == 255).any()


def test_charts_have_no_missing_letters():
    names = ["Прямоугольник", "Ähre", drawable(NOBODYS)]
    with warnings.catch_warnings(), matplotlib.rc_context({"font.family": families(names)}):
        warnings.simplefilter("error")
        figure, (axes,) = new_figure(2)
        axes.set_yticks(range(3), names, parse_math=False)
        figure.canvas.draw()  # warns of a letter that no font has
    assert [label.get_text() for label in axes.get_yticklabels()] == names
