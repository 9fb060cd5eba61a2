"""Output that is left, full, closed or of a narrow encoding, of programs as they are started."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

LONG = "print('x' * 99_999); print('end', flush=True)"


def start(code: str, **options) -> subprocess.Popen:
    """A program whose main runs the code."""
    program = "from src.distributed.command import run_command\n"
    program += f"def main():\n    import sys, os\n    {code}\nrun_command(main)"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, **options)


@pytest.mark.parametrize("code", [LONG, "print('few')", f"{LONG}; print('x' * 99_999)"])
def test_a_reader_that_leaves_ends_the_program_without_a_word(code):
    process = start(code)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize(
    "command", [["train.py"], ["predict.py"], ["-m", "src.data.validate"], ["-m", "src.weights"]]
)
def test_help_can_be_left_too(command):
    process = subprocess.Popen(
        [sys.executable, *command, "--help"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in (0, 141)  # argparse may take no notice


def test_full_disk_is_named():
    with open("/dev/full", "w") as full:
        process = start("print('few')", stdout=full)
    errors = process.stderr.read().decode()
    assert errors == "error: standard output: No space left on device\n"
    assert process.wait() == 1


def test_closed_streams_are_never_the_program_s_files(tmp_path):
    path = tmp_path / "file"
    code = f"file = open({str(path)!r}, 'w'); print('out'); print('err', file=sys.stderr); "
    code += "os.write(1, b'out'); os.write(2, b'err'); file.write('own')"
    process = start(
        code, stdout=None, stderr=None, preexec_fn=lambda: [os.close(number) for number in range(3)]
    )
    assert process.wait() == 0
    assert path.read_text() == "own"


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"k\\xf6ln"), ("utf-8", b"k\xc3\xb6ln")])
def test_names_are_shown_in_any_encoding(encoding, shown):
    code = r"print('k\xf6ln caf\udce9 \x1b[31m'); print('caf\udce9\r', file=sys.stderr)"
    process = start(code, env={**os.environ, "PYTHONIOENCODING": encoding})
    out, errors = process.communicate()
    assert out == shown + b" caf\\xe9 \\x1b[31m\n"
    assert errors == b"caf\\xe9\\r\n"
    assert process.returncode == 0


def test_unbuffered_output_stays_so():
    """Else a line of the log comes after the progress bar that is drawn below it."""
    process = start(
        "print('kept', end=''); os._exit(0)", env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert process.communicate()[0] == b"kept"


def test_progress_bars_may_move_the_cursor():
    code = r"sys.stderr.write('\r50%'); sys.stderr.write('\x1b[A'); sys.stderr.write('\n')"
    assert start(code).communicate()[1] == b"\r50%\x1b[A\n"


def test_error_of_a_name_with_line_breaks_is_one_line():
    code = r"from src.runtime.errors import InputError; raise InputError('a\nb: no\n  such file')"
    process = start(code)
    assert process.communicate()[1] == b"error: a\\nb: no\n  such file\n"
    assert process.returncode == 2


def test_ctrl_c_while_modules_are_imported_is_one_line():
    process = subprocess.Popen(
        [sys.executable, "-c", "import src, time; print(flush=True); time.sleep(60)"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a test run in the background ignores Ctrl-C, and its children would
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b"\nSIGINT: exiting at once\n"
    assert process.returncode == -signal.SIGINT  # 130 in shells
