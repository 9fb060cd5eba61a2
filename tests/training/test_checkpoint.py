"""Checkpoints of a tiny network: whole, refused with a reason, and never half-written."""

import binascii
import os
import re
import resource
import signal
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.config.configuration import make_config
from src.runtime.errors import InputError, RunError
from src.training.checkpoints import Checkpoints, numbered, write_checkpoint
from src.training.resume import best_on_disk, find_run, read_run, renumbered
from src.weights.checkpoint_file import has_checksum, read_checkpoint


def parameters(value: float) -> dict:
    return {"w": ms.Parameter(ms.Tensor(np.full((50, 40), value, np.float32)), name="w")}


SIZES = {"steps_per_epoch": 10, "images_per_step": 16}


def save(checkpoints: Checkpoints, epoch: int) -> None:
    state = {"epoch": epoch, "step": 10 * epoch, "updates": 10 * epoch, **SIZES}
    checkpoints.save(parameters(epoch), state)
    checkpoints.keep_epoch(epoch)
    checkpoints.keep_epoch(epoch)  # as a resumed run does; nothing is left beside


def config(**changes):
    return make_config([({"lr": 0.25, **changes}, "test")])


def find(checkpoints: Checkpoints, **changes):
    return find_run(checkpoints.folder, config(resume=True, **changes))


@pytest.fixture
def checkpoints(tmp_path):
    """Those of a run of four epochs, the last three kept."""
    made = Checkpoints(tmp_path / "ckpt", keep=3, config=config().to_yaml())
    for epoch in range(1, 5):
        save(made, epoch)
    return made


def test_what_is_read_is_what_was_saved(checkpoints):
    saved = read_run(checkpoints.last)
    assert saved.state == {"epoch": 4, "step": 40, "updates": 40, **SIZES}
    assert np.array_equal(saved.arrays["w"], np.full((50, 40), 4, np.float32))
    assert saved.config["lr"] == 0.25
    assert checkpoints.last.stat().st_mode & 0o777 == 0o644


def test_newest_epochs_are_kept(checkpoints):
    names = ["epoch_02.ckpt", "epoch_03.ckpt", "epoch_04.ckpt", "last.ckpt"]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == names
    assert [path.name for _, path in numbered(checkpoints.folder)] == names[2::-1]
    assert read_run(checkpoints.folder / "epoch_02.ckpt").arrays["w"][0, 0] == 2


def test_epochs_beyond_99_are_the_newest(tmp_path):
    made = Checkpoints(tmp_path, keep=2, config="{}")
    for epoch in (99, 100, 101):
        save(made, epoch)
    assert [path.name for _, path in numbered(tmp_path)] == ["epoch_101.ckpt", "epoch_100.ckpt"]


def test_file_systems_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    made = Checkpoints(tmp_path, keep=2, config="{}")
    save(made, 7)
    assert (tmp_path / "epoch_07.ckpt").read_bytes() == made.last.read_bytes()


def cut(path, size):
    data = path.read_bytes()
    path.unlink()  # a hard link to an epoch's file stays whole
    path.write_bytes(data[:size])


@pytest.mark.parametrize("size", [0, 1, 3000, -1, -17, -18])
def test_truncated_checkpoint_is_refused_and_the_next_older_offered(checkpoints, size):
    (checkpoints.folder / "epoch_04.ckpt").unlink()  # as where it was not kept
    cut(checkpoints.last, size)
    with pytest.raises(InputError) as caught:
        find(checkpoints)
    older = checkpoints.folder / "epoch_03.ckpt"
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{checkpoints.last}: has no checksum at its end: truncated")
    how = f"--resume=True --resume_from={older}"
    assert lines[1] == f"  {older} is usable (epoch 3, step 30): {how}"
    assert find(checkpoints, resume_from=str(older)).state["epoch"] == 3


def test_older_ones_of_a_damaged_epoch_are_offered_before_the_last(checkpoints):
    second, third = (checkpoints.folder / f"epoch_0{n}.ckpt" for n in (2, 3))
    cut(third, 100)
    with pytest.raises(InputError, match="epoch_02.ckpt is usable"):
        find(checkpoints, resume_from=str(third))
    second.unlink()
    with pytest.raises(InputError, match="last.ckpt is usable"):
        find(checkpoints, resume_from=str(third))


def test_one_wrong_bit_is_found(checkpoints):
    data = bytearray(checkpoints.last.read_bytes())
    data[3000] ^= 1
    checkpoints.last.unlink()
    checkpoints.last.write_bytes(data)
    with pytest.raises(InputError, match="a damaged one; .*\n.*epoch_04.ckpt is usable"):
        find(checkpoints)
    with pytest.raises(InputError, match="a damaged one"):  # for evaluation too
        read_checkpoint(str(checkpoints.last))


def test_no_sound_checkpoint_is_left(checkpoints):
    for path in checkpoints.folder.iterdir():
        cut(path, 100)
    with pytest.raises(InputError, match="no other checkpoint of the run can be used"):
        find(checkpoints)


def test_lost_last_checkpoint(checkpoints):
    checkpoints.last.unlink()
    with pytest.raises(InputError, match="no such file.*\n.*epoch_04.ckpt is usable"):
        find(checkpoints)


def test_checkpoint_of_another_folder_is_refused(checkpoints, tmp_path):
    elsewhere = tmp_path / "other" / "ckpt" / "last.ckpt"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(checkpoints.last.read_bytes())
    with pytest.raises(InputError, match=f"--output_path={tmp_path / 'other'}"):
        find(checkpoints, resume_from=str(elsewhere))


def test_folder_without_checkpoints_has_no_run(tmp_path):
    assert find_run(tmp_path / "ckpt", config(resume=True)) is None


def test_weights_alone_are_no_run(checkpoints):
    best = {"AP": 0.5, "epoch": 4, "step": 40}
    state = {"epoch": 4, "step": 40, "steps_per_epoch": 10, "best": best}
    write_checkpoint(checkpoints.best, parameters(9), checkpoints.config, state)
    with pytest.raises(InputError, match="contains only weights"):
        find(checkpoints, resume_from=str(checkpoints.best))
    assert best_on_disk(checkpoints.best, 10) == best
    assert best_on_disk(checkpoints.best, 20) == {**best, "step": 80}
    assert best_on_disk(checkpoints.last, 10) is None


def test_checkpoint_of_another_program(tmp_path):
    path = tmp_path / "foreign.ckpt"
    entries = [{"name": name, "data": value} for name, value in parameters(1).items()]
    ms.save_checkpoint(entries, str(path))
    assert not has_checksum(path)
    assert read_checkpoint(str(path))["w"][0, 0] == 1
    with pytest.raises(InputError, match="not of a training run"):
        read_run(path)


def test_another_configuration_is_refused_with_the_keys(checkpoints):
    assert find(checkpoints, num_workers=7, max_steps=3, finetune="moved.ckpt") is not None
    save(Checkpoints(checkpoints.folder, keep=3, config=config(lr=0.5, seed=2).to_yaml()), 5)
    with pytest.raises(InputError) as caught:
        find(checkpoints)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{checkpoints.last}: is from a run with another configuration"
    assert lines[1:3] == [
        "  lr: 0.5 in the checkpoint, 0.25 in the config",
        "  seed: 2 in the checkpoint, 1 in the config",
    ]
    # one of the own configuration is offered
    assert "epoch_04.ckpt is usable (epoch 4, step 40)" in lines[-1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crop_scale", [0.5, 1.0]), ("max_expansion", 2.0), ("jitter_scale", [0.8, 1.2]),
        ("flip_probability", 0.0), ("colour_strength", 0.1), ("hue_strength", 0.1),
        ("vertical_flip_probability", 0.5), ("rotate_probability", 0.5),
        ("mosaic_probability", 0.5), ("repeat_threshold", 0.1), ("val_share", 0.2),
    ],
)  # fmt: skip
def test_what_a_run_sees_cannot_change_within_it(checkpoints, key, value):
    with pytest.raises(InputError, match=rf"\n  {key}: .* in the checkpoint, .* in the config\n"):
        find(checkpoints, **{key: value})


def test_a_run_of_an_older_version_is_resumed(checkpoints):
    text = config(focal_alpha=0.4).to_yaml()
    for new, old in (("focal_alpha", "alpha"), ("pre_nms_top_k", "candidates")):
        assert f"\n{new}: " in text
        text = text.replace(f"\n{new}: ", f"\n{old}: ")
    save(Checkpoints(checkpoints.folder, keep=3, config=text), 5)
    assert find(checkpoints, focal_alpha=0.4, pre_nms_top_k=7).state["step"] == 50
    # a key that it lacks had its default
    without = re.sub(r"^(head_norm|assigner): .*\n", "", text, flags=re.M)
    save(Checkpoints(checkpoints.folder, keep=3, config=without), 5)
    assert find(checkpoints, focal_alpha=0.4).state["step"] == 50
    with pytest.raises(InputError, match="head_norm: batch in the checkpoint, group in the config"):
        find(checkpoints, focal_alpha=0.4, head_norm="group")
    with pytest.raises(InputError, match="focal_alpha: 0.4 in the checkpoint, 0.25 in the config"):
        find(checkpoints)


@pytest.mark.parametrize(
    ("ranks", "changes", "refused"),
    [
        (4, {}, ""),  # the same batch on each of more ranks
        (4, {"batch_size": 4}, ""),  # the same images to an update
        (2, {"batch_size": 4, "accumulate": 2}, ""),
        (1, {"batch_size": 8}, "batch_size: 16 in the checkpoint, 8 in the config"),
        (4, {"batch_size": 8}, "batch_size: 16 in the checkpoint, 8 in the config"),
        (1, {"accumulate": 2}, "accumulate: 1 in the checkpoint, 2 in the config"),
        (1, {"accumulate": 2}, "batch_size x accumulate x ranks must stay 16; resume with the run"),
    ],
)
def test_batch_may_change_with_the_ranks(checkpoints, ranks, changes, refused):
    cfg = config(resume=True, **changes)
    if refused:
        with pytest.raises(InputError, match=refused) as caught:
            find_run(checkpoints.folder, cfg, ranks)
        assert "start again" not in str(caught.value)  # the checkpoint is sound
    else:
        assert find_run(checkpoints.folder, cfg, ranks).state["step"] == 40


@pytest.mark.parametrize(
    ("step", "before", "now", "expected"),
    [(0, 7, 3, 0), (20, 10, 5, 10), (25, 10, 5, 12), (25, 10, 10, 25), (13, 4, 9, 29)],
)
def test_updates_are_renumbered_by_the_epochs_done(step, before, now, expected):
    assert renumbered(step, before, now) == expected


def test_going_back_moves_what_came_later_aside(checkpoints, tmp_path):
    chosen, aside = checkpoints.folder / "epoch_03.ckpt", tmp_path / "aside"
    checkpoints.move_later(chosen, 3, aside)
    left, moved = (sorted(path.name for path in f.iterdir()) for f in (checkpoints.folder, aside))
    assert left == ["epoch_02.ckpt", "epoch_03.ckpt"]
    assert moved == ["epoch_04.ckpt", "last.ckpt"]


def test_full_disk_keeps_the_checkpoint_and_leaves_nothing(checkpoints):
    before = sorted(path.name for path in checkpoints.folder.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(RunError, match="cannot be written: .*last.ckpt, is kept"):
            save(checkpoints, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == before
    assert read_run(checkpoints.last).state["epoch"] == 4


@pytest.mark.parametrize("where", ["write", "move"])
def test_kill_in_a_save_leaves_the_checkpoint_before(checkpoints, where):
    last = checkpoints.last
    part = last.with_name(f".last.part.{'tmp' if where == 'write' else 'ckpt'}")
    before = last.read_bytes()
    large = {f"w{n}": ms.Parameter(ms.Tensor(np.ones((50, 400), np.float32))) for n in range(3)}
    child = os.fork()
    if not child:
        die_in_a_save(where, part)
        checkpoints.save(large, {"epoch": 5, "step": 50})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert last.read_bytes() == before
    size = part.stat().st_size
    assert 80_000 < size < 240_000 if where == "write" else size > 240_000
    assert find(checkpoints).state["epoch"] == 4
    save(checkpoints, 5)
    assert find(checkpoints).state["epoch"] == 5
    assert not list(last.parent.glob(".*"))


def die_in_a_save(where: str, part: Path) -> None:
    """Lets this process be killed when some parameters are written, or before the file is moved."""
    crc32, replace = binascii.crc32, os.replace

    def dying_crc32(*args):  # called for each parameter
        if part.exists() and part.stat().st_size > 80_000:
            os.kill(os.getpid(), signal.SIGKILL)
        return crc32(*args)

    def dying_replace(source, target):
        if source == part:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(source, target)

    if where == "write":
        binascii.crc32 = dying_crc32
    else:
        os.replace = dying_replace
