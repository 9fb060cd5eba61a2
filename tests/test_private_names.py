"""Private and undocumented names of other packages that src/ uses: they may go with any release.

A test each says what it is used for, so that whoever raises a version sees at once what broke.
"""

import ast
import inspect
from multiprocessing import resource_tracker
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tensorboardX.event_file_writer import EventsWriter

from tests.conftest import REPOSITORY

# by file, the names that no file of src/ defines
USED = {
    "src/data/workers.py": {"_resource_tracker", "_fd", "_pid"},
    "src/evaluation/coco_metric.py": {"_gts"},
    "src/runtime/plugins/plugin.py": {"mindspore._c_expression"},
    "src/training/callbacks/tensorboard.py": {"_py_recordio_writer", "_writer"},
}
DOCUMENTED = {"_exit", "_replace"}  # of os and of named tuples


def private_names(nodes: list[ast.AST]) -> set[str]:
    """Attributes and modules with a leading underscore that a file reads."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if any(map(is_private, parts)):
                found.add(node.module)
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def own_names(nodes: list[ast.AST]) -> set[str]:
    """Functions, classes and attributes of `self` that a file defines."""
    defined = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
            defined |= {node.attr} if is_own else set()
    return defined


def test_no_other_private_name_is_used():
    paths = [*(REPOSITORY / "src").rglob("*.py"), *REPOSITORY.glob("*.py")]
    nodes = {path: list(ast.walk(ast.parse(path.read_text()))) for path in paths}
    own = set().union(*map(own_names, nodes.values())) | DOCUMENTED
    names = {str(p.relative_to(REPOSITORY)): private_names(n) - own for p, n in nodes.items()}
    assert {path: found for path, found in names.items() if found} == USED


def test_python_has_a_tracker_of_shared_memory_that_can_be_started_by_us():
    """workers.start_tracker: in a session of its own, which `ensure_running` does not offer."""
    tracker = resource_tracker._resource_tracker
    assert hasattr(tracker, "_fd") and hasattr(tracker, "_pid")
    assert "fd" in inspect.signature(resource_tracker.main).parameters


def test_cocoeval_has_the_objects_of_an_image_and_class():
    """coco_metric.DifficultEval: changes their flag of a crowd while overlaps are computed."""
    truth = COCO()
    truth.dataset = {"images": [], "annotations": [], "categories": []}
    truth.createIndex()
    metric = COCOeval(truth, truth, "bbox")
    assert metric._gts[1, 2] == []
    assert list(inspect.signature(metric.computeIoU).parameters) == ["imgId", "catId"]


def test_mindspore_says_why_a_plugin_was_not_loaded():
    """plugin.probe: the public functions say only that there is no card."""
    from mindspore._c_expression import MSContext

    assert isinstance(MSContext.get_instance().load_plugin_error(), str)


def test_mindspore_has_the_operator_that_splits_a_flat_buffer():
    """gradient_sum: `ops.split` is a loop that graphs unroll into a call a tensor."""
    from mindspore.ops.auto_generate import SplitWithSize

    assert callable(SplitWithSize())


def test_event_file_can_be_flushed_without_waiting_for_the_disk(tmp_path: Path):
    """tensorboard.TensorBoard: EventsWriter.flush also calls fsync."""
    writer = EventsWriter(str(tmp_path / "events"))
    writer._py_recordio_writer._writer.flush()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size > 0  # the event that names the file's version
    writer.close()
