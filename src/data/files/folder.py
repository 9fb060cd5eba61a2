"""Files of an image folder by name, and the nearest one where a name is not there."""

import html
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from src.data.files.file_kinds import is_hidden

MAX_FILES = 1_000_000  # files that a search looks at, a few seconds' worth
DRIVE = re.compile(r"^[A-Za-z]:(?=[\\/])")
# how the nearest file differs from the wanted name
SPELLING, OWN_FOLDER, IN_FRONT = "spelling", "own folder", "folders in front"
SUB_FOLDER, ELSEWHERE, SUFFIX = "sub-folder", "elsewhere", "suffix"


def from_latin(text: str) -> str:
    """A name that is not UTF-8 on disk, read as Latin-1."""
    if text.isascii():
        return text
    with suppress(UnicodeEncodeError):  # of a surrogate that stands for no byte
        if any("\udc80" <= letter <= "\udcff" for letter in text):
            return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


# what may differ between a name in an annotation file and on disk, and the form without it
DIFFERENCES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("backslashes", lambda text: text.replace("\\", "/")),
    ("a drive", lambda text: DRIVE.sub("", text)),
    ("URL escapes such as %20", unquote),
    ("HTML escapes such as &amp;", html.unescape),
    ("an encoding that is not UTF-8", from_latin),
    ("another Unicode form", lambda text: unicodedata.normalize("NFC", text)),
    ("upper or lower case", str.casefold),
    ("spaces at the ends", lambda text: "/".join(part.strip() for part in text.split("/"))),
)


def normal(name: str, skip: str = "") -> str:
    """The name without any of the DIFFERENCES, but for the one called `skip`."""
    for what, change in DIFFERENCES:
        if what != skip:
            name = change(name)
    return name


def parts(name: str) -> list[str]:
    """The folders and the file of a name in normal form; `.` and `..` are left out."""
    return [part for part in normal(name).split("/") if part not in ("", ".", "..")]


def differences(wanted: str, found: str) -> tuple[str, ...]:
    """Which of the DIFFERENCES there are between two names with one normal form."""

    def differ(skip: str) -> bool:
        return normal(wanted, skip) != normal(found, skip)

    changed = [w for w, change in DIFFERENCES if any(change(n) != n for n in (wanted, found))]
    return tuple(what for what in changed if differ(what))


@dataclass(frozen=True)
class Match:
    """A file that may be meant by a name that is not there."""

    name: str  # relative to the folder that was searched
    how: str  # SPELLING and so on
    what: tuple[str, ...] = ()  # DIFFERENCES of the names that have to be equal
    other: str = ""  # another file that is as near

    @property
    def is_certain(self) -> bool:
        """Whether nothing else can be meant."""
        return self.how in (SPELLING, OWN_FOLDER) and not self.other

    @property
    def is_by_end(self) -> bool:
        """Whether the name ends with that of this file alone."""
        return self.how == IN_FRONT and not self.other

    def describe(self) -> str:
        """What is different, of a match that is used."""
        fronts = {OWN_FOLDER: "the folder's own name in front", IN_FRONT: IN_FRONT}
        front = (fronts[self.how],) if self.how in fronts else ()
        return ", ".join((*self.what, *front)) or "another spelling"


class Folder:
    """Looks up files below a folder; lists each directory once, which beats a stat for each.

    Args:
        by_end: whether a name may have any folders in front of that of a file.
    """

    def __init__(self, path: Path, *, by_end: bool = False):
        self.path = path
        self.by_end = by_end
        self.listings: dict[str, set[str]] = {}
        self.suffixed: dict[str, dict[str, str]] = {}  # by directory: files by name without suffix

    def holds(self, name: str) -> bool:
        """Whether there is a file `name`, relative to the folder."""
        parent, base = os.path.split(os.path.join(self.path, name))
        return base in self.listing(parent)

    def listing(self, parent: str) -> set[str]:
        """Names in a directory; none where it cannot be listed."""
        if parent not in self.listings:
            self.listings[parent] = set()
            with suppress(OSError, ValueError):  # ValueError: a null byte in the name
                self.listings[parent].update(os.listdir(parent))
        return self.listings[parent]

    def with_suffix(self, name: str, suffixes: Sequence[str]) -> str | None:
        """The file `name` with one of the suffixes, of several the first; None without any."""
        parent, base = os.path.split(os.path.join(self.path, name))
        if parent not in self.suffixed:
            self.suffixed[parent] = {}
            ranks = {suffix: rank for rank, suffix in enumerate(suffixes)}
            pairs = [(file, *os.path.splitext(file)) for file in sorted(self.listing(parent))]
            known = [pair for pair in pairs if pair[2].lower() in ranks]
            for file, start, _ in sorted(known, key=lambda pair: ranks[pair[2].lower()]):
                self.suffixed[parent].setdefault(start, file)
        file = self.suffixed[parent].get(base)
        return file and os.path.join(os.path.dirname(name), file)

    def resolve(self, name: str) -> tuple[str | None, Match | None]:
        """The file that is meant, and the match if its name is spelled otherwise.

        None where no file, or more than one, can be meant, with the nearest file, if any.
        """
        if self.holds(name):
            return name, None
        match = self.nearest(name)
        is_meant = match and (match.is_certain or (self.by_end and match.is_by_end))
        return (match.name if is_meant else None), match

    @cached_property
    def files(self) -> list[str]:
        """Names of all files below the folder, hidden ones left out, in order."""
        return sorted(walk(self.path))

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """The files by their own names in normal form."""
        return grouped(self.files, lambda name: normal(os.path.basename(name)))

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """The files by their own names in normal form, without suffix."""
        return grouped(self.files, stem)

    def nearest(self, name: str) -> Match | None:
        """The file that is nearest to a name that is not there; None if none is near."""
        wanted = parts(name)
        if not wanted:
            return None
        if found := self.by_name.get(wanted[-1]):
            return self.choose(name, wanted, found)
        if found := self.by_stem.get(stem(name)):
            best = max(found, key=lambda item: common_tail(parts(item)[:-1], wanted[:-1]))
            return Match(best, SUFFIX)
        return None

    def choose(self, name: str, wanted: list[str], found: list[str]) -> Match:
        """The best of the files `found`, whose own names are that of `name` in normal form."""
        base = os.path.basename(name.replace("\\", "/"))

        def score(item: str) -> tuple[int, bool]:
            return common_tail(parts(item), wanted), os.path.basename(item) == base

        best, *rest = sorted(found, key=score, reverse=True) if len(found) > 1 else found
        other = rest[0] if rest and score(rest[0]) == score(best) else ""
        tail, own = common_tail(parts(best), wanted), parts(best)
        how = ELSEWHERE
        if tail == len(own) == len(wanted):
            how = SPELLING
        elif tail == len(own):
            is_own = wanted[-tail - 1] == normal(os.path.basename(os.path.abspath(self.path)))
            how = OWN_FOLDER if is_own else IN_FRONT
        elif tail == len(wanted):
            how = SUB_FOLDER
        ends = ["/".join(re.split(r"[\\/]", text)[-tail:]) for text in (name, best)]
        what = differences(*ends)
        if "\\" in name and "\\" not in best:
            what = ("backslashes", *(text for text in what if text != "backslashes"))
        return Match(best, how, what, other)


def stem(name: str) -> str:
    """A file's own name in normal form, without suffix."""
    return os.path.splitext((parts(name) or [""])[-1])[0]


def walk(root: Path) -> Iterable[str]:
    """Names of the files below a folder, relative to it; at most MAX_FILES."""
    left = MAX_FILES
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        inside = os.path.relpath(folder, root)
        for name in names:
            if not is_hidden(name):
                yield name if inside == "." else f"{inside}/{name}"
        left -= len(names)
        if left < 0:
            return


def grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """The names by their keys."""
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def common_tail(first: list[str], second: list[str]) -> int:
    """How many of the last parts are equal."""
    pairs = enumerate(zip(reversed(first), reversed(second)))
    unequal = (number for number, (one, two) in pairs if one != two)
    return next(unequal, min(len(first), len(second)))
