"""What a prediction run did not do: inputs that failed, and what it passed over."""

from dataclasses import dataclass, field
from pathlib import Path

from src.prediction.inputs import Inputs
from src.prediction.unreachable import shown_address
from src.runtime.files import to_json, write_atomically
from src.runtime.text import INDENTED, count

FILE = "problems.json"
SHOWN = 10  # inputs in the last lines


@dataclass
class Problems:
    """Inputs that failed, with the reason, beside those that were passed over."""

    inputs: Inputs
    failed: dict[str, str] = field(init=False)  # reasons by path or address

    def __post_init__(self):
        self.failed = dict(self.inputs.failed)

    def fail(self, name: Path | str, reason: str) -> None:
        """Notes that an input failed; its first reason counts."""
        self.failed.setdefault(str(name), reason)

    def in_order(self) -> dict[str, str]:
        """What failed, in the order of the inputs."""
        names = (one if isinstance(one, Path) else shown_address(one) for one in self.inputs.all)
        places = {str(name): place for place, name in enumerate(names)}
        order = sorted(self.failed, key=lambda name: places.get(name, -1))
        return {name: self.failed[name] for name in order}

    def write(self, folder: Path) -> bool:
        """Writes problems.json, an entry per line; without problems there is no such file."""
        entries = [
            {"file": name, "kind": "failed", "reason": reason}
            for name, reason in self.in_order().items()
        ]
        for reason, paths in self.inputs.passed_over.items():
            entries += [{"file": p, "kind": "passed over", "reason": reason} for p in paths]
        path = folder / FILE
        if not entries:
            path.unlink(missing_ok=True)
            return False
        write_atomically(path, "[\n" + ",\n".join(map(to_json, entries)) + "\n]\n")
        return True

    def summary(self) -> str:
        """ "2 of 9 inputs failed", and a line for each, with its reason."""
        total = count(len(self.inputs.all) + len(self.inputs.failed), "input")
        failed = [f"{self.inputs.shown(n)}: {reason}" for n, reason in self.in_order().items()]
        if len(failed) > SHOWN:
            failed[SHOWN:] = [f"and {len(failed) - SHOWN:,} more, see {FILE}"]
        return INDENTED.join([f"{len(self.failed):,} of {total} failed", *failed])
