"""Fonts for names in any language, in charts and in pictures."""

import functools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

from src.runtime.text import listed

USUAL = "DejaVu Sans"  # comes with matplotlib; has Latin, Greek, Cyrillic and Arabic letters
USUAL_FILE = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
# Debian's and Ubuntu's packages by how Unicode's names of their letters begin, and of all others
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO")
CJK_PACKAGE, SYMBOLS_PACKAGE, OTHERS_PACKAGE = "fonts-noto-cjk", "fonts-symbola", "fonts-noto-core"
UNSEEN = ("Cf", "Mn", "Zs")  # categories of joiners, variation selectors, accents and spaces


@functools.cache
def find_font(letter: str) -> Path | None:
    """The file of an installed font that has a letter; None without one."""
    if letter.isascii() or ord(letter) in letters(USUAL_FILE):
        return USUAL_FILE
    return next((path for path in installed() if ord(letter) in letters(path)), None)


@functools.cache
def installed() -> list[Path]:
    """The fonts of this machine now, upright ones without serifs first.

    matplotlib's own list is of the time when it first looked for some.
    """
    from matplotlib import font_manager  # which takes 0.2 s; few names need it

    paths = {Path(path) for path in font_manager.findSystemFonts()}
    return sorted(paths, key=lambda p: ("Regular" not in p.stem, "Serif" in p.stem, p.name, p))


@functools.cache
def letters(path: Path) -> frozenset[int]:
    """The code points that a font has."""
    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):  # removed since, or of coloured pictures, which is not read
        return frozenset()


def runs(text: str) -> Iterator[tuple[Path, str]]:
    """Parts of a text that is `drawable`, each with its font."""
    if text.isascii():
        yield USUAL_FILE, text
        return
    for path, part in groupby(text, lambda letter: find_font(letter) or USUAL_FILE):
        yield path, "".join(part)


def families(names: Iterable[str]) -> list[str]:
    """Names of fonts for matplotlib that together have the letters of all names, if any have."""
    found = [USUAL]
    for path in dict.fromkeys(map(find_font, "".join(names))):
        if path not in (None, USUAL_FILE):
            from matplotlib import font_manager

            font_manager.fontManager.addfont(path)
            found.append(font_manager.FontProperties(fname=path).get_name())
    return list(dict.fromkeys(found))


def drawable(name: str) -> str:
    """The name, with code points ("\\u732b") for the letters that no installed font has."""
    return name if name.isascii() else "".join(map(shown, name))


def shown(letter: str) -> str:
    """A letter, or its code point; nothing for an accent or joiner that no font has."""
    if find_font(letter) is not None:
        return letter
    return "" if is_unseen(letter) else letter.encode("ascii", "backslashreplace").decode()


def is_unseen(letter: str) -> bool:
    """Whether a letter has no picture of its own."""
    return unicodedata.category(letter) in UNSEEN


def lacking_fonts(names: Sequence[str]) -> str:
    """What is said where no installed font has the letters of some names; "" where all have."""
    wanted = {}  # names by package
    for name in names:
        for letter in name:
            if find_font(letter) is None and not is_unseen(letter):
                wanted.setdefault(package_of(letter), {})[name] = None
    if not wanted:
        return ""
    lacking = dict.fromkeys(name for own in wanted.values() for name in own)
    packages = " ".join(sorted(wanted))
    return (
        f"no installed font has all letters of {listed(list(lacking))}: pictures and charts show "
        f"code points; 'apt install {packages}' brings them"
    )


def package_of(letter: str) -> str:
    """The package of fonts that has a letter."""
    if unicodedata.name(letter, "").startswith(CJK):
        return CJK_PACKAGE
    return SYMBOLS_PACKAGE if unicodedata.category(letter) == "So" else OTHERS_PACKAGE
