"""Set-up and test script, with an interpreter that only writes down what it is asked for."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.plugins.cuda_libraries import LIBRARIES

ROOT = Path(__file__).parents[1]
INSTALL = "-m pip install --quiet --disable-pip-version-check"
GPU_CALLS = [f"{INSTALL} -r requirements-gpu.txt", "-m src.runtime.plugins.cuda_libraries"]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Scripts, requirements and a .venv whose `python` writes its arguments to calls.txt."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy(path, tmp_path)
    write_program(tmp_path / ".venv/bin/python", 'echo "$@" >> calls.txt; [ ! -e "fails on $2" ]')
    write_program(tmp_path / ".venv/bin/mpirun", "")
    write_program(tmp_path / "bin/uname", "echo Linux x86_64")
    return tmp_path


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def set_up(checkout: Path, *options: str) -> subprocess.CompletedProcess:
    """Runs the script from another folder, as a user may."""
    return subprocess.run(
        ["bash", checkout / "scripts" / "setup.sh", *options],
        cwd=checkout.parent,
        env={"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )


def calls(checkout: Path) -> list[str]:
    file = checkout / "calls.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_gpu_installs_the_wheels_then_links_them_once(checkout):
    for _ in range(2):
        done = set_up(checkout, "--gpu")
        assert done.returncode == 0, done.stderr
        assert calls(checkout) == GPU_CALLS
    assert set_up(checkout, "--cpu").returncode == 0  # is part of it, so nothing is to be done
    assert calls(checkout) == GPU_CALLS


@pytest.mark.parametrize(
    "options, file",
    [
        ((), "requirements.txt"),
        (("--cpu",), "requirements.txt"),
        (("--dev",), "requirements-dev.txt"),
    ],
)
def test_the_other_options_install_their_file_alone(checkout, options, file):
    assert set_up(checkout, *options).returncode == 0
    assert calls(checkout) == [f"{INSTALL} -r {file}"]


@pytest.mark.parametrize("fails", ["pip", "src.runtime.plugins.cuda_libraries"])
def test_what_failed_is_done_again_at_the_next_start(checkout, fails):
    (checkout / f"fails on {fails}").touch()
    assert set_up(checkout, "--gpu").returncode == 1
    (checkout / f"fails on {fails}").unlink()
    assert set_up(checkout, "--gpu").returncode == 0
    assert calls(checkout)[-2:] == GPU_CALLS
    assert len(calls(checkout)) == (3 if fails == "pip" else 4)


def test_changed_requirements_are_installed_again(checkout):
    set_up(checkout, "--gpu")
    with (checkout / "requirements.txt").open("a") as file:
        file.write("another-package\n")
    assert set_up(checkout, "--gpu").returncode == 0
    assert calls(checkout) == GPU_CALLS * 2


def test_a_machine_without_gpu_wheels_is_told_before_anything_is_installed(checkout):
    write_program(checkout / "bin" / "uname", "echo Linux aarch64")
    done = set_up(checkout, "--gpu")
    assert done.returncode == 2 and "this is Linux aarch64" in done.stderr
    assert calls(checkout) == []
    assert set_up(checkout, "--cpu").returncode == 0


@pytest.mark.parametrize("options", [("--cuda",), ("--gpu", "--dev")])
def test_unknown_options_are_refused(checkout, options):
    done = set_up(checkout, *options)
    assert done.returncode == 2 and options[-1] in done.stderr
    assert calls(checkout) == []


def test_a_script_that_sources_it_gets_the_interpreter(checkout):
    (checkout / "use.sh").write_text('set -eu\nsource scripts/setup.sh --cpu\necho "$PYTHON"\n')
    done = subprocess.run(
        ["bash", "use.sh", "a", "flag"], cwd=checkout, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == str(checkout / ".venv/bin/python"), done.stderr


APT_CALLS = ["apt-get update -qq", "apt-get install -y -qq chromium"]
TOOLS = ("bash", "cat", "dirname", "id", "sed", "tee", "uname")  # that the scripts call


@pytest.fixture
def no_browser(checkout) -> Path:
    """The checkout on a machine without chromium, where apt-get only writes down its arguments."""
    write_program(checkout / ".venv/bin/ruff", 'echo "ruff $@" >> calls.txt')
    for name in TOOLS:
        (checkout / "bin" / name).unlink(missing_ok=True)
        (checkout / "bin" / name).symlink_to(shutil.which(name))
    (checkout / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    note = 'echo "apt-get $@" >> calls.txt; [ ! -e "no network" ]'
    write_program(checkout / "bin/apt-get", note)
    write_program(checkout / "bin/sudo", '[ "$1" != -n ] || shift; "$@"')
    return checkout


def run_tests(checkout: Path, *options: str, stdin=subprocess.DEVNULL, **environ: str):
    """Runs the test script, where the programs of `checkout/bin` are all that there is."""
    return subprocess.run(
        [shutil.which("bash"), "scripts/run_tests.sh", *options],
        cwd=checkout, env={"PATH": str(checkout / "bin"), **environ}, stdin=stdin,
        capture_output=True, text=True,
    )  # fmt: skip


def test_no_system_package_is_installed_unasked(no_browser):
    done = run_tests(no_browser)
    assert done.returncode == 1
    assert "chromium is not installed" in done.stderr
    assert "--yes" in done.stderr and "--fast" in done.stderr
    assert calls(no_browser) == []


@pytest.mark.parametrize(("options", "environ"), [(["--yes"], {}), ([], {"CI": "true"})])
def test_system_packages_are_installed_where_that_is_allowed(no_browser, options, environ):
    done = run_tests(no_browser, *options, "tests/data", **environ)
    assert done.returncode == 0, done.stderr
    assert calls(no_browser)[:2] == APT_CALLS
    assert calls(no_browser)[-1].startswith("-m pytest --numprocesses=2 ")
    assert calls(no_browser)[-1].endswith(" tests/data")


def test_package_that_cannot_be_installed_ends_the_tests(no_browser):
    (no_browser / "no network").touch()
    done = run_tests(no_browser, "--yes")
    assert done.returncode == 1
    assert "'apt-get install chromium' failed" in done.stderr
    assert calls(no_browser) == APT_CALLS[:1]


@pytest.mark.parametrize(("answer", "expected"), [(b"y\n", APT_CALLS), (b"\n", [])])
def test_terminal_is_asked(no_browser, answer, expected):
    ours, terminal = pty.openpty()
    os.write(ours, answer)
    done = run_tests(no_browser, stdin=terminal)
    os.close(terminal)
    os.close(ours)
    assert "Install it by apt-get? [y/N]" in done.stderr
    assert done.returncode == (0 if expected else 1)
    assert calls(no_browser)[:2] == expected


def test_fast_tests_need_no_browser(no_browser):
    done = run_tests(no_browser, "--fast", "-x")
    assert done.returncode == 0, done.stderr
    *_, lint, layout, tests = calls(no_browser)
    assert (lint, layout) == ("ruff check .", "ruff format --check .")
    assert tests.endswith(" -m not slow and not mpi and not browser -x")
    assert not any(call.startswith("apt-get") for call in calls(no_browser))


def test_continuous_integration_runs_the_test_script_and_nothing_else(no_browser):
    (no_browser / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", no_browser / ".ci")
    done = subprocess.run(
        [shutil.which("bash"), ".ci/run"],
        cwd=no_browser, env={"PATH": str(no_browser / "bin")}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert calls(no_browser)[:2] == APT_CALLS
    assert calls(no_browser)[-1].startswith("-m pytest --numprocesses=2 ")


def pins(name: str) -> dict[str, str]:
    """Exact versions in a requirements file."""
    lines = (ROOT / name).read_text().splitlines()
    rows = [line.split("#")[0].split(";")[0].strip() for line in lines]
    return dict(row.split("==") for row in rows if "==" in row)


def test_the_gpu_file_pins_cuda_11_and_cudnn_8_as_the_documentation_says():
    found = pins("requirements-gpu.txt")
    assert "-r requirements.txt" in (ROOT / "requirements-gpu.txt").read_text().splitlines()
    assert len(found) == 8 and all(name.endswith("-cu11") for name in found)
    text = (ROOT / "docs" / "install.md").read_text()
    rows = dict(re.findall(r"^\| `(nvidia-[a-z0-9-]+)` \| ([0-9.]+) \|", text, re.MULTILINE))
    assert rows == found
    assert found["nvidia-cudnn-cu11"].startswith("8.9.")
    # the file that nvrtc loads is named after its release
    release = ".".join(found["nvidia-cuda-nvrtc-cu11"].split(".")[:2])
    assert f"libnvrtc-builtins.so.{release}" in LIBRARIES
    assert found["nvidia-cuda-runtime-cu11"].startswith(f"{release}.")


def test_the_documentation_names_the_mindspore_that_is_installed():
    text = (ROOT / "docs" / "install.md").read_text()
    assert f"MindSpore {pins('requirements.txt')['mindspore']}" in text


@pytest.mark.parametrize("kind", ["cpu", "gpu", "ascend"])
def test_containers_run_the_same_set_up(kind):
    text = (ROOT / "docker" / f"Dockerfile.{kind}").read_text()
    assert f"bash scripts/setup.sh --{kind}" in text
    assert "--shm-size=8g" in text and ".venv" in (ROOT / ".dockerignore").read_text().split()
    for source in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for name in set(source.split()) - {"."}:
            assert list(ROOT.glob(name)), f"{name} is not in the repository"


def test_the_gpu_container_has_what_its_set_up_imports(tmp_path):
    text = (ROOT / "docker" / "Dockerfile.gpu").read_text()
    for source, target in re.findall(r"^COPY (src\S*) (\S+)$", text, re.MULTILINE):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, tmp_path / target)
    command = [sys.executable, "-c", "import src.runtime.plugins.cuda_libraries"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
