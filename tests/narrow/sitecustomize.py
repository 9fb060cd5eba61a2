"""Imported by each Python process that has this folder in PYTHONPATH: see narrow_resnet.py."""

import sys
from importlib.machinery import PathFinder
from types import ModuleType


class Narrowing(PathFinder):
    """Finds src.models.resnet, once, and narrows it when it has been imported."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "src.models.resnet":
            return None
        sys.meta_path.remove(cls)
        spec = super().find_spec(name, path, target)
        run = spec.loader.exec_module

        def run_and_narrow(module: ModuleType) -> None:
            run(module)
            from narrow_resnet import narrow_resnet

            narrow_resnet()

        spec.loader.exec_module = run_and_narrow
        return spec


sys.meta_path.insert(0, Narrowing)
