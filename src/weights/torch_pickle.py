"""Reads the pickles in PyTorch's files without running them.

A pickle can name any function to be called when it is read. Here, nothing that a file names is
imported or called: what state dicts need is built by this file, and everything else becomes a
Placeholder, which keeps a name and nothing more.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from pickletools import genops
from typing import Any, BinaryIO

from src.runtime.errors import InputError
from src.weights.torch_tensors import Placeholder, Storage, Tensor, shown

NUMPY_ARRAYS = (
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer",
)  # fmt: skip
MAX_OPERATIONS = 2_000_000  # about five seconds; a detector with its optimizer has 50,000
STORAGE_ID = ("storage", "class", "key", "device", "count", "view")  # the last may be missing
SEARCHED = 8  # arguments of an unknown function that are searched for data


class TensorUnpickler:
    """Reads containers, strings, numbers and tensors; all else as placeholders.

    The stack is a list of stacks, one for each mark, as in the standard library.
    """

    def __init__(self, file: BinaryIO, path: Path):
        self.file, self.path = file, path
        self.storages: dict[str, Storage] = {}
        self.left = MAX_OPERATIONS

    def load(self) -> Any:
        """The next pickle of the file.

        Raises:
            InputError: it is too long. A damaged one may raise any other exception.
        """
        self.stack, self.outer, self.memo = [], [], {}
        for opcode, argument, _ in genops(self.file):
            self.spend(1)
            if opcode.name == "STOP":
                break
            ACTIONS[opcode.name](self, argument)
        return self.stack.pop()

    def spend(self, count: int) -> None:
        """Counts operations, which bounds time and memory."""
        self.left -= count
        if self.left < 0:
            raise InputError(
                f"{self.path}: holds more than {MAX_OPERATIONS:,} objects; save the weights alone"
            )

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list:
        """Pops everything above the last mark, and the mark."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def last(self, count: int) -> tuple:
        """Pops this number of values."""
        if len(self.stack) < count:
            raise ValueError("nothing on the stack")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def drop(self) -> None:
        """Pops a value, or a mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def append(self, items: Iterable) -> None:
        """Appends to the list on the stack."""
        if type(self.stack[-1]) is list:
            self.stack[-1].extend(items)
        elif not isinstance(self.stack[-1], Placeholder):
            raise ValueError("appends to something that is no list")

    def set_items(self, items: list | tuple) -> None:
        """Sets items of the dict on the stack, from key, value, key, value, ..."""
        if type(self.stack[-1]) is dict:
            self.stack[-1].update(named_items(items))
        elif not isinstance(self.stack[-1], Placeholder):
            raise ValueError("sets items of something that is no dict")

    def build(self) -> None:
        """Drops the state of an object, such as the metadata of a state dict."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Placeholder):
            raise ValueError("sets the state of something that is no object")

    def call(self, function: Any, arguments: Any) -> None:
        """Pushes the result of one of CALLS, or a placeholder for that of another name."""
        if not isinstance(function, Placeholder) or type(arguments) is not tuple:
            raise ValueError("calls something that is no function")
        if function.name in CALLS:
            self.push(CALLS[function.name](self, *arguments[:SEARCHED]))
        else:
            has_data = function.name in NUMPY_ARRAYS or holds_data(arguments)
            self.push(Placeholder(function.name, has_data))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is no string")
        self.push(Placeholder(f"{shown(module)}.{shown(name)}"))

    def ordered_dict(self, pairs: Any = (), *_) -> dict:
        """An OrderedDict; Python 2 wrote its items as an argument."""
        if not isinstance(pairs, list | tuple):
            raise ValueError("an OrderedDict of something else")
        self.spend(len(pairs))
        return named_items([part for key, value in pairs for part in (key, value)])

    def persistent(self, pid: Any) -> None:
        """Pushes the storage, or the class of a module, that a persistent ID stands for."""
        kind, *rest = pid if type(pid) is tuple and 0 < len(pid) <= len(STORAGE_ID) else (None,)
        if kind == "storage" and len(rest) >= len(STORAGE_ID) - 2:
            self.push(self.storage(*rest))
        elif kind == "module" and rest and isinstance(rest[0], Placeholder):
            self.push(rest[0])
        else:
            self.push(Placeholder("an unknown persistent ID", True))

    def storage(self, kind: Any, key: Any, _, count: Any, view: Any = None) -> Storage:
        """Registers a storage, or returns the one of this key."""
        if not isinstance(kind, Placeholder) or not isinstance(key, int | str) or view is not None:
            raise ValueError("an unknown storage")
        if type(count) is not int or count < 0:
            raise ValueError("an impossible storage")
        storage = Storage(str(key), kind.name, count)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key} has two types or sizes")
        return storage


def named_items(items: list | tuple) -> dict[str, Any]:
    """A dict of key, value, key, value, ... without keys that are no strings.

    State dicts have none, and to hash a tuple of tuples may take forever.
    """
    return {key: value for key, value in zip(items[::2], items[1::2]) if type(key) is str}


def holds_data(arguments: tuple, depth: int = 1) -> bool:
    """Whether there is a storage or a tensor among the first arguments, or in tuples of them."""
    return any(
        isinstance(value, Storage | Tensor)
        or (isinstance(value, Placeholder) and value.has_data)
        or (type(value) is tuple and depth > 0 and holds_data(value, depth - 1))
        for value in arguments[:SEARCHED]
    )


def rebuilt_tensor(_, storage: Any, offset: Any, size: Any, stride: Any, *rest) -> Tensor:
    return Tensor(storage, offset, size, stride)


def parameter_data(_, tensor: Any, *rest) -> Any:
    return tensor


CALLS: dict[str, Callable] = {
    "collections.OrderedDict": TensorUnpickler.ordered_dict,
    "torch._utils._rebuild_tensor": rebuilt_tensor,
    "torch._utils._rebuild_tensor_v2": rebuilt_tensor,
    "torch._utils._rebuild_parameter": parameter_data,
    "torch._utils._rebuild_parameter_with_state": parameter_data,
}
VALUES = (  # opcodes whose argument is the value
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "INT",
)  # fmt: skip
# What an opcode does to the unpickler `u`, with its argument `a`. These are the opcodes of pickle's
# protocols 2 to 5; torch.save writes 2. INT is how Python 2 writes ints of more than 32 bits in
# protocol 2, such as the ids of weights in the state of an optimizer.
ACTIONS: dict[str, Callable[[TensorUnpickler, Any], Any]] = {
    **dict.fromkeys(VALUES, lambda u, a: u.push(a)),
    **dict.fromkeys(("PROTO", "FRAME"), lambda u, a: None),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda u, a: u.push(u.memo[a])),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda u, a: u.remember(a)),
    "MEMOIZE": lambda u, a: u.remember(len(u.memo)),
    "NONE": lambda u, a: u.push(None),
    "NEWTRUE": lambda u, a: u.push(True),
    "NEWFALSE": lambda u, a: u.push(False),
    "EMPTY_TUPLE": lambda u, a: u.push(()),
    "EMPTY_LIST": lambda u, a: u.push([]),
    "EMPTY_DICT": lambda u, a: u.push({}),
    "EMPTY_SET": lambda u, a: u.push(Placeholder("builtins.set")),
    "TUPLE1": lambda u, a: u.push(u.last(1)),
    "TUPLE2": lambda u, a: u.push(u.last(2)),
    "TUPLE3": lambda u, a: u.push(u.last(3)),
    "MARK": lambda u, a: u.mark(),
    "POP": lambda u, a: u.drop(),
    "POP_MARK": lambda u, a: u.since_mark(),
    "DUP": lambda u, a: u.push(u.stack[-1]),
    "TUPLE": lambda u, a: u.push(tuple(u.since_mark())),
    "FROZENSET": lambda u, a: u.call(Placeholder("builtins.frozenset"), tuple(u.since_mark())),
    "APPEND": lambda u, a: u.append(u.last(1)),
    "APPENDS": lambda u, a: u.append(u.since_mark()),
    "ADDITEMS": lambda u, a: u.append(u.since_mark()),
    "SETITEM": lambda u, a: u.set_items(u.last(2)),
    "SETITEMS": lambda u, a: u.set_items(u.since_mark()),
    "GLOBAL": lambda u, a: u.name(*a.split(" ", 1)),
    "STACK_GLOBAL": lambda u, a: u.name(*u.last(2)),
    "REDUCE": lambda u, a: u.call(*u.last(2)),
    "NEWOBJ": lambda u, a: u.call(*u.last(2)),
    "NEWOBJ_EX": lambda u, a: u.call(*u.last(3)[:2]),  # without arguments by name
    "BUILD": lambda u, a: u.build(),
    "BINPERSID": lambda u, a: u.persistent(u.stack.pop()),
}
