"""Pages with names that no encoding and no browser should get."""

from src.runtime.html import render


def test_names_are_escaped(tmp_path):
    template = tmp_path / "page.html.j2"
    template.write_text("<p>{{ name }}</p>{{ number }}")
    page = render(template, name="<b>\u202e\x1b\udce9.jpg", number=3)
    assert page == "<p>&lt;b&gt;\\u202e\\x1b\\xe9.jpg</p>3"
    assert page.encode()
