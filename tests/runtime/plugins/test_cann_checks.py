"""Checks of CANN and its driver, on what they print."""

import pytest

from src.runtime.plugins import cann
from src.runtime.plugins.commands import Answer
from src.runtime.plugins.plugin import why_none

SMI = """\
+-------------------+-----------------+------------------------------------------------------+
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
+===================+=================+======================================================+
| 0       910B3     | OK              | 91.4         49                0    / 0              |
| 0                 | 0000:C1:00.0    | 0            0    / 0          3345 / 65536          |
| 1       910B3     | OK              | 93.1         50                0    / 0              |
"""


def test_cards_are_counted():
    finding = cann.check_cards(Answer("", SMI))
    assert not finding.has_failed and finding.found == "2 x 910B3"
    assert cann.check_cards(Answer("not found")).has_failed
    assert cann.check_cards(Answer("", "no device")).has_failed


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [
        ("version.cfg", "# version: 1.0\nruntime_version=[8.2.0.1.220:8.2.RC1]", "8.2.0.1.220"),
        ("opp/version.info", "Version=8.5.0\nversion_dir=8.5.0\n", "8.5.0"),
        ("opp/version.info", "Version=CANN-9.1\n", "9.1"),
    ],
)  # fmt: skip
def test_the_version_is_read_from_its_files(tmp_path, file, text, version):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    found = cann.read_version(tmp_path)
    assert found == version
    assert not cann.check_version(found).has_failed


@pytest.mark.parametrize("version", ["8.0.0", "8.1.RC1", "9.2.0", None])
def test_other_versions_fail(version):
    finding = cann.check_version(version)
    assert finding.has_failed and "8.2 to 9.1" in finding.found


def test_its_folder(tmp_path):
    assert cann.home_of({}) is None
    finding = cann.check_home(None)
    assert finding.has_failed and "set_env.sh" in finding.remedy
    home = cann.home_of({"ASCEND_HOME_PATH": str(tmp_path)})
    assert home == tmp_path
    assert not cann.check_home(home).has_failed
    assert cann.check_home(tmp_path / "gone").has_failed
    assert cann.read_version(tmp_path) is None


def test_the_reason_in_a_line():
    error = (
        "Load dynamic library: libmindspore_ascend.so.2 failed. libge_runner.so: cannot open "
        "shared object file: No such file or directory\n"
    )
    assert why_none("Ascend", error).startswith("libge_runner.so: cannot open shared object file")


def test_the_memory_of_a_card():
    assert cann.memory_of(SMI) == 65536
    assert cann.memory_of("") == 0
