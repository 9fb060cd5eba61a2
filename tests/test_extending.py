"""The patches of docs/extending.md, applied to a copy of the sources and trained with."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from src.runtime.files import REPOSITORY

FILES = {
    "assigner": 2,
    "box loss": 2,
    "class loss": 2,
    "data format": 3,
    "backbone": 3,
    "schedule": 2,
}
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
PATCHES = dict(re.findall(r"^## An? ([a-z ]+)$.*?^```diff\n(.*?)^```$", PAGE, re.M | re.S))
CHOICES = {
    "assigner": "nearest",
    "box_loss": "edges",
    "class_loss": "cross_entropy",
    "dataset": "jsonl",
    "backbone": "plain",
    "lr_schedule": "linear",
}
CLASSES = ["background", "ellipse", "rectangle", "triangle", "cross"]
STEPS, WARMUP, LR = 12, 3, 0.002  # of two epochs


def apply(patch: str, tree) -> None:
    """Applies a patch as the page says."""
    (tree / "patch.diff").write_text(patch)
    command = ["git", "apply", "--unidiff-zero", "patch.diff"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, f"docs/extending.md needs a newer patch: {done.stderr}"


def copy_sources(tree) -> None:
    for name in ("src", "config"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, tree / name, ignore=ignore)
    shutil.copy(REPOSITORY / "train.py", tree)


def write_jsonl(root, split: str, path) -> None:
    """The drawn split as JSON lines, with names for classes."""
    content = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    objects = {image["id"]: [] for image in content["images"]}
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        box = [x, y, x + width, y + height]
        objects[entry["image_id"]].append([names[entry["category_id"]], box])
    lines = [
        {
            "file": f"{split}/{image['file_name']}",
            "size": [image["width"], image["height"]],
            "objects": objects[image["id"]],
        }
        for image in content["images"]
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    """The folder of a run with all of them."""
    tree = tmp_path_factory.mktemp("extended")
    copy_sources(tree)
    for patch in PATCHES.values():
        apply(patch, tree)
    write_jsonl(shapes, "train2017", tree / "train.jsonl")
    write_jsonl(shapes, "val2017", tree / "val.jsonl")
    keys = {
        **CHOICES,
        "anno_path": "train.jsonl",
        "val_anno_path": "val.jsonl",
        "image_dir": str(shapes),
        "classes": CLASSES,
        "image_size": [64, 96],
        "fpn_channels": 16,
        "head_depth": 1,
        "batch_size": 4,
        "eval_batch_size": 5,
        "epoch_size": 2,
        "warmup_epochs": WARMUP / (STEPS / 2),
        "lr": LR,
        "optimizer": "adamw",
        "num_workers": 1,
        "log_interval": 1,
        "freeze_backbone_stages": 1,
        "output_path": "output",
    }
    (tree / "recipe.yaml").write_text(yaml.safe_dump(keys))
    command = [sys.executable, "train.py", "--config_path=recipe.yaml"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "output"


@pytest.fixture(scope="module")
def steps(run) -> list[dict]:
    """The records of its updates."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "step"]


@pytest.mark.parametrize("name", FILES)
def test_a_patch_alone_touches_few_files(name, tmp_path):
    patch = PATCHES[name]
    assert len(re.findall(r"^diff --git", patch, re.M)) == FILES[name]
    copy_sources(tmp_path)
    apply(patch, tmp_path)


def test_assigner_gives_each_object_anchors_of_each_level(steps, shapes):
    content = json.loads((shapes / "annotations" / "instances_train2017.json").read_text())
    objects = len(content["annotations"])
    positives = sum(step["positives"] for step in steps) / 2  # of an epoch
    # the six of a cell on each of 5 levels, of which objects share some
    assert 15 * objects < positives <= 30 * objects


def test_loss_is_the_sum_of_its_terms_and_falls(steps):
    totals = [step["class_loss"] + step["box_loss"] for step in steps]
    assert totals == pytest.approx([step["loss"] for step in steps], rel=1e-5)
    assert np.mean([s["box_loss"] for s in steps[-3:]]) < np.mean(
        [s["box_loss"] for s in steps[:3]]
    )


def test_format_reads_every_image_and_box(run, shapes):
    content = json.loads((shapes / "annotations" / "instances_train2017.json").read_text())
    empty = len(content["images"]) - len({box["image_id"] for box in content["annotations"]})
    found = f"{len(content['images'])} images ({empty} without objects), "
    found += f"{len(content['annotations'])} boxes"
    assert found in (run / "log.txt").read_text()


def test_backbone_is_trained_but_for_its_frozen_stage(run):
    import mindspore as ms

    arrays = ms.load_checkpoint(str(run / "ckpt" / "last.ckpt"))
    trained = {n for n in arrays if n.startswith("optimizer.") and "adam_m.backbone." in n}
    convs = {n.partition("backbone.")[2] for n in trained if n.endswith("conv.weight")}
    assert convs == {f"convs.{i}.conv.weight" for i in (2, 3, 4)}


def test_schedule_is_linear_after_the_warm_up(steps):
    rates = [step["lr"] for step in steps]
    shares = [(STEPS - step) / (STEPS - WARMUP) for step in range(WARMUP, STEPS)]
    assert rates[WARMUP:] == pytest.approx([LR * share for share in shares])
