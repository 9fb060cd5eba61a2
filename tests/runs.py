"""What training runs have left, read and compared."""

import json
from pathlib import Path

import mindspore as ms
import numpy as np


def records(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def contents(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint."""
    entries = ms.load_checkpoint(str(path), crc_check=True).items()
    return {name: value.asnumpy() for name, value in entries if isinstance(value, ms.Tensor)}


def assert_close(one: Path, other: Path, *, but: tuple[str, ...] = ()) -> None:
    """Compares losses and parameters of two runs, without parameters that end so."""
    losses = [[record["loss"] for record in records(f, "step")] for f in (one, other)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    first, second = (contents(folder / "ckpt" / "last.ckpt") for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        if name.endswith(but):
            continue
        np.testing.assert_allclose(second[name], value, rtol=0, atol=1e-5, err_msg=name)
