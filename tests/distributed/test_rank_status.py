"""The status of the main rank, which the launching script reads where msrun answers all with 1."""

import os
import shutil

import pytest

from src.distributed.command import STATUS_FILE, run_rank
from src.distributed.launch import Launch
from src.runtime.errors import InputError, RunError


@pytest.mark.parametrize(
    ("error", "rank", "status", "written"),
    [
        (InputError, 0, 2, "2\n"),
        (RunError, 0, 1, "1\n"),
        (InputError, 1, 2, None),
        (None, 0, None, None),
    ],
)
def test_the_main_rank_writes_why_it_ends(error, rank, status, written, tmp_path, monkeypatch):
    def main():
        if error:
            raise error("no image")

    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the main rank's head start
    monkeypatch.setenv(STATUS_FILE, str(tmp_path / "status"))
    run_rank(main, Launch("msrun", rank, 2, rank))
    assert ended == ([status] if error else [])
    found = tmp_path / "status"
    assert (found.read_text() if found.exists() else None) == written
