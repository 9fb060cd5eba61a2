"""What is wrong with a data set, collected and shown as one report."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from src.data.signs.sign import Sign, those_found
from src.runtime.errors import InputError
from src.runtime.text import count, printable

MAX_UNREADABLE = 0.01  # of a split's images
FEW_UNREADABLE = 5  # that the first batches may have, unless they are too many for the split
DEVIATIONS = 3.0  # standard deviations of their number that pass for chance
SHOWN_PROBLEMS = 20  # the rest are counted
# the end of messages on a split to evaluate on
WITHOUT_EVALUATION = (
    "or hold out a part of the training split with --val_share=0.1, or train with --eval_interval=0"
)
CONSEQUENCES = ("no_objects", "unused_class")  # signs that errors of entries lead to
MIN_ALIKE = 3  # problems with one cause that are reported together


class MalformedRecord(InputError):
    """An error of one record; those of others with the same `cause` are reported with it."""

    def __init__(self, found: str, expected: str):
        super().__init__(f"{found}{expected}")
        self.cause = expected


@dataclass(frozen=True)
class Problem:
    """Where it is ("line 7, box 2") and what it is ("box clipped to the image").

    As text it is one line, whatever the names in it hold.
    """

    where: str
    what: str
    cause: str = ""  # what it has in common with others, which are then reported with it
    image_id: int | None = None  # of its image, for a picture
    box: tuple[float, ...] | None = None  # x1, y1, x2, y2 in the image's pixels, as in the file

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}")


@dataclass
class Problems:
    """Errors, which stop a run, and repairs and warnings, which do not, in the order found."""

    source: Path  # the annotation file (of VOC: the split's list)
    errors: list[Problem] = field(default_factory=list)
    repairs: list[Problem] = field(default_factory=list)
    from_images: bool = False  # whether images were read that `Reader.inputs` does not name
    unlisted: list[str] = field(default_factory=list)  # names of objects that are not in `classes`
    signs: list[Sign] = field(default_factory=list)  # that were judged and not accepted
    image_id: int | None = None  # that is read now: of what is found in a block of `at`

    def judge(self, signs: Iterable[Sign | None], accept: Sequence[str]) -> None:
        """Adds signs as errors where they are certain, else as warnings; none that are accepted."""
        for sign in those_found(*signs):
            if sign.name in accept or (self.errors and sign.name in CONSEQUENCES):
                continue
            self.signs.append(sign)
            if sign.certain:
                self.error(sign.name, sign.text())

    @property
    def warnings(self) -> list[Sign]:
        """The signs that are no errors."""
        return [sign for sign in self.signs if not sign.certain]

    def error(self, where: str, what: str, cause: str = "", *, image_id: int | None = None) -> None:
        """Adds an error; `image_id` is that of the block of `at` by default."""
        self.errors.append(Problem(where, what, cause, self._image(image_id)))

    def repair(
        self,
        where: str,
        what: str,
        cause: str = "",
        *,
        image_id: int | None = None,
        box: tuple[float, ...] | None = None,
    ) -> None:
        """Adds a repair; `image_id` is that of the block of `at` by default."""
        image_id = self._image(image_id)
        self.repairs.append(Problem(where, what, cause, image_id, box))

    def _image(self, image_id: int | None) -> int | None:
        return self.image_id if image_id is None else image_id

    @contextmanager
    def at(self, where: str, image_id: int | None = None) -> Iterator[None]:
        """Turns an InputError of the block into an error at `where`.

        Errors and repairs of the block are of image `image_id`; by default of a block around it.
        """
        outer, self.image_id = self.image_id, self._image(image_id)
        try:
            yield
        except InputError as error:
            self.error(where, str(error), getattr(error, "cause", ""))
        finally:
            self.image_id = outer

    def raise_errors(self) -> None:
        """InputError with the first errors and their number, if there are any."""
        if self.errors:
            title = f"{self.source}: {count(len(self.errors), 'error')}"
            raise InputError("\n  ".join([title, *first_lines(self.errors)]))

    def to_dict(self) -> dict:
        """All of them, for a report in JSON."""
        return {
            "source": str(self.source),
            "errors": [vars(problem) for problem in self.errors],
            "repairs": [vars(problem) for problem in self.repairs],
            "warnings": [vars(sign) for sign in self.warnings],
        }


@dataclass
class Unreadable:
    """Images that a run could not read: listed once each, and too many are an error."""

    source: Path  # the annotation file
    images: int  # in the split
    met: int | None = None  # images that were to be read so far, of all epochs; None for all
    messages: dict[int, str] = field(default_factory=dict)  # by the image's index

    @property
    def tried(self) -> int:
        """Images of the split that were to be read so far."""
        return self.images if self.met is None else min(self.met, self.images)

    def add(self, found: Iterable[tuple[int, str]]) -> None:
        """Adds (index, message) pairs."""
        self.messages.update(found)

    def check(self) -> None:
        """InputError where they are more than MAX_UNREADABLE of the split, or probably will be.

        Of the images met in a random order so far chance may bring a larger share.
        """
        expected, split = MAX_UNREADABLE * self.tried, MAX_UNREADABLE * self.images
        by_chance = DEVIATIONS * math.sqrt(expected * (1 - self.tried / max(self.images, 1)))
        if len(self.messages) > min(max(expected + by_chance, FEW_UNREADABLE), split):
            raise InputError(
                f"{self}\n  more than {MAX_UNREADABLE:.0%} of those met; "
                "'python -m src.data.validate' lists them all"
            )

    def __str__(self) -> str:
        """How many, of how many, and the first of them by name."""
        title = f"{self.source}: {len(self.messages):,} of {count(self.tried, 'image')} unreadable"
        return "\n  ".join([title, *first_lines(list(self.messages.values()))])


def first_lines(problems: Sequence) -> list[str]:
    """The first SHOWN_PROBLEMS as lines, and one that counts the rest.

    Those with one cause are one line, if they are MIN_ALIKE or more.
    """
    groups = alike(problems)
    rest = sum(map(len, groups[SHOWN_PROBLEMS:]))
    return [*map(in_one_line, groups[:SHOWN_PROBLEMS]), *([f"and {rest:,} more"] if rest else [])]


def alike(problems: Sequence) -> list[list]:
    """The problems, those with one cause together if they are MIN_ALIKE or more."""
    causes = [getattr(problem, "cause", "") for problem in problems]
    number, groups = Counter(causes), defaultdict(list)
    for index, (cause, problem) in enumerate(zip(causes, problems)):
        groups[cause if cause and number[cause] >= MIN_ALIKE else index].append(problem)
    return list(groups.values())


def in_one_line(group: list) -> str:
    """Problems with one cause, by the first of them."""
    first, *others = group
    if others:
        first = replace(first, where=f"{first.where} and {len(others):,} more")
    return str(first)
