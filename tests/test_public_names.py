"""The public names, in a golden file: a change of the API is a visible change of tests/public_names.txt."""

import importlib
import inspect
from pathlib import Path

import numpy as np

import diffsim as ds

GOLDEN = Path(__file__).with_name("public_names.txt")
MODULES = ("diffsim", "diffsim.tree", "diffsim.errors", "diffsim.linalg", "diffsim.ode", "diffsim.optimize", "diffsim.fit",
           "diffsim.special", "diffsim.testing")


def names():
    for module in MODULES:
        m = importlib.import_module(module)
        listed = getattr(m, "__all__", None) or [n for n, v in vars(m).items() if inspect.isclass(v) and v.__module__ == module]
        for name in sorted(listed):
            value = getattr(m, name)
            signature = ""
            if inspect.isfunction(value):
                signature = str(inspect.signature(value)).replace(repr(np.inf), "inf")
            yield f"{module}.{name}{signature}"


def test_public_names_are_the_golden_list():
    assert GOLDEN.read_text().splitlines() == list(names()), "write the new list to tests/public_names.txt if the change is meant"


def test_every_public_function_and_class_is_documented():
    for module in MODULES:
        m = importlib.import_module(module)
        for name in getattr(m, "__all__", ()):
            value = getattr(m, name)
            if callable(value):
                assert value.__doc__, f"{module}.{name} has no docstring"


def test_dir_lists_what_is_loaded_late():
    assert {"fit", "ode", "optimize", "solve_ivp", "grad"} <= set(dir(ds))
