"""Finds the files of a split's images and reports those that are missing, by their causes."""

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.data.annotations import NAME_CODEC, Annotations
from src.data.files.folder import (
    ELSEWHERE,
    IN_FRONT,
    SPELLING,
    SUB_FOLDER,
    SUFFIX,
    Folder,
    Match,
    parts,
)
from src.data.problems import MIN_ALIKE, Problems, first_lines
from src.data.signs.sign import FOLDERS
from src.runtime.text import count

TRIED = 20  # missing images that are looked for outside the folder
TAKEN = "taken"  # the nearest file is that of another entry
BY_END = f"--accept=[{FOLDERS}]"


@dataclass(frozen=True)
class Search:
    """How images are looked for.

    Args:
        flag: what precedes "=FOLDER" on the command line, if a key names the image folder.
        by_end: as of Folder.
    """

    flag: str = ""
    by_end: bool = False

    def finder(self, image_dir: Path, problems: Problems) -> "ImageFinder":
        """Looks in this folder."""
        return ImageFinder(Folder(image_dir, by_end=self.by_end), problems, self.flag)


SEARCH = Search()


@dataclass(frozen=True)
class Missing:
    """An image whose file is not there."""

    where: str
    name: str
    match: Match | None
    image_id: int | None = None

    def __str__(self) -> str:
        return f"{self.where} ({self.name!r})"


@dataclass
class ImageFinder:
    """Finds images by their names; `problems` gets the repairs, and at the end what is missing."""

    folder: Folder
    problems: Problems
    flag: str = ""  # as of Search
    noun: str = "image"
    source: Path | None = None  # file that has the names, if not that of `problems`
    number: int = 0  # of images that were looked for
    missing: list[Missing] = field(default_factory=list)
    owner_of: dict[str, str] = field(default_factory=dict)  # by the file's name: whose it is

    def find(self, where: str, name: str, image_id: int | None = None) -> str | None:
        """The name of the file on disk, relative to the folder; None where it is missing."""
        self.number += 1
        found, match = self.folder.resolve(name)
        if match and found in self.owner_of:
            found, match = None, Match(found, TAKEN, other=self.owner_of[found])
        if found is None:
            self.missing.append(Missing(where, name, match, image_id))
            return None
        if match:
            what = f"file found under a name that differs in {match.describe()}"
            self.problems.repair(f"{where} ({name!r})", what, image_id=image_id)
        self.owner_of[found] = f"{where} ({name!r})"
        return found

    def report(self) -> None:
        """One error for each cause that images are missing for, else one for each image."""
        groups = defaultdict(list)
        for item in self.missing:
            groups[item.match and item.match.how].append(item)
        for cause, items in groups.items():
            is_all = len(items) == self.number > 1
            if is_all or (cause is not None and len(items) >= MIN_ALIKE):
                which = "all " if is_all else f"{len(items):,} of "
                where = f"{which}{count(self.number, self.noun)}"
                what = self.common_cause(items) if cause else self.no_trace(items)
                self.problems.error(where, what, image_id=items[0].image_id)
            else:
                for item in items:
                    self.problems.error(item.where, self.cause(item), image_id=item.image_id)

    def cause(self, item: Missing) -> str:
        """What is said of one image alone."""
        path = self.folder.path / item.name
        if os.path.isdir(path):
            return f"{path} is a folder; expected an {self.noun}"
        text = f"no such file {path}"
        if item.match is None:
            return text
        hint = f", which {BY_END} takes" if item.match.is_by_end else ""
        return f"{text}; {self.nearest(item)}{hint}"

    def common_cause(self, items: list[Missing]) -> str:
        """What is said of images that are missing for one cause, by the first of them."""
        first = items[0]
        text = f"no such file in {self.folder.path}, such as {first}; {self.nearest(first)}"
        return f"{text}; {self.way_on(items)}"

    def nearest(self, item: Missing) -> str:
        """Says which file that exists is nearest."""
        match = item.match
        if match.how == TAKEN:
            return f"the nearest is {match.name!r}, but that is {match.other}"
        text = f"there is {match.name!r}"
        if match.other:
            text += f" and {match.other!r}"
        if match.what:
            what = (*match.what, IN_FRONT) if match.how == IN_FRONT else match.what
            text += f" (it differs in {', '.join(what)})"
        return text

    def way_on(self, items: list[Missing]) -> str:
        """What to do about images that are missing for one cause."""
        source, first = self.source or self.problems.source, items[0].match
        if first.how == SUFFIX:
            return f"write the suffix of the files in {source}, or convert the files"
        if first.how == SUB_FOLDER and (base := self.common_folder(items)):
            return self.use(base)
        if all_by_end(items):
            return f"{BY_END} takes them by their ends"
        if first.how == ELSEWHERE and self.flag and (base := one_parent(items)):
            return f"{self.flag}={self.folder.path / base} {BY_END} takes them by their ends"
        return f"write the names in {source} as they are in the folder"

    def common_folder(self, items: list[Missing]) -> Path | None:
        """The folder below this one that all names are relative to; None if there is no one."""
        fronts = set()
        for item in items:
            levels = len(parts(item.name))
            fronts.add(Path(*Path(item.match.name).parts[:-levels]))
        return self.folder.path / fronts.pop() if len(fronts) == 1 else None

    def use(self, folder: Path) -> str:
        """Says which image folder fits."""
        way = f"set {self.flag}={folder}" if self.flag else f"move or link it to {self.folder.path}"
        return f"they are in {folder}: {way}"

    def no_trace(self, items: list[Missing]) -> str:
        """What is said where no image is in the folder under any similar name."""
        files, first = self.folder.files, items[0]
        text = f"no such file in {self.folder.path}, such as {first}"
        if base := outside(self.folder.path, [item.name for item in items[:TRIED]]):
            return f"{text}; {self.use(base)}"
        holds = f"{count(len(files), 'file')}, such as {files[0]!r}" if files else "no files"
        check = f"; check {self.flag}" if self.flag else ""
        return f"{text}; the folder has {holds}{check}"


def all_by_end(items: list[Missing]) -> bool:
    """Whether each name ends with that of a file of its own."""
    files = {item.match.name for item in items if item.match.is_by_end}
    return len(files) == len(items)


def one_parent(items: list[Missing]) -> str:
    """The folder of the files that the names end with, if it is one and each has its own file."""
    files = {item.match.name for item in items if not item.match.other}
    folders = {os.path.dirname(name) for name in files}
    return folders.pop() if len(files) == len(items) and len(folders) == 1 else ""


def find_images(
    annotations: Annotations, problems: Problems, search: Search = SEARCH
) -> tuple[Annotations, set[int]]:
    """The annotations with the images' names on disk, and the indices of those that are missing.

    `problems` gets the repairs of names and what is missing.
    """
    own = Problems(annotations.source)
    finder = search.finder(annotations.image_dir, own)
    names = [name.decode(*NAME_CODEC) for name in annotations.file_names]
    if all(map(finder.folder.holds, names)):
        return annotations, set()
    found = [
        finder.find(annotations.where(index), name, image_id)
        for index, (name, image_id) in enumerate(zip(names, annotations.image_ids.tolist()))
    ]
    finder.report()
    problems.errors.extend(own.errors)
    problems.repairs.extend(own.repairs)
    encoded = [(new or old).encode(*NAME_CODEC) for new, old in zip(found, names)]
    repaired = replace(
        annotations,
        file_names=np.array(encoded, np.bytes_),
        repairs={**annotations.repairs, **Counter(problem.what for problem in own.repairs)},
        repair_lines=(*annotations.repair_lines, *first_lines(own.repairs)),
    )
    return repaired, {index for index, name in enumerate(found) if name is None}


def outside(folder: Path, names: list[str]) -> Path | None:
    """A folder beside `folder` or around it, that all these names are in."""
    around = Path(os.path.abspath(folder)).parent
    if around == around.parent:
        return None  # the whole disk
    tree = Folder(around)
    matches = [tree.nearest(name) for name in names]
    if not all(m and m.how in (SPELLING, SUB_FOLDER) and not m.other for m in matches):
        return None
    bases = set()
    for name, match in zip(names, matches):
        found, levels = Path(match.name).parts, len(parts(name))
        bases.add(around.joinpath(*found[: len(found) - levels]))
    return bases.pop() if len(bases) == 1 else None
