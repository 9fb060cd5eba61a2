"""What a report contains, and what it must not."""

import pytest

from src.config.configuration import make_config
from src.doctor import report
from src.doctor.report import Names
from src.runtime.plugins.findings import failed, ok

NAMES = Names(
    home="/home/ada",
    project="/home/ada/work/detector",
    users=frozenset({"ada", "ada.l", "bob"}),
    hosts=frozenset({"node17", "node17.lab.example"}),
)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("/home/ada/work/detector/config/a.yaml", "./config/a.yaml"),
        ("/home/ada/work/detector2/x", "~/work/detector2/x"),
        ("CUDA_HOME=/home/ada/cuda-11.6", "CUDA_HOME=~/cuda-11.6"),
        ("/home/adam/cuda/lib64", "FOLDER/lib64"),
        ("/home/bob", "FOLDER"),
        ("/scratch/bob/cuda/lib64:/usr/local/cuda/lib64", "FOLDER/lib64:/usr/local/cuda/lib64"),
        ("/tmp/bob-x/log", "/tmp/USER-x/log"),
        ("in use by ada.l on node17.lab.example", "in use by USER on HOST"),
        ("/tmp/ompi.node17.0/pid.1", "/tmp/ompi.HOST.0/pid.1"),
        ("tcp://192.0.2.7:35527;tcp6://[fd00::2]:46319", "tcp://ADDRESS:35527;tcp6://ADDRESS:46319"),
        ("ratio 3/4, batches/s, https://www.mindspore.cn/install", None),
        ("-mca coco_root adamw nodes17", None),
    ],
)  # fmt: skip
def test_names_are_hidden(text, hidden):
    assert NAMES.hide(text) == (text if hidden is None else hidden)


def test_versions_are_not_taken_for_addresses():
    assert NAMES.hide_names("opencv 4.11.0.86") == "opencv 4.11.0.86"


def test_variables_that_hold_machines_names_are_left_out():
    """Open MPI writes node17 and node18 as node[2:17-18]."""
    environ = {
        "OMPI_MCA_orte_node_regex": "node[2:17-18]@0(2)",
        "OMPI_MCA_orte_hnp_uri": "1;tcp://node17:4",
        "OMPI_MCA_orte_local_daemon_uri": "1;tcp://node17:5",
        "OMPI_MCA_orte_default_hostfile": "/etc/node17",
        "MS_SCHED_HOST": "node17",
        "OMPI_COMM_WORLD_SIZE": "2",
        "NCCL_SOCKET_IFNAME": "eth0",
    }
    assert set(report.variables(environ)) == {"OMPI_COMM_WORLD_SIZE", "NCCL_SOCKET_IFNAME"}


def test_this_machines_names_are_known(monkeypatch):
    monkeypatch.setenv("USER", "grace")
    monkeypatch.setenv("HOSTNAME", "box9.lab.example")
    names = Names.of_this_machine({"node18.lab.example"})
    assert names.hide("grace@box9, node18, node18.lab.example") == "USER@HOST, HOST, HOST"
    assert names.hide(f"{names.project}/src/x.py") == "./src/x.py"
    assert names.hide("/root or root") in ("~ or root", "FOLDER or root")


def test_whole_report(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n[ $# = 0 ] || exit 0\necho '| NVIDIA-SMI 470.57.02 |'\necho '| Processes: |'\n"
        "echo '| 0 4242 C /home/bob/secret.py |'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(report, "git_commit", lambda: "0f1e2d3")
    environ = {
        "PATH": str(tmp_path), "NCCL_DEBUG": "INFO", "CUDA_HOME": "/home/ada/cuda", "TOKEN": "abc",
    }  # fmt: skip
    cfg = make_config([({"device_target": "GPU", "batch_size": 3}, "test")])
    findings = [ok("Python", "3.11"), failed("cuDNN", "8.1 in /home/ada/cuda", "do this")]
    text = report.compose(
        cfg, findings, environ=environ, raw={"plugin": "from node17\n"}, names=NAMES
    )
    assert "1 of 2 checks failed: cuDNN" in text.splitlines()[0]
    for line in (
        "FAILED  cuDNN              8.1 in ~/cuda", "-> do this", "CUDA_HOME   ~/cuda",
        "NCCL_DEBUG  INFO", "| NVIDIA-SMI 470.57.02 |", "batch_size     3", "from HOST",
        "mindspore", "kernel", "0f1e2d3",
    ):  # fmt: skip
        assert line in text, line
    for secret in ("secret.py", "4242", "abc", "/home", "ada", "node17"):
        assert secret not in text, secret
