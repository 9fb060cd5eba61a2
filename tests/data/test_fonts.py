import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.font_manager import findfont

from src.data import fonts
from src.data.drawing import draw_box
from src.data.fonts import drawable, families, find_font
from src.data.page.figures import new_figure

USUAL = Path(findfont("DejaVu Sans"))
MONO = "DejaVuSansMono.ttf"
NOBODYS = "\U0010fffd"  # of the area for private use: no font has it


def drawn(text, scale=1.0):
    image = np.full((60, 300, 3), 90, np.uint8)
    draw_box(image, np.array([10, 30, 200, 55]), text, (30, 110, 220), scale)
    return image


def test_usual_font_has_the_letters_of_many_languages():
    for text in ("cat", "Prüfling Ähre", "Прямоугольник", "γάτα 0.93"):
        assert find_font(text) == USUAL
        assert drawable(text) == text


def test_name_that_no_font_has_is_shown_by_its_code_points():
    assert find_font(NOBODYS) is None
    assert drawable(f"a{NOBODYS}") == "a\\U0010fffd"
    assert families(["cat", NOBODYS]) == ["DejaVu Sans"]


def test_another_installed_font_is_found(monkeypatch):
    own = {MONO: frozenset(map(ord, "猫狗")), USUAL.name: frozenset(map(ord, "cat"))}
    monkeypatch.setattr(fonts, "letters", lambda path: own.get(path.name, frozenset()))
    find_font.cache_clear()
    assert find_font("猫 狗").name == MONO
    assert families(["cat", "猫", "狗"]) == ["DejaVu Sans", "DejaVu Sans Mono"]
    assert drawable("猫") == "猫"
    find_font.cache_clear()


def test_labels_of_other_letters_are_drawn():
    plain, marks = drawn("Hund"), drawn("????")
    names = [drawn(text) for text in ("Гунд", "Кошк", f"a{NOBODYS}")]
    for picture in names:
        assert (picture[30:55] == plain[30:55]).mean() > 0.9  # the same box
        assert (picture[:30] != marks[:30]).any()
        label = (picture[:30] != 90).any(axis=2)
        assert 10 <= label.any(axis=1).sum() <= 20
    assert (names[0] != names[1]).any()
    large = (drawn("Гунд", scale=2.0)[:30] != 90).any(axis=2)
    assert large.sum() > 2 * (names[0][:30] != 90).any(axis=2).sum()


def test_label_wider_than_the_image_is_cut():
    image = np.zeros((20, 30, 3), np.uint8)
    draw_box(image, np.array([25, 2, 29, 8]), "Прямоугольник Прямоугольник", (255, 0, 0))
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
