"""Annotation files that name another image than theirs."""

import os
from collections.abc import Mapping

from src.data.signs.sign import Sign
from src.runtime.text import count, listed

LEAST, SHARE = 3, 0.05  # of the files, for a sign


def other_names(named: Mapping[str, str]) -> tuple[Sign, ...]:
    """Files that name the image of another file of the split; other names are of no account.

    Args:
        named: the image that each annotation file names, by the image that it is used for.
    """
    stems = {os.path.splitext(os.path.basename(image))[0] for image in named}
    pairs = []
    for image, name in named.items():
        own = os.path.splitext(os.path.basename(image))[0]
        other = os.path.splitext(os.path.basename(name.replace("\\", "/")))[0]
        if other != own and other in stems:
            pairs.append(f"{own} names {other}")
    if len(pairs) < max(LEAST, SHARE * len(named)):
        return ()
    return (
        Sign(
            "file_names",
            found=f"{len(pairs):,} of {count(len(named), 'annotation file')} name the image of "
            f"another one in <filename> ({listed(pairs)})",
            cause="Probably the files were numbered anew apart from the images, and are for others",
            advice="check some on the page that src.data.validate writes, and give each file the "
            "name of its image",
        ),
    )
