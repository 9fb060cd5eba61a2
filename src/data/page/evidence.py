"""Pictures of everything suspicious: of each sign, and of each kind of error and repair."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from src.data.page.album import Album, Picture
from src.data.page.findings import SplitFindings
from src.data.page.pictures import as_evidence
from src.data.problems import Problem
from src.data.signs.sign import Sign

MAX_GROUPS = 4  # of pictures that a sign has
GROUP = 3  # pictures of a group
MAX_KINDS = 20  # of errors, and of repairs, that have pictures
OF_KIND = 2  # pictures of a kind
MAX_CAPTION = 240  # characters
GREY_SIZE = (320, 200)  # of a picture without image and size
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
PARTICULAR = re.compile(r"[\d/\\]")  # in words of one problem: numbers and paths
COMPARED = 200  # characters that tell kinds apart

Draw = Callable[[Album], list[Picture | None]]  # pictures that belong together


@dataclass
class Evidence:
    """Pictures of a sign or of a kind of problem, in groups that belong together."""

    wanted: Sequence[Sequence[Draw]]
    groups: list[list[Picture]] = field(default_factory=list)

    def draw(self, number: int, album: Album) -> None:
        """Draws group `number`, if there is one and as far as it can be drawn."""
        if number < len(self.wanted):
            drawn = [picture for draw in self.wanted[number] for picture in draw(album)]
            if found := [picture for picture in drawn if picture is not None]:
                self.groups.append(found)


def draw_all(parts: Sequence[Evidence], album: Album) -> None:
    """Draws the first group of each part, then the second of each: so that each has one."""
    for number in range(MAX_GROUPS):
        for part in parts:
            part.draw(number, album)


def of_sign(sign: Sign, split: SplitFindings, other: SplitFindings | None) -> Evidence:
    """The pictures of a sign of a split; `other` is the split that it may be compared with."""
    if sign.groups:
        groups = sign.groups[:MAX_GROUPS]
        return Evidence([draw_group(sign, image_ids, split, other) for image_ids in groups])
    boxes = sign.boxes or (None,) * len(sign.image_ids)
    images = zip(sign.image_ids[:MAX_GROUPS], boxes)
    return Evidence([[partial(draw_image, split, image_id, box=box)] for image_id, box in images])


def draw_group(
    sign: Sign, image_ids: Sequence[int], split: SplitFindings, other: SplitFindings | None
) -> list[Draw]:
    """The pictures of one of the sign's groups: its first images and its last."""
    *firsts, last = image_ids
    last_split = other if sign.across else split
    images = [*((split, image_id) for image_id in firsts[: GROUP - 1]), (last_split, last)]
    return [
        partial(draw_image, owner, image_id, with_role=sign.across)
        for owner, image_id in images
        if owner is not None
    ]


def of_problems(problems: Sequence[Problem], split: SplitFindings) -> list[Evidence]:
    """The pictures of the kinds of problems that name an image, the first kinds of many."""
    kinds = defaultdict(list)
    for problem in problems:
        if problem.image_id is not None:
            kinds[kind_of(problem)].append(problem)
    return [
        Evidence([[partial(draw_problem, split, one, len(found))] for one in found[:OF_KIND]])
        for found in list(kinds.values())[:MAX_KINDS]
    ]


def kind_of(problem: Problem) -> str:
    """A problem's text without what is particular to it."""
    words = QUOTED.sub("#", (problem.cause or problem.what)[:COMPARED]).split()
    return " ".join("#" if PARTICULAR.search(word) else word for word in words)


def draw_problem(
    split: SplitFindings, problem: Problem, alike: int, album: Album
) -> list[Picture | None]:
    """The image of a problem, with its text and how many are alike."""
    caption = str(problem)[:MAX_CAPTION] + (
        f" (one of {alike:,} of this kind)" if alike > 1 else ""
    )
    return draw_image(split, problem.image_id, album, box=problem.box, caption=caption)


def draw_image(
    split: SplitFindings,
    image_id: int,
    album: Album,
    *,
    box: tuple[float, ...] | None = None,
    caption: str = "",
    with_role: bool = False,
) -> list[Picture | None]:
    """An image by its id; grey where the split has none. `with_role` names its split."""
    row = split.rows.get(image_id)
    if row is None:
        if not caption:
            return []
        view = (0, 0, *GREY_SIZE)
        return [album.picture("", None, [], caption, placed=view)]
    record = split.annotations[row]
    if not caption:
        caption = f"{split.role}: " * with_role + split.annotations.file_name(row)
    return as_evidence(album, record, split.names, caption, box)
