"""Pages of HTML that need no other file."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from src.runtime.text import printable

BASE = Path(__file__).parent  # has base.html.j2: style, and the script that sorts tables


def render(template: Path, **values: Any) -> str:
    """The page that a template gives, which may extend base.html.j2.

    In values HTML's own characters are escaped, and those that `printable` escapes.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, BASE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


def shown(value: Any) -> Any:
    """A value for a page, before the template escapes HTML's characters."""
    return printable(value, lines=True) if type(value) is str else value


def data_url(data: bytes, kind: str) -> str:
    """An image's bytes as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
