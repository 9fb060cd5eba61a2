"""Lets MindSpore find NVIDIA's CUDA 11 wheels; `bash scripts/setup.sh --gpu` runs this module once.

MindSpore's GPU plugin searches the folder gpu11.6 beside it (DT_RPATH) before LD_LIBRARY_PATH, so
links there need no variable and work under all launchers. MindSpore selects the plugin by what
`$CUDA_HOME/bin/nvcc --version` prints; the wheels have no nvcc, so this module writes one.
"""

import os
import sys
import sysconfig
from pathlib import Path

from src.runtime.errors import InputError
from src.runtime.plugins.cuda_home import own_cuda

# what libmindspore_gpu.so.11.6 is linked to, and what those libraries load
LIBRARIES = (
    "libcublas.so.11", "libcublasLt.so.11", "libcudart.so.11.0", "libcudnn.so.8",
    "libcudnn_adv_infer.so.8", "libcudnn_adv_train.so.8", "libcudnn_cnn_infer.so.8",
    "libcudnn_cnn_train.so.8", "libcudnn_ops_infer.so.8", "libcudnn_ops_train.so.8",
    "libcufft.so.10", "libcurand.so.10", "libcusolver.so.11", "libcusparse.so.11",
    "libnvrtc-builtins.so.11.8", "libnvrtc.so.11.2",
)  # fmt: skip
PLUGIN_FOLDER = Path("mindspore", "lib", "plugin", "gpu11.6")  # below site-packages
RUNTIME = "nvidia_cuda_runtime_cu11"  # the wheel whose version is CUDA's
INSTALL = "install what requirements-gpu.txt lists: bash scripts/setup.sh --gpu"
NVCC = """\
#!/bin/sh
# Prints the release of CUDA for MindSpore; NVIDIA's wheels have no nvcc.
case "$*" in
  --version | -V) echo "Cuda compilation tools, release {release}, V{version}" ;;
  *)
    echo "error: $0 prints the release of CUDA and compiles nothing; found the arguments '$*'," \\
      "expected --version; to compile, install NVIDIA's CUDA toolkit {release}" >&2
    exit 2 ;;
esac
"""


def link_libraries(site: Path) -> list[Path]:
    """Links NVIDIA's libraries in site-packages to where the plugin looks; returns the links.

    Raises:
        InputError: MindSpore has no GPU plugin here, or libraries are missing.
    """
    folder = site / PLUGIN_FOLDER
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, so this MindSpore has no plugin for CUDA 11.6; expected "
            "the wheel for Linux on x86-64"
        )
    found = {path.name: path for path in sorted(site.glob("nvidia/*/lib/*.so.*"))}
    if missing := [name for name in LIBRARIES if name not in found]:
        raise InputError(f"{site}/nvidia has no {', '.join(missing)}; {INSTALL}")
    return [link(folder / name, found[name]) for name in LIBRARIES]


def link(place: Path, target: Path) -> Path:
    """Makes `place` a link to `target`, relative so that the environment can be moved."""
    place.unlink(missing_ok=True)
    place.symlink_to(os.path.relpath(target, place.parent))
    return place


def runtime_version(site: Path) -> str:
    """Version of the CUDA runtime's wheel, such as 11.8.89; InputError if there is none."""
    names = [path.stem for path in site.glob(f"{RUNTIME}-*.dist-info")]
    if len(names) != 1:
        raise InputError(f"{site} has {len(names)} wheels {RUNTIME}, expected one; {INSTALL}")
    return names[0].rpartition("-")[2]


def write_nvcc(home: Path, version: str) -> Path:
    """Writes home/bin/nvcc, a script that prints `version` and its release, 11.8 of 11.8.89."""
    nvcc = home / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True, exist_ok=True)
    nvcc.write_text(NVCC.format(release=".".join(version.split(".")[:2]), version=version))
    nvcc.chmod(0o755)
    return nvcc


def main() -> None:
    site = Path(sysconfig.get_path("purelib"))
    try:
        links = link_libraries(site)
        version = runtime_version(site)
        nvcc = write_nvcc(own_cuda(), version)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"CUDA {version}: {len(links)} libraries linked in {links[0].parent}; wrote {nvcc}")
    print("python3 -m src.doctor --device_target=GPU checks the driver and what else is needed")


if __name__ == "__main__":
    main()
