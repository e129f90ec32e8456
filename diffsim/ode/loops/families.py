"""Families of methods: which loops run a method, what they call and what they work with."""

from dataclasses import dataclass

import numpy as np

from diffsim.codegen.loops import Loop
from diffsim.ode.compiled.kernels import jacobian
from diffsim.ode.events.conditions import NOTHING
from diffsim.ode.matrices.plan import BUDGET
from diffsim.ode.tableaus import METHODS, Additive, Auto, Esdirk, Midpoint, Ndf, Radau, Rosenbrock, Splitting, Tableau

from . import auto, bdf, erk, esdirk, imex, midpoint, radau, rosenbrock, symplectic


@dataclass(frozen=True, slots=True)
class Family:
    """Stepping loops that run the methods of one kind.

    Attributes
    ----------
    forward, adjoint : Loop
    kernels, back_kernels : tuple of str
        What each of them calls, by the names of ``kernels.py``.
    tangent_kernels : tuple of str
        Those of them that are called only where a state is joined by tangents.
    work, back_work : tuple of str
        Names of their work arrays, the state and the parameters not among them.
    structured : bool
        Whether they solve linear systems, and so are told where the Jacobian may differ from zero.
    massive : bool
        Whether they take mass matrices.
    steered : bool
        Whether a controller chooses their sizes, and can be another one.
    """

    forward: Loop
    adjoint: Loop
    kernels: tuple
    back_kernels: tuple
    work: tuple
    back_work: tuple
    tangent_kernels: tuple = ()
    structured: bool = False
    steered: bool = True
    massive: bool = False


#: What loops that iterate for the state call.
IMPLICIT = ("rhs", "base_rhs", "jac")

ERK = Family(
    forward=erk.FORWARD, adjoint=erk.ADJOINT, kernels=("rhs",), back_kernels=("vjp",), work=("ks", "new", "mid", "w", "past"),
    back_work=("kappa", "g", "w"))
ROSENBROCK = Family(
    forward=rosenbrock.FORWARD, adjoint=rosenbrock.ADJOINT, kernels=("rhs", "rhs_t", "jac", "push"),
    back_kernels=("vjp", "jac", "pull", "bend"), tangent_kernels=("push", "pull"), structured=True,
    massive=True,
    work=("ks", "new", "w", "est", "f0", "ft", "values", "r", "work", "lu", "pivots", "z", "past"),
    back_work=("kappa", "g", "w", "values", "r", "work", "state", "lu", "pivots", "z"))

ESDIRK = Family(
    forward=esdirk.FORWARD, adjoint=esdirk.ADJOINT, kernels=IMPLICIT, back_kernels=("vjp", "jac", "pull"), tangent_kernels=("pull",),
    structured=True, massive=True,
    work=("ks", "new", "w", "est", "values", "mid", "rise", "r", "lu", "pivots", "late", "late_lu", "late_pivots", "z", "past"),
    back_work=("kappa", "g", "w", "values", "r", "rest", "work", "lu", "pivots", "z"))

IMEX = Family(
    forward=imex.FORWARD, adjoint=imex.ADJOINT, kernels=(*IMPLICIT, "gentle"), back_kernels=("vjp", "jac", "pull", "gentle_vjp"),
    tangent_kernels=("pull",), structured=True,
    work=("ks", "stiff", "new", "gap", "w", "est", "values", "mid", "rise", "r", "lu", "pivots", "late", "late_lu", "late_pivots", "z",
          "past"),
    back_work=("kappa", "delta", "g", "w", "values", "r", "near", "work", "lu", "pivots", "z"))

SPLITTING = Family(
    forward=symplectic.FORWARD, adjoint=symplectic.ADJOINT, kernels=("drift", "kick"),
    back_kernels=("drift", "kick", "drift_vjp", "kick_vjp"), work=("ks", "new", "force", "velocity", "w"),
    back_work=("kappa", "first", "trail", "force", "velocity", "force_bar", "w"))

RADAU = Family(
    forward=radau.FORWARD, adjoint=radau.ADJOINT, kernels=IMPLICIT, back_kernels=("vjp", "jac", "pull"), tangent_kernels=("pull",),
    structured=True, massive=True,
    work=("ks", "new", "w", "est", "values", "former", "rise", "held", "moved", "states", "r", "lu", "pivots", "re", "im", "pair_pivots",
          "late", "wide", "wide_pivots", "z", "u", "long", "past"),
    back_work=("kappa", "g", "w", "late", "x", "pulled", "lu", "pivots", "wide", "wide_pivots", "z", "long"))

BDF = Family(
    forward=bdf.FORWARD, adjoint=bdf.ADJOINT, kernels=IMPLICIT, back_kernels=("vjp", "jac", "pull"), tangent_kernels=("pull",),
    structured=True, massive=True,
    work=("ks", "new", "w", "est", "values", "slope", "difference", "trial", "u", "v", "turn", "mid", "psi", "d", "r", "lu", "pivots",
          "late", "late_lu", "late_pivots", "z", "past"),
    steered=False, back_work=("bar", "w", "u", "v", "turn", "column", "values", "d_bar", "x", "g", "work", "lu", "pivots", "z"))

AUTO = Family(
    forward=auto.FORWARD, adjoint=auto.ADJOINT, kernels=IMPLICIT, back_kernels=("vjp", "jac", "pull"), tangent_kernels=("pull",),
    structured=True, work=ESDIRK.work, back_work=ESDIRK.back_work)

MIDPOINT = Family(
    forward=midpoint.FORWARD, adjoint=midpoint.ADJOINT, kernels=IMPLICIT, back_kernels=("vjp", "jac", "pull"),
    tangent_kernels=("pull",), structured=True,
    work=("ks", "slopes", "new", "w", "values", "mid", "rise", "r", "lu", "pivots", "late", "late_lu", "late_pivots", "z"),
    back_work=("kappa", "first", "g", "x", "w", "values", "r", "work", "lu", "pivots", "z"))

FAMILIES = {Tableau: ERK, Rosenbrock: ROSENBROCK, Esdirk: ESDIRK, Radau: RADAU, Ndf: BDF, Auto: AUTO, Splitting: SPLITTING,
            Midpoint: MIDPOINT, Additive: IMEX}


def family_of(method):
    """Family of a method, by the method's name."""
    return FAMILIES[type(METHODS[method])]


def directions_innermost(method):
    """Whether tangents of several directions lie with these innermost: where no linear system is solved for one after the other."""
    return family_of(method) is ERK


def order_of_error(method):
    """Order of a method's error estimate plus one: the exponent of the controller."""
    return METHODS[method].error_order + 1.0


def idle_kernels(method, system):
    """Kernels that the loops of a method will not call for a system."""
    family = family_of(method)
    if system.depth or (family in (ESDIRK, AUTO, IMEX) and jacobian(system).plan.numbers[BUDGET]):
        return ()
    return family.tangent_kernels


def fixed(method, system):
    """What the loops of a method are told of the method and of a system, by their arguments' names: numbers and arrays."""
    tab, family = METHODS[method], family_of(method)
    values = {"N": system.n, "S": tab.stages, "end": tab.stages, "degree": tab.degree, "n_p": system.n_p}
    if family is ERK:
        values |= {"X": tab.extra, "L": len(tab.e_low)}
    if family is SPLITTING:
        values["half"] = system.base.n // 2
    values |= {name: getattr(tab, name) for name in family.forward.arguments if name != "order" and hasattr(tab, name)}
    if family.structured:
        j = jacobian(system)
        plan = j.banded if family is RADAU else j.plan
        panel = system.n if system.depth else 0            # behind the factors, for right-hand sides
        values |= {"nb": system.base.n, "nnz": len(j.rows), "base": system.base_at, "depth": system.depth,
                   "plan": _numbers(plan, system), "mass": plan.mass, "n_plan": len(plan.numbers), "n_mass": len(plan.mass),
                   "n_lu": plan.size + panel}
        if family is AUTO:
            values |= {"rows": np.asarray(j.rows, np.int64), "columns": np.asarray(j.columns, np.int64)}
        if family is RADAU:
            values |= {"rows": np.asarray(plan.place[j.rows], np.int64), "columns": np.asarray(plan.place[j.columns], np.int64),
                       "place": np.asarray(plan.place, np.int64), "kl": plan.kl, "ku": plan.ku}
            values |= _widths(tab.stages, system.base.n, plan.kl, plan.ku)
    return values


def _numbers(plan, system):
    """The numbers of a plan; where several tangents share a matrix, the one of each stage, and nothing is iterated."""
    if system.n == system.base.n << system.depth:
        return plan.numbers
    numbers = plan.numbers.copy()
    numbers[BUDGET] = 0
    return numbers


def steering(control):
    """What the loops are told of how a solve chooses its steps, by their arguments' names."""
    return {"pace": np.array(control.pace, float), "C": len(control.pace), "P": 4 if control.pace else 0, "H": control.history}


def _widths(stages, n, kl, ku):
    """Half-widths of the matrix of all stages, and how many numbers are kept of a row of it and of a matrix of the state's size."""
    wide_kl, wide_ku = stages * (kl + 1) - 1, stages * (ku + 1) - 1
    return {"wide_kl": wide_kl, "wide_ku": wide_ku, "width": min(2 * kl + ku + 1, n + kl),
            "wide_width": min(2 * wide_kl + wide_ku + 1, stages * n + wide_kl)}


def watching(conditions=NOTHING, stops=(), sides=()):
    """What a forward loop is told of event functions and of times to land on, by its arguments' names; nothing by default."""
    count = conditions.count
    return {"G": count, "n_stops": len(stops), "n_news": conditions.room, "stops": np.asarray(stops, float), "ways": conditions.ways,
            "sides": np.zeros((2, count)) if not len(sides) else np.asarray(sides, float), "marks": np.zeros((3, count)),
            "news": np.zeros(conditions.room)}


def work(loop, names, values):
    """Zeroed work arrays of a loop, by name."""
    return {name: np.zeros(loop.shape(name, values), np.int64 if name in loop.integer_arrays else np.float64) for name in names}


def work_sizes(loop, names, values):
    """How many numbers each work array of a loop holds."""
    return {name: int(np.prod(loop.shape(name, values), dtype=int)) for name in names}
