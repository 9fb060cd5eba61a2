"""The categories of COCO's annotation file, and the classes that they are."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from src.config.class_list import is_background
from src.data.problems import Problems
from src.data.readers.building import note_unlisted
from src.data.readers.coco_entries import BoxEntry, Category, is_id, whole
from src.data.readers.coco_file import load_content
from src.runtime.errors import InputError
from src.runtime.text import count


class CategoryOf(msgspec.Struct, gc=False):
    """An entry of "annotations", of which only the category is read."""

    category_id: Any = None


class CategoryContent(msgspec.Struct):
    """What the names of the classes need; the parser skips the rest."""

    annotations: list[CategoryOf]
    categories: list[Category]


def coco_class_names(path: Path, image_dir: Path) -> tuple[list[str], str]:
    """Names of the categories in the order of their ids, but the background and a root.

    A root is a category without annotations that others have as their supercategory, as in
    Roboflow's files. Entries that are malformed are left to `read_coco`, which reports them.
    """
    content = load_content(path, CategoryContent)
    used = set(used_ids(content.annotations))
    categories = []
    for category in content.categories:
        with suppress(InputError):
            category.mend()
            categories.append(category)
    categories.sort(key=lambda category: category.id)
    kept, roots = [], []
    for category in categories:
        is_root = category.id not in used and any(is_below(c, category) for c in categories)
        (roots if is_root else kept).append(category)
    # of a name that several have, the one with annotations counts, as in `read_coco`
    names = {c.name: c.id for c in sorted(kept, key=lambda c: c.id in used)}
    ordered = [name for name in sorted(names, key=names.get) if not is_background(name)]
    without = f", without the root {roots[0].name!r}" if roots else ""
    return ordered, f"its categories by id{without}"


def used_ids(entries: Iterable[CategoryOf]) -> Iterable[int]:
    """The categories of the annotations."""
    for entry in entries:
        if is_id(entry.category_id):
            yield entry.category_id
        else:
            with suppress(InputError):
                yield whole("category_id", entry.category_id, set())


def is_below(category: Category, other: Category) -> bool:
    """Whether the other is its supercategory; COCO's person has itself as such."""
    return category.id != other.id and category.supercategory == other.name


def usable_categories(
    path: Path, entries: list[Category], boxes: list[BoxEntry], problems: Problems
) -> list[Category]:
    """The categories, each with a name of its own; InputError where that is not clear."""
    by_id: dict[int, Category] = {}
    for position, entry in enumerate(entries):
        try:
            note(problems, f"category entry {position}", entry.mend())
        except InputError as error:
            raise InputError(f"{path}: category entry {position}: {error}") from None
        other = by_id.setdefault(entry.id, entry)
        if other.name != entry.name:
            names = f"{other.name!r} and {entry.name!r}"
            raise InputError(f"{path}: two categories have the id {entry.id}: {names}")
    alike = defaultdict(list)
    for category in by_id.values():
        alike[category.name].append(category)
    number = Counter(box.category_id for box in boxes)
    return [one_of(path, categories, number, problems) for categories in alike.values()]


def one_of(
    path: Path, categories: list[Category], number: Counter[int], problems: Problems
) -> Category:
    """The one of categories with one name that has annotations, of none the last.

    Roboflow's files have a root without annotations first, often with the name of a class.
    """
    used = [category for category in categories if number[category.id]]
    if len(used) > 1:
        name, first = used[0].name, used[0].id
        found = " and ".join(f"{c.id} ({count(number[c.id], 'annotation')})" for c in used)
        raise InputError(
            f"{path}: two categories have the name {name!r}: {found}; write {first} as their "
            "annotations' category_id if they are one class, else give them different names"
        )
    kept = used[0] if used else categories[-1]
    for category in categories:
        if category is not kept:
            where = f"category {category.id} ({category.name!r})"
            problems.repair(where, "category without annotations dropped, whose name another has")
    return kept


def match_categories(categories: list[Category], classes: tuple[str, ...]) -> tuple[int, ...]:
    """The file's category id of every class but the background, by name.

    A class that the file does not list, as it has no object of it, gets an id that is free.
    """
    ids = {category.name: category.id for category in categories}
    used = set(ids.values())
    free = (number for number in itertools.count(1) if number not in used)
    return tuple(ids[name] if name in ids else next(free) for name in classes[1:])


def of_classes(
    entries: list[BoxEntry],
    categories: list[Category],
    classes: tuple[str, ...],
    problems: Problems,
    drop_unlisted: bool,
) -> list[BoxEntry]:
    """The entries of the configured classes; others are one error, or repair, per category."""
    names = {category.id: category.name for category in categories}
    listed = {category_id for category_id, name in names.items() if name in classes[1:]}
    others = Counter(entry.category_id for entry in entries if entry.category_id not in listed)
    for category_id, number in sorted(others.items()):
        name, found = names.get(category_id), count(number, "annotation")
        if name is None:
            problems.error(f"category {category_id}", f"{found}, but the file does not define it")
        else:
            where = f"category {category_id} ({name!r}, {found})"
            first = next(entry for entry in entries if entry.category_id == category_id)
            note_unlisted(name, where, classes, problems, first.image_id, drop=drop_unlisted)
    return [entry for entry in entries if entry.category_id in listed]


def note(problems: Problems, where: str, done: set[str]) -> None:
    """Adds what was done to an entry as repairs."""
    for what in sorted(done):
        problems.repair(where, what, cause=what)
