"""NVIDIA's wheels linked to where MindSpore searches, in an environment of empty files."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.errors import InputError
from src.runtime.plugins.cuda_home import use_own_cuda
from src.runtime.plugins.cuda_libraries import (
    LIBRARIES,
    link_libraries,
    runtime_version,
    write_nvcc,
)

# where the wheels of requirements-gpu.txt have them, read from the wheels
PLACES = {
    "cublas": ["libcublas.so.11", "libcublasLt.so.11", "libnvblas.so.11"],
    "cuda_nvrtc": ["libnvrtc-builtins.so.11.8", "libnvrtc.so.11.2"],
    "cuda_runtime": ["libOpenCL.so.1", "libcudart.so.11.0"],
    "cudnn": ["libcudnn.so.8"]
    + [
        f"libcudnn_{part}_{use}.so.8"
        for part in ("adv", "cnn", "ops")
        for use in ("infer", "train")
    ],
    "cufft": ["libcufft.so.10", "libcufftw.so.10"],
    "curand": ["libcurand.so.10"],
    "cusolver": ["libcusolver.so.11", "libcusolverMg.so.11"],
    "cusparse": ["libcusparse.so.11"],
}


@pytest.fixture
def site(tmp_path) -> Path:
    """site-packages with MindSpore's plugin folder and NVIDIA's wheels."""
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    plugins = site / "mindspore" / "lib" / "plugin"
    (plugins / "gpu11.6").mkdir(parents=True)
    (plugins / "gpu11.6" / "libnccl.so.2").write_text("MindSpore's")
    for package, names in PLACES.items():
        (site / "nvidia" / package / "lib").mkdir(parents=True)
        for name in names:
            (site / "nvidia" / package / "lib" / name).write_text(name)
    (site / "nvidia_cuda_runtime_cu11-11.8.89.dist-info").mkdir()
    return site


def test_every_library_of_the_plugin_is_linked_and_the_links_survive_a_move(site, tmp_path):
    links = link_libraries(site)
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    folder = moved / "lib/python3.11/site-packages/mindspore/lib/plugin/gpu11.6"
    assert {path.name: path.read_text() for path in folder.iterdir() if path.is_symlink()} == {
        name: name for name in LIBRARIES
    }
    assert len(links) == len(LIBRARIES) == 16
    assert (folder / "libnccl.so.2").read_text() == "MindSpore's"


def test_linking_again_repairs_a_broken_link(site):
    first = link_libraries(site)
    first[0].unlink()
    first[0].symlink_to("/nowhere")
    assert link_libraries(site) == first
    assert first[0].read_text() == first[0].name


def test_a_missing_library_is_named_before_anything_is_linked(site):
    (site / "nvidia" / "cudnn" / "lib" / "libcudnn.so.8").rename(site / "libcudnn.so.9")
    with pytest.raises(InputError, match=r"has no libcudnn\.so\.8; .*setup\.sh --gpu"):
        link_libraries(site)
    assert not (site / "mindspore/lib/plugin/gpu11.6/libcublas.so.11").exists()


def test_a_mindspore_without_gpu_plugin_is_reported(site):
    (site / "mindspore" / "lib" / "plugin" / "gpu11.6").rename(site / "elsewhere")
    with pytest.raises(InputError, match="no such folder.*Linux on x86-64"):
        link_libraries(site)


def test_the_version_is_that_of_the_runtime_wheel(site):
    assert runtime_version(site) == "11.8.89"
    (site / "nvidia_cuda_runtime_cu11-11.8.89.dist-info").rmdir()
    with pytest.raises(InputError, match="0 wheels nvidia_cuda_runtime_cu11"):
        runtime_version(site)


def test_nvcc_prints_its_release_as_mindspore_reads_it_and_refuses_to_compile(tmp_path):
    nvcc = write_nvcc(tmp_path / "cuda", "11.8.89")
    assert nvcc == tmp_path / "cuda" / "bin" / "nvcc"
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True)
    # MindSpore takes what stands between "release " and the comma
    assert told.stdout == "Cuda compilation tools, release 11.8, V11.8.89\n"
    assert (told.returncode, told.stderr) == (0, "")
    refused = subprocess.run([nvcc, "-c", "kernel.cu"], capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "compiles nothing; found the arguments '-c kernel.cu'" in refused.stderr
    assert "toolkit 11.8" in refused.stderr


def test_cuda_home_is_the_environments_own_where_there_is_one_and_nothing_is_set(tmp_path):
    environ = {}
    use_own_cuda(environ, str(tmp_path))
    assert environ == {}
    write_nvcc(tmp_path / "cuda", "11.8.89")
    use_own_cuda(environ, str(tmp_path))
    assert environ == {"CUDA_HOME": str(tmp_path / "cuda")}


@pytest.mark.parametrize("given, kept", [("/usr/local/cuda-11.6", True), ("", False)])
def test_the_users_cuda_home_wins_unless_it_is_empty(tmp_path, given, kept):
    write_nvcc(tmp_path / "cuda", "11.8.89")
    environ = {"CUDA_HOME": given}
    use_own_cuda(environ, str(tmp_path))
    assert environ["CUDA_HOME"] == (given if kept else str(tmp_path / "cuda"))


def test_importing_the_package_comes_before_mindspore_with_cuda_home_set(tmp_path):
    """What each program, worker and user of `Detector` does first."""
    write_nvcc(tmp_path / "cuda", "11.8.89")
    program = (
        f"import sys; sys.prefix = {str(tmp_path)!r}; import src.runtime.errors, os; "
        "print(os.environ['CUDA_HOME'], 'mindspore' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={"PATH": "/usr/bin:/bin"},
    )
    assert found.stdout.split() == [str(tmp_path / "cuda"), "False"], found.stderr
