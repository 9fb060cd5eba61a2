"""ladder.py: what it runs, in which order, and what it concludes."""

import json

import pytest

from benchmarks import ladder, ladder_rows
from benchmarks.common import configure
from src.runtime.errors import InputError
from tests.printed_rows import LADDER


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_ladder(run_script, tmp_path, monkeypatch):
    flags = ["--rungs", "giou", "base", "--seeds=1", "--lr", "0.001", "--updates=4",
             f"--folder={tmp_path}", *LADDER]  # fmt: skip
    real, found = ladder.train, []

    def train_once(flags):
        """A run for the first rung; the other gets its numbers."""
        found.append(found[0] if found else real(flags))
        return found[-1]

    monkeypatch.setattr(ladder, "train", train_once)
    rows = run_script(ladder, *flags)
    assert (
        next(iter(rows)) == "ladder rule" and "two standard errors" in rows["ladder rule"]["rule"]
    )
    runs = {name: row for name, row in rows.items() if name.startswith("run ")}
    assert len(runs) == 2
    assert all(row["cpu_seconds"] > 1 and 0 <= row["AP"] <= 1 for row in runs.values())
    summary = rows["ladder giou"]
    assert (summary["before"], summary["seeds"], len(summary["AP_differences"])) == ("base", 1, 1)
    assert "before" not in rows["ladder base"]
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [f"run {row['rung']} {row['seed']} {row['lr']}" for row in written] == list(runs)
    losses = {"base": "smooth_l1", "giou": "giou"}
    assert all(configure(row["flags"]).box_loss == losses[row["rung"]] for row in written)
    # continued, it runs nothing again
    monkeypatch.setattr(ladder, "train", None)
    assert run_script(ladder, *flags) == rows


@pytest.mark.parametrize(("ap50", "learnt"), [(0.9, True), (0.89, False)])
def test_ladder_overfit(run_script, tmp_path, monkeypatch, ap50, learnt):
    made = []

    def train(flags):
        made.append(flags)
        return {"AP": 0.7, "AP50": ap50, "AP75": 0.7, "cpu_seconds": 1.0}

    monkeypatch.setattr(ladder, "train", train)
    rows = run_script(ladder, "--rows", "overfit", "--pairs", "atss quality giou distribution",
               "--overfit_images=4", "--overfit_updates=3", f"--folder={tmp_path}",
               *LADDER)  # fmt: skip
    row = rows["overfit atss quality giou distribution"]
    assert (row["AP50"], row["learnt"]) == (ap50, learnt)
    (flags,) = made
    cfg = configure(flags)  # raises where keys contradict each other
    assert (cfg.assigner, cfg.box_coding, cfg.epoch_size) == ("atss", "distribution", 3)
    assert cfg.val_split == cfg.train_split and cfg.augmentation == "none"


def test_ladder_refuses_updates_that_are_no_whole_epochs(run_script, tmp_path):
    with pytest.raises(InputError, match="5 updates of 4 are no whole epochs of 8 images"):
        run_script(ladder, "--updates=5", f"--folder={tmp_path}", *LADDER)


def test_rungs_of_the_ladder():
    base = ladder.keys_of_rung("base")
    assert configure([], **base) == configure([], anchor_size=2.0)
    parts = {"box_loss": "giou", "box_weight": 2.0, "assigner": "atss"}
    assert ladder.keys_of_rung("atss") == {**base, **parts}
    top = ladder.keys_of_rung("group_norm")
    assert base.keys() == top.keys() and all(base[key] != top[key] for key in base)
    for keys in (*map(ladder.keys_of_rung, ladder.PARTS), *ladder.PAIRS.values()):
        configure([], **keys)  # raises where keys contradict each other


def test_runs_of_the_ladder_in_order(monkeypatch, tmp_path):
    """The first seed tries every rate, the others a rung's best one, in orders of their own."""
    made = []

    def train(flags):
        keys = dict(flag[2:].split("=") for flag in flags)
        rung = "giou" if keys["box_loss"] == "giou" else "base"
        ap = 0.3 if float(keys["lr"]) == {"giou": 0.001, "base": 0.004}[rung] else 0.2
        made.append((rung, int(keys["seed"]), float(keys["lr"])))
        return {"AP": ap, "AP50": ap, "AP75": ap, "cpu_seconds": 1.0}

    monkeypatch.setattr(ladder, "train", train)
    rates = [0.001, 0.002, 0.004]
    rows = ladder_rows.Rows(tmp_path / "rows.jsonl")
    found = ladder.climb(rows, [], ["base", "giou"], seeds=4, rates=rates, jobs=1)
    firsts = [run for run in made if run[1] == 1]
    assert sorted(firsts) == [(rung, 1, rate) for rung in ("base", "giou") for rate in rates]
    assert firsts != sorted(firsts)
    assert sorted(made[6:]) == sorted(
        run for seed in (2, 3, 4) for run in (("base", seed, 0.004), ("giou", seed, 0.001))
    )
    assert [run[1] for run in made] == [1] * 6 + [2, 2, 3, 3, 4, 4]
    assert len(found) == 8 and {row["AP"] for row in found} == {0.3}
    # several at a time give the same rows
    several = ladder_rows.Rows(tmp_path / "several.jsonl")
    assert ladder.climb(several, [], ["base", "giou"], seeds=4, rates=rates, jobs=3) == found
    assert len(several.rows) == len(rows.rows) == 12


def test_what_a_part_is_worth():
    def row(rung, seed, ap):
        return {"rung": rung, "seed": seed, "lr": 0.1, "AP": ap, "AP50": 2 * ap, "AP75": ap / 2,
                "cpu_seconds": 10.0 * seed}  # fmt: skip

    aps = {"base": (0.2, 0.3, 0.25), "giou": (0.24, 0.36, 0.3), "atss": (0.23, 0.4, 0.35)}
    rows = [row(rung, seed, ap) for rung, own in aps.items() for seed, ap in enumerate(own, 1)]
    base, giou, atss = ladder_rows.summaries(rows, list(aps))
    assert (base["AP"], base["AP50"], base["cpu_seconds"]) == (0.25, 0.5, 20.0)
    assert giou["AP_differences"] == [0.04, 0.06, 0.05]
    assert giou["AP_difference"] == 0.05
    assert giou["AP_error"] == pytest.approx(0.01 / 3**0.5, abs=1e-5)
    assert giou["pays"] is True
    assert (atss["before"], atss["pays"]) == ("giou", False)  # seed 1 is worse
    assert ladder_rows.pays([0.01, 0.1, 0.01]) is False  # of one sign, within two errors
    assert ladder_rows.pays([-0.05, -0.05]) is False
    assert ladder_rows.pays([0.05]) is None
