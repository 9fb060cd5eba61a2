"""The key `classes`, in which the background may be written or left out."""

from collections.abc import Sequence

from src.runtime.text import printable

BACKGROUND = "background"


def is_background(name: str) -> bool:
    """Whether a class of this name is the background, in any case; as "__background__" is too."""
    return name.strip("_").casefold() == BACKGROUND


def with_background(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes with the background first; () for no classes."""
    if not classes:
        return ()
    rest = classes[1:] if is_background(classes[0]) else classes
    return (BACKGROUND, *rest)


def class_contradictions(classes: Sequence[str], num_classes: int):
    """Messages on the classes, after `with_background`; none if they are not known."""
    if not classes:
        return
    if len(classes) < 2:
        yield (
            "classes names the background alone; expected at least one class, or classes: [] for "
            "those of the annotations"
        )
    if odd := [name for name in classes if printable(name) != name]:
        yield f"classes: {odd[0]!r} has control characters, which no name of a class needs"
    if BACKGROUND in classes[1:]:
        place = classes.index(BACKGROUND, 1) + 1
        yield f"classes: {BACKGROUND!r} is entry {place}; expected it first, or left out"
    elif len(set(classes)) < len(classes):
        twice = sorted({name for name in classes if classes.count(name) > 1})
        yield f"classes: more than one entry is {' or '.join(map(repr, twice))}"
    if num_classes not in (0, len(classes)):
        yield (
            f"num_classes is {num_classes} but classes has {len(classes)} entries, the "
            "background included; they must be equal"
        )
