"""Checks of NVIDIA's driver, CUDA and cuDNN, on what they print and on a CUDA that has faults."""

import shutil

import pytest

from src.doctor import cuda
from src.doctor.commands import Answer, ask
from src.doctor.plugin import ask_mindspore, check_available, check_count, why_none

V100 = cuda.Card("Tesla V100-SXM2-16GB", 16160, 3, "470.57.02")
H100 = cuda.Card("NVIDIA H100 80GB HBM3", 81559, 4, "535.129.03")
SMI = """\
Tesla V100-SXM2-16GB, 16160, 3, 470.57.02
Tesla V100-SXM2-16GB, 16160, 9001, 470.57.02
"""


@pytest.fixture
def broken(gpu_stub, tmp_path):
    """Variables of a CUDA in a folder of its own, where something can be taken away."""
    folder = tmp_path / "cuda"
    shutil.copytree(gpu_stub["LD_LIBRARY_PATH"], folder)
    return {**gpu_stub, "CUDA_HOME": str(folder / "home"), "LD_LIBRARY_PATH": str(folder)}


def nvcc(environ, **changes):
    """The finding on nvcc."""
    environ = {**environ, **changes}
    return cuda.check_nvcc(*cuda.release_of(environ), environ["CUDA_HOME"])


def test_cards_are_counted_and_busy_ones_named():
    cards = cuda.read_cards(SMI)
    assert cards[0] == V100
    finding = cuda.check_cards(Answer("", SMI), cards)
    assert not finding.has_failed
    assert finding.found == "2 x Tesla V100-SXM2-16GB, 16 GB; in use by others: 1"


def test_a_driver_that_does_not_answer():
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    finding = cuda.check_cards(Answer("ended with status 9", said), cuda.read_cards(said))
    assert finding.has_failed and "couldn't communicate" in finding.found
    assert cuda.check_cards(Answer("not found"), []).has_failed
    hangs = cuda.check_cards(Answer("no answer within 30 s"), [])
    assert hangs.has_failed and "no answer within 30 s" in hangs.found


@pytest.mark.parametrize(
    ("driver", "plugin", "fails"),
    [
        ("470.57.02", "11.1", False),
        ("470.57.02", "11.6", True),
        ("510.39.01", "11.6", False),
        ("440.33.01", "11.1", True),
    ],
)
def test_the_driver_fits_the_plugin(driver, plugin, fails):
    card = cuda.Card("T4", 15360, 0, driver)
    assert cuda.check_driver([card], plugin).has_failed == fails
    assert cuda.check_driver([], plugin).status == "skipped"


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


def test_what_hangs_is_given_up():
    answer = ask(["sh", "-c", "echo begun; sleep 600"], seconds=1)
    assert answer.problem == "no answer within 1 s"
    assert answer.text == "begun\n"


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
    assert why_none("GPU", found.error, broken).startswith("libcudnn.so.8: cannot open shared")


def test_a_plugin_without_a_card(gpu_stub):
    answer, found = ask_mindspore("GPU", {**gpu_stub, "STUB_CARDS": "0"})
    assert found is not None and found.is_available and not found.can_run
    assert not check_available("GPU", answer, found).has_failed
    finding = check_count(found)
    assert finding.has_failed and "cudaGetDeviceCount failed, ret[100]" in finding.found
    assert why_none("GPU", found.error, gpu_stub).startswith("The cudaGetDeviceCount failed")


def test_a_plugin_that_is_not_tried(gpu_stub):
    """MindSpore is silent then: the reason is nvcc's release."""
    ascend = "Load dynamic library: libmindspore_ascend.so.2 failed. libge_runner.so: cannot open"
    told = why_none("GPU", ascend, {**gpu_stub, "STUB_NVCC_RELEASE": "12.4"})
    assert "CUDA 12.4" in told and "11.1 to 11.8" in told
    assert why_none("GPU", ascend, {}) == "CUDA_HOME is not set"


def test_a_process_that_dies_instead_of_answering():
    answer = ask(["sh", "-c", "echo loading; kill -SEGV $$"], seconds=10)
    finding = check_available("GPU", answer, None)
    assert finding.has_failed and "ended by SIGSEGV" in finding.found and "loading" in finding.found
