"""Checks of NVIDIA's driver, CUDA and cuDNN, on what they print and on a CUDA that has faults."""

import os
import shutil
import signal

import psutil
import pytest

from src.runtime.plugins import commands, cuda
from src.runtime.plugins.commands import Answer, ask
from src.runtime.plugins.cuda import DRIVER_FOR_PTX, OLDEST_DRIVER
from src.runtime.plugins.nvidia_cards import Card, card_of, read_cards, taken_cards, visible_cards
from src.runtime.plugins.plugin import ask_mindspore, check_available, check_count, why_none
from tests.conftest import REPOSITORY

V100 = Card("Tesla V100-SXM2-16GB", 16160, 3, "470.57.02", "GPU-1c")
H100 = Card("NVIDIA H100 80GB HBM3", 81559, 4, "535.129.03", "GPU-9f")
SMI = """\
Tesla V100-SXM2-16GB, 16160, 3, 470.57.02, GPU-1c
Tesla V100-SXM2-16GB, 16160, 9001, 470.57.02, GPU-2d
"""


@pytest.fixture
def broken(gpu_stub, tmp_path):
    """Variables of a copy of the CUDA stub, from which files can be removed."""
    folder = tmp_path / "cuda"
    shutil.copytree(gpu_stub["LD_LIBRARY_PATH"], folder)
    return {**gpu_stub, "CUDA_HOME": str(folder / "home"), "LD_LIBRARY_PATH": str(folder)}


def nvcc(environ, **changes):
    """The finding on nvcc."""
    environ = {**environ, **changes}
    return cuda.check_nvcc(*cuda.release_of(environ), environ["CUDA_HOME"])


def test_cards_are_counted_and_busy_ones_named():
    cards = read_cards(SMI)
    assert cards[0] == V100
    finding = cuda.check_cards(Answer("", SMI), cards)
    assert not finding.has_failed
    assert finding.found == "2 x Tesla V100-SXM2-16GB, 16 GB; in use by others: 1"


def test_a_card_that_does_not_report_its_memory():
    (card,) = read_cards("NVIDIA GB10, [N/A], [N/A], 580.95.05, GPU-3e\n")
    assert (card.memory, card.used) == (0, 0)
    assert cuda.check_cards(Answer(""), [card]).found == "1 x NVIDIA GB10"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, [V100, H100]),
        ("1", [H100]),
        ("1,0", [H100, V100]),
        ("GPU-1", [V100]),
        ("MIG-77, 7", []),
        ("", []),
    ],
)
def test_only_visible_cards_are_checked(value, seen):
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    cards = [V100, H100]
    assert visible_cards(cards, environ) == seen
    assert taken_cards(cards, environ, device_id=0, ranks=2) == seen
    assert taken_cards(cards, environ, device_id=1, ranks=1) == seen[1:2]


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (None, ["GPU-1c", "GPU-9f"]),
        ("0", ["GPU-1c", "GPU-1c"]),  # mpirun hands it to both
        ("1,0", ["GPU-9f", "GPU-1c"]),
        ("MIG-77", ["MIG-77", "MIG-77"]),
        ("0,7", ["GPU-1c", ""]),
    ],
)
def test_which_card_a_rank_takes(value, taken):
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert [card_of([V100, H100], environ, rank) for rank in (0, 1)] == taken


def test_a_driver_that_does_not_answer():
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    finding = cuda.check_cards(Answer("ended with status 9", said), read_cards(said))
    assert finding.has_failed and "couldn't communicate" in finding.found
    assert cuda.check_cards(Answer("not found"), []).has_failed
    hangs = cuda.check_cards(Answer("no answer within 30 s"), [])
    assert hangs.has_failed and "no answer within 30 s" in hangs.found


@pytest.mark.parametrize(
    ("card", "driver", "plugin", "ranks", "fails"),
    [
        ("Tesla T4", "450.80.02", "11.6", 1, False),  # machine code
        ("Tesla T4", "450.51.06", "11.6", 1, True),
        ("Tesla T4", "440.33.01", "11.1", 1, True),
        ("Tesla T4", "470.57.02", "11.6", 2, True),  # PTX of NCCL
        ("Tesla T4", "470.57.02", "11.1", 2, False),
        ("Tesla T4", "510.39.01", "11.6", 2, False),
        ("Tesla P100-PCIE-16GB", "470.57.02", "11.6", 2, False),  # machine code of NCCL
        ("NVIDIA H100 80GB HBM3", "470.57.02", "11.6", 1, True),  # PTX of MindSpore
        ("NVIDIA H200", "580.159.04", "11.6", 8, False),
    ],
)
def test_the_driver_fits_card_plugin_and_ranks(card, driver, plugin, ranks, fails):
    finding = cuda.check_driver([Card(card, 15360, 0, driver)], plugin, ranks)
    assert finding.has_failed == fails
    assert cuda.check_driver([], plugin, ranks).status == "skipped"


def test_documents_have_the_rule_on_drivers():
    for page in ("install.md", "doctor.md"):
        text = (REPOSITORY / "docs" / page).read_text()
        assert OLDEST_DRIVER in text and DRIVER_FOR_PTX["11.6"].split(".")[0] in text


@pytest.mark.parametrize(
    ("value", "cards", "ranks", "fails"),
    [
        (None, 8, 8, False),
        (None, 4, 8, True),
        ("0,1", 8, 2, False),
        ("0,1", 8, 4, True),
        ("3", 8, 8, False),  # a scheduler that shows each rank its own
        ("", 8, 1, True),
        ("8", 8, 1, True),
        ("-1", 8, 1, True),
        ("GPU-6d7a", 8, 1, False),
    ],
)
def test_visible_cards(value, cards, ranks, fails):
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    finding = cuda.check_visible(cards, ranks, environ)
    assert finding.has_failed == fails
    assert bool(finding.remedy) == fails


@pytest.mark.parametrize(
    ("release", "plugin"), [("11.1", "11.1"), ("11.5", "11.1"), ("11.6", "11.6"), ("11.8", "11.6")]
)
def test_nvcc_decides_on_the_plugin(gpu_stub, release, plugin):
    finding = nvcc(gpu_stub, STUB_NVCC_RELEASE=release)
    assert not finding.has_failed
    assert finding.found.endswith(f"the plugin for {plugin}")


@pytest.mark.parametrize("release", ["10.2", "11.0", "12.4"])
def test_nvcc_of_another_cuda(gpu_stub, release):
    finding = nvcc(gpu_stub, STUB_NVCC_RELEASE=release)
    assert finding.has_failed
    assert f"CUDA {release}" in finding.found and "11.1 to 11.8" in finding.found
    assert "scripts/setup.sh --gpu" in finding.remedy


def test_no_nvcc(broken):
    shutil.rmtree(f"{broken['CUDA_HOME']}/bin")
    finding = nvcc(broken)
    assert finding.has_failed and "bin/nvcc in it: not found" in finding.found
    assert nvcc(broken, CUDA_HOME="").found == "CUDA_HOME is not set"


def test_a_library_that_is_missing(broken):
    file = cuda.plugin_file("11.6")
    libraries, problem = cuda.linked(file, broken)
    assert not cuda.check_libraries(libraries, problem, "11.6").has_failed
    (cuda.Path(broken["LD_LIBRARY_PATH"]) / "libcufft.so.10").unlink()
    (cuda.Path(broken["LD_LIBRARY_PATH"]) / "libcudnn.so.8").unlink()
    finding = cuda.check_libraries(*cuda.linked(file, broken), "11.6")
    assert finding.has_failed
    assert finding.found.endswith("libcudnn.so.8, libcufft.so.10")


def test_other_libraries_that_may_be_mixed_with_those_of_pip(tmp_path):
    plugin = tmp_path / "plugin" / "libmindspore_gpu.so.11.6"
    for folder in ("plugin/gpu11.6", "cudnn", "newer"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "plugin" / "gpu11.6" / "libcudnn.so.8").symlink_to("/gone")
    (tmp_path / "plugin" / "gpu11.6" / "libnccl.so.2").touch()  # MindSpore's own
    (tmp_path / "cudnn" / "libcudnn.so.8").touch()
    (tmp_path / "newer" / "libcudnn.so.9").touch()
    (tmp_path / "newer" / "libnccl.so.2").touch()
    path = f"{tmp_path / 'newer'}::{tmp_path / 'cudnn'}:/nowhere"
    hint = cuda.mixed_in(plugin, {"LD_LIBRARY_PATH": path})
    assert hint.startswith(
        f"LD_LIBRARY_PATH has {tmp_path / 'cudnn'}, whose libraries may be mixed"
    )
    finding = cuda.check_libraries({}, "", "11.6", mixed=hint)
    assert not finding.has_failed and finding.found.endswith(f"are found; {hint}")
    assert cuda.mixed_in(plugin, {}) == ""


def test_the_drivers_own_library_is_not_installed_by_hand():
    finding = cuda.check_libraries(
        {"libcuda.so.1": None, "libm.so.6": "/lib/libm.so.6"}, "", "11.6"
    )
    assert finding.has_failed and "driver" in finding.remedy


@pytest.mark.parametrize(
    ("said", "card", "fails"),
    [
        ("8906\n", H100, False),
        ("8500\n", H100, True),
        ("8500\n", V100, False),
        ("90100\n", V100, True),
        ("7605\n", V100, True),
        ("AttributeError: undefined symbol: cudnnGetVersion\n", V100, True),
    ],
)
def test_cudnn_fits_the_card(said, card, fails):
    finding = cuda.check_cudnn("/lib/libcudnn.so.8", Answer("", said), [card])
    assert finding.has_failed == fails


def test_no_cudnn_at_all():
    assert cuda.check_cudnn(None, None, [V100]).status == "skipped"


def test_a_program_that_hangs_is_killed():
    answer = ask(["sh", "-c", "echo begun; sleep 600"], seconds=1)
    assert answer.problem == "no answer within 1 s"
    assert answer.text == "begun\n"


def test_the_children_of_a_program_are_killed_with_it():
    answer = ask(["sh", "-c", "sleep 600 & echo $!; wait"], seconds=1)
    assert answer.problem == "no answer within 1 s"
    child = psutil.Process(int(answer.text)) if psutil.pid_exists(int(answer.text)) else None
    assert child is None or child.status() == psutil.STATUS_ZOMBIE or child.wait(10) is None


def test_a_process_that_cannot_be_killed_is_left(monkeypatch):
    """A process that waits in a driver does not end by SIGKILL."""
    kill = os.killpg
    left = []
    monkeypatch.setattr(commands, "KILL_SECONDS", 0.01)
    monkeypatch.setattr(commands.os, "killpg", lambda pid, number: left.append(pid))
    answer = ask(["sleep", "600"], seconds=0.1)
    kill(left[0], signal.SIGKILL)
    assert answer.problem == "no answer within 0.1 s; it cannot be killed"


def test_mindspores_own_reason_is_shown(broken):
    (cuda.Path(broken["LD_LIBRARY_PATH"]) / "libcudnn.so.8").unlink()
    answer, found = ask_mindspore("GPU", broken)
    assert found is not None and not found.can_run
    finding = check_available("GPU", answer, found)
    assert finding.has_failed
    line = (
        "Load dynamic library: libmindspore_gpu.so.11.6 failed. libcudnn.so.8: cannot open shared"
    )
    assert line in finding.found
    assert "ascend" not in finding.found
    assert check_count(found).status == "skipped"
    assert why_none("GPU", found.error).startswith("libcudnn.so.8: cannot open shared")


def test_a_plugin_without_a_card(gpu_stub):
    answer, found = ask_mindspore("GPU", {**gpu_stub, "STUB_CARDS": "0"})
    assert found is not None and found.is_available and not found.can_run
    assert not check_available("GPU", answer, found).has_failed
    finding = check_count(found)
    assert finding.has_failed and "cudaGetDeviceCount failed, ret[100]" in finding.found
    assert why_none("GPU", found.error).startswith("The cudaGetDeviceCount failed")


def test_a_plugin_that_is_not_tried():
    """MindSpore is silent then, and has only the other plugins' errors."""
    ascend = "Load dynamic library: libmindspore_ascend.so.2 failed. libge_runner.so: cannot open"
    assert why_none("GPU", ascend) == "it has not loaded its plugin"
    assert why_none("Ascend", ascend) == "libge_runner.so: cannot open"


def test_a_process_that_dies_instead_of_answering():
    answer = ask(["sh", "-c", "echo loading; kill -SEGV $$"], seconds=10)
    finding = check_available("GPU", answer, None)
    assert finding.has_failed and "ended by SIGSEGV" in finding.found and "loading" in finding.found
