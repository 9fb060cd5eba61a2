"""What a prediction run did not do: inputs that failed, and what it passed over."""

from dataclasses import dataclass, field
from pathlib import Path

from src.prediction.inputs import Inputs
from src.runtime.files import to_json, write_atomically
from src.runtime.text import count, listed

FILE = "problems.json"


@dataclass
class Problems:
    """Inputs that failed, with the reason, beside those that were passed over."""

    inputs: Inputs
    failed: dict[str, str] = field(default_factory=dict)  # by path or address

    def fail(self, name: Path | str, reason: str) -> None:
        """Notes that an input failed; its first reason counts."""
        self.failed.setdefault(str(name), reason)

    def write(self, folder: Path) -> bool:
        """Writes problems.json, an entry per line; without problems there is no such file."""
        entries = [
            {"file": name, "kind": "failed", "reason": reason}
            for name, reason in self.failed.items()
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
        """ "2 of 9 inputs failed: a.jpg, b.mp4"."""
        total = count(self.inputs.count, "input")
        return f"{len(self.failed):,} of {total} failed: {listed(list(self.failed))}"
