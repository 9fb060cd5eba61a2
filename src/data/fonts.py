"""Fonts for names in any language, in charts and in pictures."""

import functools
from collections.abc import Iterable
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

USUAL = "DejaVu Sans"  # comes with matplotlib; has Latin, Greek, Cyrillic and Arabic letters


@functools.cache
def find_font(text: str) -> Path | None:
    """The file of an installed font that has every character of the text; None without one."""
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    usual = Path(font_manager.findfont(USUAL))
    others = sorted({Path(entry.fname) for entry in font_manager.fontManager.ttflist})
    return next((path for path in (usual, *others) if wanted <= letters(path)), None)


@functools.cache
def letters(path: Path) -> frozenset[int]:
    """The code points that a font has."""
    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):  # removed since, or of a kind that FreeType cannot read
        return frozenset()


def families(names: Iterable[str]) -> list[str]:
    """Names of fonts for matplotlib that together have the letters of all names, if any have."""
    found = [USUAL]
    for name in names:
        if not name.isascii() and (path := find_font(name)) is not None:
            found.append(font_manager.FontProperties(fname=path).get_name())
    return list(dict.fromkeys(found))


def drawable(name: str) -> str:
    """The name, or its code points ("\\u732b") where no installed font has its letters."""
    if name.isascii() or find_font(name) is not None:
        return name
    return name.encode("ascii", "backslashreplace").decode()
