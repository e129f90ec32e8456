"""The order of every method, measured over steps of equal size as ``benchmarks/orders.py`` shows it."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parent.parent / "benchmarks" / "orders.py"
SPEC = importlib.util.spec_from_file_location("orders", PATH)
orders = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(orders)


@pytest.fixture(scope="module")
def exact():
    return orders.reference()


@pytest.mark.parametrize("name", orders.methods())
def test_the_measured_order_is_the_one_claimed(name, exact):
    """High orders meet rounding before their errors settle: there the slope is a little steeper."""
    fun, method, order = orders.methods()[name]
    slope = orders.measured(*orders.errors(fun, method, exact))
    assert order - 0.15 < slope < order + (1.3 if order > 4 else 0.15)
