"""The classes of COCO's annotation file."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from src.config.class_list import is_background
from src.data.readers.coco_entries import Category, is_id, whole
from src.data.readers.coco_file import load_content
from src.runtime.errors import InputError


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
