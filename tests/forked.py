"""Runs scripts in forks of one process that has imported what they need, which takes seconds.

    python forked.py MODULE ...

A line of JSON on stdin is a command: its words, changes of the environment, and the files that get
stdout and stderr. Its status is a line on stdout.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path


class Forks:
    """Runs scripts, one after another, with modules that are imported once.

    Args:
        modules: names of what is imported.
        folder: that the scripts run in.
        files: folder for their output.
        environ: changes of the environment, which the import sees.
    """

    def __init__(self, modules: list[str], folder: Path, files: Path, **environ: str):
        self.files = files
        self.server = subprocess.Popen(
            [sys.executable, __file__, *modules],
            cwd=folder,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *flags, **environ: str) -> subprocess.CompletedProcess:
        """The finished process of `python script flags`."""
        words, paths = [script, *map(str, flags)], [self.files / name for name in ("out", "err")]
        command = {"words": words, "environ": environ, "files": list(map(str, paths))}
        print(json.dumps(command), file=self.server.stdin, flush=True)
        status = int(self.server.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(path.read_text() for path in paths))

    def close(self) -> None:
        """Ends the process that forks."""
        self.server.communicate()


def become(command: dict) -> None:
    """Runs the command's script in this process."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(command["files"], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(command["environ"])
    sys.argv, sys.path[0] = command["words"], os.getcwd()
    runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> None:
    sys.path[0] = os.getcwd()
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
