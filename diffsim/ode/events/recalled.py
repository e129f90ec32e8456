"""Solves in stretches inside ``jit`` and ``vmap``: their course depends on numbers, so that compiled programs call them back.

Shapes must be known: outputs after the event that ends a solve are NaN, and so are entries of ``t_events`` and ``y_events`` beyond the
events that happened.
"""

from dataclasses import replace

import numpy as np

from diffsim.control.eagerly import Eager, eagerly
from diffsim.core import Aval, aval_of, eval_graph, user_line
from diffsim.errors import ConcretizationError
from diffsim.numpy.rebind import rebound
from diffsim.ode.arguments import Times, in_double, of_doubles
from diffsim.ode.loops.erk import COUNTS
from diffsim.ode.problem import Problem
from diffsim.ode.result import OdeResult
from diffsim.ode.system import FLOAT, SCALAR
from diffsim.prims.elementwise import sub
from diffsim.prims.layout import concatenate
from diffsim.transforms import trace

from .joined import REACHED, at_times, joined, rows_of


class Operands:
    """Values of a solve that may be traced, taken out of it and put back in."""

    def __init__(self, problem, hybrid, args):
        times = problem.times
        self.problem, self.hybrid = problem, hybrid
        self.own = problem.leaves[len(hybrid.extras(problem.layout.n)):]
        self.graphs, captured = [], []
        for event in hybrid.events:
            graph, outer = _reset(problem.layout, event, args)
            self.graphs.append((graph, [x.dtype for x in outer]))
            captured += outer
        self.values = [times.t0, times.t1, problem.y0, times.t_eval, *self.own, *[part for x in captured for part in in_double(x)]]
        for item in hybrid.schedule:
            self.values += [item.time] + [x for x in (item.amount, item.flow and item.flow[1]) if x is not None]
        self.values += hybrid.stops

    def put(self, values):
        """The problem, the events and scheduled times, and the resets, with other values."""
        values = iter(values)
        times, old = Times(), self.problem
        times.t0, times.t1, y0, times.t_eval = (next(values) for _ in range(4))
        times.span, times.sigma = sub(times.t1, times.t0), sub(times.t_eval, times.t0)
        extras = old.leaves[:len(old.leaves) - len(self.own)]
        leaves = [*extras, *[next(values) for _ in self.own]]
        resets = [graph and _Reset(graph, [of_doubles(values, dtype) for dtype in kinds]) for graph, kinds in self.graphs]
        schedule = []
        for item in self.hybrid.schedule:
            time, amount = next(values), None if item.amount is None else next(values)
            flow = item.flow if item.flow is None or item.flow[1] is None else (item.flow[0], next(values))
            schedule.append(replace(item, time=time, amount=amount, flow=flow))
        problem = Problem(old.system, leaves, old.method, old.control, times, y0, old.layout, old.options)
        return problem, self.hybrid.at(schedule, list(values)), resets


class _Reset:
    """A reset as a graph with the values it takes from outside."""

    def __init__(self, graph, outer):
        self.graph, self.outer = graph, outer

    def __call__(self, t, y):
        return eval_graph(self.graph, t, y, *self.outer)[0]


def _reset(layout, event, args):
    """Graph of a reset and the outer values it captured; (None, []) without one."""
    if event.reset is None:
        return None, []
    run = rebound(event.reset)
    return trace(lambda t, y: [layout.flat(run(t, layout.argument(y), *args), f"the reset of {event.name}")],
                 [SCALAR, Aval((layout.n,), FLOAT)], verb="solve_ivp")


def solve_recalled(problem, hybrid, args, stretches):
    """The result of a solve in stretches while a program is traced, or for the members of a batch.

    ``stretches(problem, hybrid, resets)`` makes a run.
    """
    if problem.times.t_eval is None:
        raise ConcretizationError(
            f"{user_line()}: inside jit and vmap, solve_ivp needs t_eval and no dense_output: the number of accepted steps, and so the "
            f"shape of the result, is not known while the program is traced, and differs between members.")
    operands = Operands(problem, hybrid, args)
    m, n, rooms = int(problem.times.t_eval.shape[0]), problem.layout.n, [room(event, hybrid) for event in hybrid.events]

    def run(*values):
        made = stretches(*operands.put(values))
        made.run()
        out = [_filled(at_times(made)[1], m, n)]
        for chunks, many in zip(made.seen, rooms, strict=True):
            t, ys = joined(chunks)
            out += [_filled(t, many), _filled(ys, many, n)]
        return out
    avals = [Aval((m, n), FLOAT)] + [Aval(shape, FLOAT) for many in rooms for shape in ((many,), (many, n))]
    values = [x if hasattr(x, "dtype") else np.float64(x) for x in operands.values]
    assert all(aval_of(x).dtype == FLOAT for x in values)
    ys, *seen = eagerly(*values, fn=Eager("a solve with events", run, avals))
    return symbolic_result(problem, hybrid, ys, seen)


def symbolic_result(problem, hybrid, ys, seen=()):
    """The result in a program that is traced: what differs between runs is not told."""
    result = OdeResult(
        t=problem.times.t_eval, y=problem.layout.outputs(ys), sol=None, t_events=list(seen[::2]) if hybrid.given else None,
        y_events=[rows_of(problem.layout, x) for x in seen[1::2]] if hybrid.given else None, nfev=None, njev=None, nlu=None, status=0,
        message=REACHED, success=True, mesh=None)
    result.update({name: None for name in ("accepted", "rejected") if name in COUNTS})
    return result


def room(event, hybrid):
    """How many occurrences of an event there is room for."""
    return event.count or (hybrid.max_events if hybrid.limited else 0)


def _filled(x, m, n=None):
    """The first m rows, NaN where there are none."""
    have = int(x.shape[0])
    if have >= m:
        return x[:m] if n is None or len(x.shape) == 2 else np.zeros((0, n))
    rest = np.full(m - have if n is None else (m - have, n), np.nan)
    return concatenate(x, rest, axis=0) if have else rest
