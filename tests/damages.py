"""Random damages of annotation files: of their bytes, and of what they hold."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# what no field expects
VALUES = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, float("nan"), float("inf"), 2**31,
    2**63, -(2**63), 10**400, "", " ", "a", "1", "0x10", "1_0", "NaN", "½", "٣", "a\0b", "\x1b[31m",
    "\ud800", "caf\udce9", "../../etc/passwd", "/", ".", "a/" * 3000, "n" * 300, "\u202e", "\n", [],
    [[]], [1, 2, 3, 4], ["a"], {}, {"id": 1}, [None] * 4, "💥" * 99, "%s{}", "$x$",
)  # fmt: skip
TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"\n", b"\r\n", b"\t", b" ", b'"', b"'", b",",
    b"{", b"}", b"[", b"]", b"<", b">", b"&", b"&#0;", b"&#xD800;", b"&bomb;", b"</annotation>",
    b"<![CDATA[", b"<!--", b"nan", b"-inf", b"1e999", b"9" * 400, b"[" * 5000, b"{\"a\":" * 2000,
    b"\\ud800", b"\\u0000", b"\x1b[2J", b"#",
)  # fmt: skip
DOCTYPES = (
    '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi"))
    + '<!ENTITY bomb "&i;">]>',
    '<!DOCTYPE annotation [<!ENTITY bomb SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd">',
    '<!DOCTYPE annotation [<!ENTITY bomb "&bomb;">]>',
    '<?xml version="1.0" encoding="no-such"?>',
    '<?xml version="1.0" encoding="UTF-16"?>',
    '<?xml version="1.1"?>',
)
Damage = Callable[[random.Random, Path], None]


def of_bytes(rng: random.Random, path: Path) -> None:
    """Flips, cuts, repeats or inserts bytes at some places."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 8))):
        place, length = rng.randrange(len(data) + 1), rng.randint(1, 30)
        match rng.randrange(5):
            case 0 if place < len(data):
                data[place] = rng.randrange(256)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[place : place + length]
            case 3:
                data[place:place] = rng.choice(TOKENS)
            case _ if rng.random() < 0.2:
                del data[place:]
    path.write_bytes(data)


def of_json(rng: random.Random, path: Path) -> None:
    """Changes values, keys and lists of the content."""
    content = json.loads(path.read_text())
    for _ in range(rng.choice((1, 1, 2, 4))):
        damage_node(rng, *rng.choice(list(nodes(content)) or [([content], 0)]))
    text = json.dumps(content, ensure_ascii=rng.random() < 0.8)
    if rng.random() < 0.1:  # a key twice
        text = text.replace('"id": ', f'"id": {rng.choice(("7", "null", "[]"))}, "id": ', 1)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


def nodes(value: Any):
    """(Container, key) of everything in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from nodes(item)


def damage_node(rng: random.Random, container: Any, key: Any) -> None:
    """Replaces, deletes, repeats, wraps or nests what a dict or list has at the key."""
    match rng.randrange(6):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.append(container[key])
        case 2:
            container[key] = [container[key]]
        case 3 if isinstance(container[key], (int, float)):
            container[key] = rng.choice((str, float, lambda v: -v, lambda v: v * 1e12, bool))(
                container[key]
            )
        case 4 if rng.random() < 0.2:
            for _ in range(600):
                container[key] = [container[key]]
        case _:
            container[key] = rng.choice(VALUES)


def of_text(rng: random.Random, path: Path) -> None:
    """Changes fields of some lines."""
    lines = path.read_text().split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        number = rng.randrange(len(lines))
        fields = [part.split(",") for part in lines[number].split(" ")]
        part = rng.choice(fields)
        place = rng.randrange(len(part))
        match rng.randrange(5):
            case 0:
                del part[place]
            case 1:
                part.insert(place, part[place])
            case 2:
                lines.insert(number, lines[number])
                continue
            case _:
                part[place] = str(rng.choice(VALUES))
        lines[number] = " ".join(",".join(part) for part in fields)
    path.write_text(
        "\n".join(lines),
        encoding="utf-8",
        errors="surrogateescape" if rng.random() < 0.5 else "backslashreplace",
    )


def of_xml(rng: random.Random, path: Path) -> None:
    """Changes elements and their texts, or what precedes them."""
    tree = ElementTree.parse(path)
    places = [(parent, child) for parent in tree.iter() for child in parent]
    for parent, child in rng.sample(places, min(len(places), rng.choice((1, 1, 2, 4)))):
        match rng.randrange(5):
            case 0 if child in list(parent):
                parent.remove(child)
            case 1:
                parent.append(child)
            case 2:
                child.tag = rng.choice(("a", "object", "size", "bndbox", "name"))
            case 3:
                for _ in range(rng.choice((1, 300))):
                    parent = ElementTree.SubElement(parent, child.tag)
            case _:
                child.text = str(rng.choice(VALUES))
    text = ElementTree.tostring(tree.getroot(), encoding="unicode")
    if rng.random() < 0.2:
        text = rng.choice(DOCTYPES) + text.replace("cat", "&bomb;", 1)
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))


def by_suffix(path: Path) -> tuple[Damage, ...]:
    """The damages of a file of this kind; others are damaged by their bytes alone."""
    own = {".json": of_json, ".txt": of_text, ".xml": of_xml}.get(path.suffix)
    return (of_bytes, own, own) if own else (of_bytes,)


def damage(rng: random.Random, path: Path) -> None:
    """A random damage of the file; a file that the damage cannot write loses its end."""
    try:
        rng.choice(by_suffix(path))(rng, path)
    except (ValueError, SyntaxError):  # damaged before, or not to be encoded
        path.write_bytes(path.read_bytes()[: rng.randrange(1, 100)])
