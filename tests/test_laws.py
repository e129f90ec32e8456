"""Every primitive keeps every law: the product of LAWS and the registry."""

from operator import attrgetter

import numpy as np
import pytest

import diffsim.numpy
import diffsim.ode  # noqa: F401  (both register primitives)
from diffsim.core import REGISTRY, Absent, Aval, Primitive
from diffsim.core.emission import Scalar
from diffsim.prims.family import REAL, draw
from diffsim.testing import EXACT_LAWS, LAWS, check_primitive, samples, variants

PRIMITIVES = [p for p in REGISTRY.values() if not isinstance(p.samples, Absent) and "." not in p.name]

#: Whole simulations and control flow are checked by the tests of `diffsim.ode` and by tests/test_control.py, functions of users by those
#: of their verbs; stop_gradient denies its derivative on purpose.
WITHOUT_SAMPLES = {
    "checkpoint", "crossing", "custom", "custom_tangent", "eager_pull", "eager_push", "eagerly", "external", "external_pull",
    "external_push", "kernel", "kernel_pull", "kernel_push", "odeint", "odeint_adjoint", "odeint_curvature", "odeint_tangent",
    "odeint_tangents", "odeint_until", "operator_solve", "replay", "scan", "solution", "sound", "stop_gradient", "switch", "while",
    "while_derivative"
}


@pytest.mark.parametrize("law", LAWS, ids=attrgetter("__name__"))
@pytest.mark.parametrize("prim", PRIMITIVES, ids=attrgetter("name"))
def test_every_primitive_keeps_every_law(prim, law, rng):
    for sample in samples(prim, rng):
        law(sample, rng)


@pytest.mark.parametrize("prim", PRIMITIVES, ids=attrgetter("name"))
def test_exact_laws_hold_in_single_precision_strided_and_for_single_elements(prim, rng):
    for sample in samples(prim, rng):
        for _, other in variants(sample):
            for law in EXACT_LAWS:
                law(other, rng)


def test_primitives_without_samples_are_the_known_ones():
    assert {p.name for p in REGISTRY.values() if isinstance(p.samples, Absent) and "." not in p.name} == WITHOUT_SAMPLES


def test_there_are_at_least_sixty_primitives_under_the_laws():
    assert len(PRIMITIVES) >= 60


@pytest.fixture
def wrong():
    """Builds sine with one rule replaced, and forgets it afterwards."""
    made = []

    def build(**rules):
        def jvp(x, y, x_dot):
            return REGISTRY["mul"](REGISTRY["cos"](x[0]), x_dot[0])
        slots = {"impl": np.sin, "aval": lambda x: x, "jvp": jvp, "transpose": Absent("not linear"), "emit": Scalar(lambda k, x: x),
                 "samples": lambda rng: [((draw(rng, REAL, (3,)),), {})]} | rules
        made.append(Primitive("wrong_sine", **slots))
        return made[-1]
    yield build
    for prim in made:
        REGISTRY.pop(prim.name, None)


def test_the_laws_pass_a_right_row(wrong):
    assert check_primitive(wrong()) == 1


@pytest.mark.parametrize(("rules", "law"), [
    ({"aval": lambda x: Aval((2,), x.dtype)}, "aval_predicts_impl"),
    ({"aval": lambda x: Aval(x.shape, np.dtype(np.float64))}, "aval_predicts_impl"),
    ({"jvp": lambda x, y, x_dot: REGISTRY["mul"](REGISTRY["sin"](x[0]), x_dot[0])}, "tangent_is_the_derivative"),
    ({"jvp": lambda x, y, x_dot: None}, "tangent_is_the_derivative"),
    ({"batch": lambda n, batched, x: REGISTRY["sin"](x[::-1])}, "batch_is_a_stack_of_calls"),
    ({"jvp": lambda x, y, x_dot: REGISTRY["mul"](np.cos(np.asarray(getattr(x[0], "primal", x[0]))), x_dot[0])}, "second_derivatives_agree"),
])
def test_the_laws_catch_a_wrong_row(wrong, rules, law):
    with pytest.raises(AssertionError, match=law):
        check_primitive(wrong(**rules))


def test_the_laws_catch_a_wrong_transpose(wrong):
    double = wrong(impl=lambda x: 2.0 * x, jvp=lambda x, y, x_dot: double(x_dot[0]), transpose=lambda y_bar, x: (3.0 * y_bar,))
    with pytest.raises(AssertionError, match="pullback_is_the_adjoint"):
        check_primitive(double)
