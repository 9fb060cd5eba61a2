"""Every graph of a run, compiled by MindSpore's own GPU plugin for a GPU that computes nothing.

docs/gpu.md says what that proves and what it does not.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.gpu_graph import read_kernels
from tests.jobs import mpirun, run

pytestmark = pytest.mark.slow

# recipes whose graphs are of parts that others compile: the demo's, with the frozen ones of gfl_1x
# as it is varied below; gfl_1x and averages; voc's losses; gfl_1x, with the base recipe's anchors;
# the base recipe's, for other data
SAME_PARTS = {f"ssd_resnet50_fpn_{name}" for name in ("finetune", "gfl", "small", "v2", "voc")}
ALL_RECIPES = {path.stem for path in (REPOSITORY / "config").glob("ssd_*.yaml")}
RECIPES = sorted(ALL_RECIPES - SAME_PARTS)
# what is compiled of each; the suppression of exported files once, as it is the same for all
PARTS = [(name, part) for name in RECIPES for part in ("update", "evaluation")]
PARTS.append((RECIPES[0], "suppression"))
SMALL = [
    "--image_size=[64,64]", "--batch_size=2", "--fpn_channels=16", "--head_depth=1",
    "--pre_nms_top_k=50", "--pretrained=", "--run_distribute=False", "--classes=[cat, dog]",
]  # fmt: skip
# what differs between runs, over the recipes; another recipe is compiled with a smaller backbone
VARIATIONS = {
    "ssd_resnet50_fpn_config_gpu": ["--conv_algorithm=measured", "--tf32=False"],
    "ssd_resnet50_fpn_demo": [
        "--backbone=resnet18", "--precision=float16", "--ema_decay=0.99", "--padding=symmetric",
        "--class_loss=varifocal", "--box_loss=ciou", "--accumulate=2",
    ],
    "ssd_resnet50_fpn_gfl_1x": [
        "--backbone=resnet18", "--precision=float16", "--head_norm=group", "--level_scale=True",
        "--p6_from=c5", "--fpn_norm=none", "--candidates_per_level=20",
        "--freeze_backbone_stages=2", "--freeze_norms=all", "--resize=letterbox",
    ],
}  # fmt: skip
OPTIONS = "ssd_resnet50_fpn_gfl_1x"  # compiled with group norms, letterbox and candidates by level
SMALLER = ["--backbone=resnet18"]
# convolutions of a recipe that are frozen, the stem and two stages of a small ResNet-18, and how
# many then are the first ones: two of the third stage, and the pyramid's on the second stage
FROZEN = {"ssd_resnet50_fpn_gfl_1x": (1 + 2 + 3, 3)}
ONE_MESSAGE = ["AllReduce"]


# of what MindSpore writes, the graphs as they are built
DUMPED = {"MS_DEV_DUMP_IR_PASSES": "graph_build", "GLOG_v": "3"}


@pytest.fixture(scope="module")
def built(gpu_stub, tmp_path_factory) -> dict[str, dict]:
    """What gpu_program.py says of each variation of each recipe.

    Each in a process of its own: where MindSpore has compiled before, it takes twice as long.
    """
    found = {}
    for name in RECIPES:
        folder = tmp_path_factory.mktemp(name)
        recipe = f"--config_path={REPOSITORY / 'config' / name}.yaml"
        flags = [recipe, *SMALL, *VARIATIONS.get(name, SMALLER)]
        command = [sys.executable, "tests/gpu_program.py", str(folder), json.dumps(flags)]
        if name == RECIPES[0]:
            command.append("--suppression")
        environment = {**os.environ, **gpu_stub, **DUMPED}
        subprocess.run(command, check=True, cwd=REPOSITORY, env=environment, timeout=600)
        case = json.loads((folder / "found_0.json").read_text())
        found[name] = {**case, **kernels(case)}
    return found


def kernels(case: dict) -> dict[str, list]:
    """The kernels of each part of a case, in place of the names of its dumps."""
    parts = {part: dumps for part, dumps in case.items() if part != "error"}
    return {part: [k for dump in dumps for k in read_kernels(Path(dump))]
            for part, dumps in parts.items()}  # fmt: skip


def names(kernels: list) -> Counter:
    return Counter(kernel.name for kernel in kernels)


def test_every_recipe_is_compiled(built):
    assert SAME_PARTS < ALL_RECIPES
    assert {"ssd_resnet50_fpn_config_gpu", "ssd_resnet50_fpn_demo"} <= set(built)
    errors = {name: case["error"] for name, case in built.items() if "error" in case}
    assert not errors, "\n".join(f"{name}: {error}" for name, error in errors.items())


@pytest.mark.parametrize("name", RECIPES)
def test_what_was_compiled_is_a_whole_run(built, name):
    update, evaluation = names(built[name]["update"]), names(built[name]["evaluation"])
    # a convolution's gradients in its weights; the first ones need none in their input
    frozen, first = FROZEN.get(name, (0, 1))
    assert update["Conv2DBackpropFilter"] == update["Conv2DBackpropInput"] + first
    assert update["Conv2DBackpropFilter"] + frozen == evaluation["Conv2D"] >= 40
    # for all levels at once, or twice for each level and once for their order
    assert evaluation["TopK"] == (11 if name == OPTIONS else 2)


def test_the_suppression_of_files_is_compiled(built):
    assert names(built[RECIPES[0]]["suppression"])["BatchMatMul"] == 1


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_no_operator_is_left_to_the_cpu(built, name, part):
    assert {k.name for k in built[name][part] if k.on_host} == set()


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_no_kernel_but_norms_takes_floats_of_two_types(built, name, part):
    # for elementwise kernels MindSpore finds one of the first type, which reads the other wrongly
    mixed = {
        k.name
        for k in built[name][part]
        if len({kind for kind, _ in k.inputs if kind.startswith("Float")}) > 1
    }
    assert {name for name in mixed if not name.startswith("BatchNorm")} == set()


def test_group_norms_are_kernels_in_training_and_in_float32(built):
    norms = [k for k in built[OPTIONS]["update"] if k.name.startswith("GroupNorm")]
    # two heads of one convolution over five levels, forward and backward
    assert len(norms) == 2 * 1 * 5 * 2
    assert {kind for k in norms for kind, _ in k.inputs if kind.startswith("Float")} == {"Float32"}


def test_momentum_is_two_kernels_for_all_weights(built):
    update = names(built["ssd_resnet50_fpn_config_gpu"]["update"])
    # one for those with weight decay, and one for the others
    combined = {name: n for name, n in update.items() if "Momentum" in name}
    assert combined == {"CombineMomentum": 1, "CombineScaleMomentum": 1}


def test_float16_is_for_convolutions_and_not_for_norms(built):
    # norms in float16 compile, and on a card gave gradients that were far too large
    demo = built["ssd_resnet50_fpn_demo"]
    kernels = demo["update"] + demo["evaluation"]
    convolutions = [k for k in kernels if k.name.startswith("Conv2D")]
    norms = [k for k in kernels if k.name.startswith("BatchNorm")]
    assert len(convolutions) > 150
    assert {k.inputs[0][0] for k in convolutions} == {"Float16"}
    assert len(norms) > 80
    assert {kind for k in norms for kind, _ in k.inputs if kind.startswith("Float")} == {"Float32"}


def test_the_norm_of_gradients_is_no_loop_over_their_elements(built):
    # L2Loss has one thread add up all squares
    for name in RECIPES:
        assert "L2Loss" not in names(built[name]["update"])


@pytest.mark.mpi
def test_the_sum_over_ranks_is_one_message(gpu_stub, tmp_path):
    recipe = f"--config_path={REPOSITORY / 'config'}/ssd_resnet50_fpn_config_gpu.yaml"
    flags = [recipe, *SMALL, *SMALLER]
    flags = [flag for flag in flags if not flag.startswith("--run_distribute")]
    flags = json.dumps([*flags, "--run_distribute=True"])
    command = mpirun(2, "tests/gpu_program.py", tmp_path, flags)
    done = run(command, **gpu_stub, **DUMPED)
    assert done.returncode == 0, done.stdout
    for rank in range(2):
        case = json.loads((tmp_path / f"found_{rank}.json").read_text())
        assert "error" not in case, case
        sums = kernels(case)["sum"]
        assert [k.name for k in sums if "Reduce" in k.name] == ONE_MESSAGE
        assert not any(k.on_host for k in sums)
        assert names(sums)["Assign"] >= 60  # statistics of norms
