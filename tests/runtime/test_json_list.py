import errno
import json

import pytest

from src.runtime.files import JsonList, write_atomically


class Full:
    """A file on a disk with room for so many more bytes, until it is cut."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def truncate(self):
        self.file.truncate()
        self.room = 4096

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.parametrize("keep", [False, True])
def test_entries_one_a_line(tmp_path, keep):
    with JsonList(tmp_path / "a.json", keep=keep) as results:
        results.append({"a": float("nan")})
        results.append([1, "\u00e9"])
    assert (tmp_path / "a.json").read_text() == '[\n{"a": null},\n[1, "\\u00e9"]\n]\n'
    with JsonList(tmp_path / "b.json", keep=keep):
        pass
    assert json.loads((tmp_path / "b.json").read_text()) == []


@pytest.mark.parametrize("keep", [False, True])
def test_entries_in_the_order_of_their_places(tmp_path, keep):
    with JsonList(tmp_path / "a.json", keep=keep) as results:
        for entry, place in [("c", 7), ({"b": "\u00e9\n"}, 2), ("d", 7), ("a", 0), ("e", 7)]:
            results.append(entry, place)
    assert (tmp_path / "a.json").read_text() == (
        '[\n"a",\n{"b": "\\u00e9\\n"},\n"c",\n"d",\n"e"\n]\n'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_entries_that_cannot_be_put_in_order_stay_as_they_came(tmp_path):
    with JsonList(tmp_path / "a.json", keep=True) as results:
        results.append("b", 1)
        results.append("a", 0)
        (tmp_path / "..a.json.part.part").mkdir()  # in the way of the second file
    assert json.loads((tmp_path / "a.json").read_text()) == ["b", "a"]


@pytest.mark.parametrize(("keep", "left"), [(False, []), (True, ["a.json"])])
def test_after_an_exception(tmp_path, keep, left):
    with pytest.raises(KeyError), JsonList(tmp_path / "a.json", keep=keep) as results:
        results.append(1)
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == left
    with pytest.raises(KeyError), JsonList(tmp_path / "b.json", keep=keep):
        raise KeyError  # nothing to keep
    assert not (tmp_path / "b.json").exists()


def test_a_full_disk_keeps_whole_entries(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: .*a\.json"),
        JsonList(tmp_path / "a.json", keep=True) as results,
    ):
        results.append("first")
        results.file = Full(results.file, room=5)
        results.append("second")
    assert json.loads((tmp_path / "a.json").read_text()) == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "ü" * 125 + ".json"])
def test_names_as_long_as_file_systems_allow(tmp_path, name):
    write_atomically(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"
    with JsonList(tmp_path / name) as entries:
        entries.append(1)
    assert json.loads((tmp_path / name).read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == [name]
