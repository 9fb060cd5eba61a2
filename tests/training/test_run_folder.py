import pytest

from src.runtime.errors import InputError
from src.training.run_folder import clear, leaving_nothing, lock_folder, newest_aside, set_aside


def test_earlier_run_is_moved_into_a_folder_of_its_own(tmp_path):
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "best.ckpt").write_text("earlier")
    (tmp_path / "log.txt").write_text("earlier")
    (tmp_path / "report").mkdir()  # of eval.py
    aside = set_aside(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report", aside.name}
    assert {path.name for path in aside.iterdir()} == {"ckpt", "log.txt"}
    assert newest_aside(tmp_path) is None
    (aside / "ckpt" / "last.ckpt").write_text("earlier")
    assert newest_aside(tmp_path) == aside


def test_profile_s_folder_is_cleared(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "log.txt").write_text("earlier")
    (tmp_path / "mine.txt").write_text("mine")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_to_move(tmp_path):
    assert set_aside(tmp_path) is None


def test_twice_within_a_second(tmp_path):
    for _ in range(3):
        (tmp_path / "log.txt").write_text("earlier")
        set_aside(tmp_path)
    assert len(list(tmp_path.glob("earlier_*/log.txt"))) == 3


def test_a_refused_run_leaves_no_folder(tmp_path):
    (tmp_path / "kept").mkdir()
    for name in ("new/run", "kept", "kept/run"):
        folder = tmp_path / name
        with pytest.raises(InputError), leaving_nothing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock_folder(folder)
            raise InputError("no image")
        assert [path.name for path in tmp_path.rglob("*")] == ["kept"]
    with pytest.raises(InputError), leaving_nothing(tmp_path / "run"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "log.txt").touch()
        raise InputError("no image")
    assert (tmp_path / "run" / "log.txt").exists()


def test_two_runs_in_one_folder(tmp_path):
    held = lock_folder(tmp_path)
    with pytest.raises(InputError, match="another run is writing there"):
        lock_folder(tmp_path)
    held.close()
    lock_folder(tmp_path).close()
