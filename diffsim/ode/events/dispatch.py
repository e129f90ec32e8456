"""How a solve with events, scheduled times or switches is run: stretch by stretch on numbers, or inside compiled programs."""

from dataclasses import replace

from diffsim.core import Tracer
from diffsim.errors import InputError, SolveError
from diffsim.numpy.rebind import rebound
from diffsim.ode.arguments import concrete
from diffsim.ode.loops.families import family_of
from diffsim.ode.tableaus import METHODS
from diffsim.transforms.forward import ForwardTrace
from diffsim.transforms.linear import LinearTrace

from .joined import at_times, finished
from .program import Loop, suits
from .recalled import room, solve_recalled, symbolic_result
from .segments import BecomesSymbolError, Stretches, traced


def _stopping():
    """Methods whose loops watch event functions."""
    return [name for name in METHODS if "ways" in family_of(name).forward.arguments]


def _reset(event, layout, args):
    """A user's reset on vectors, None without one."""
    run = rebound(event.reset)
    return event.reset and (lambda t, y: layout.flat(run(t, layout.argument(y), *args), f"the reset of {event.name}"))


def _check(problem, hybrid):
    """InputError where a solve of several stretches cannot do what was asked."""
    method, options, span = METHODS[problem.method], problem.options, concrete(problem.times.span)
    if "ways" not in family_of(problem.method).forward.arguments:
        raise InputError(f"solve_ivp: method {problem.method!r} does not stop at events and scheduled times; use one of "
                         f"{', '.join(_stopping())}")
    if options.steps is not None:
        raise InputError("solve_ivp: steps= are those of one solve without a break, and events, doses, tstops, jumping inputs and switches "
                         "break it at times of their own: leave it out, or solve from one to the next with the steps of each")
    if method.fixed:                                          # equal steps: errors count as none
        problem.control = replace(problem.control, max_step=min(problem.control.first_step, problem.control.max_step))
    if any(item.into is not None for item in hybrid.schedule) and span is not None and span < 0:
        raise InputError("solve_ivp: doses are given as time goes on, but t_span goes back in time")


def solve_in_stretches(problem, hybrid, args, dense_output):
    """The result of ``solve_ivp`` for a problem with events, scheduled times or switches."""
    _check(problem, hybrid)
    args = () if args is None else args if isinstance(args, tuple) else tuple(args) if isinstance(args, list) else (args,)
    if traced(problem, hybrid)[1]:
        return _inside_programs(problem, hybrid, args)
    keep = dense_output or problem.times.t_eval is None
    run = Stretches(problem, hybrid, [_reset(event, problem.layout, args) for event in hybrid.events], keep)
    error = None
    try:
        with problem.watched():
            run.run()
    except SolveError as reason:
        error = run.named(reason)
        if run.traced:
            raise error from None
    except BecomesSymbolError:
        return _inside_programs(problem, hybrid, args)
    return finished(run, error, dense_output)


def _orders(problem):
    """How many derivatives are being taken of a problem, as far as is known here: programs of second derivatives of loops are long."""
    def orders(x):
        count = 0
        while isinstance(x, Tracer):
            count, x = count + isinstance(x.owner, (ForwardTrace, LinearTrace)), x.primal
        return count
    return max(map(orders, (problem.y0, problem.times.t0, problem.times.t1, *problem.leaves)))


def _inside_programs(problem, hybrid, args):
    """The result while a program is traced, or for the members of a batch."""
    times = problem.times
    when = [times.t0, times.t1, times.t_eval, *hybrid.stops, *[item.time for item in hybrid.schedule]]
    if not hybrid.count and times.t_eval is not None and all(concrete(x) is not None for x in when):
        run = Stretches(problem, hybrid, [], False)           # its course is known: solves one after the other, in the program
        run.run()
        return symbolic_result(problem, hybrid, at_times(run)[1])
    rooms, resets = [room(event, hybrid) for event in hybrid.events], [_reset(event, problem.layout, args) for event in hybrid.events]
    if times.t_eval is not None and suits(problem, hybrid, rooms) and _orders(problem) < 2:
        ys, *seen = Loop(problem, hybrid, resets, rooms).run()
        return symbolic_result(problem, hybrid, ys, seen)
    return solve_recalled(problem, hybrid, args, lambda problem, hybrid, resets: Stretches(problem, hybrid, resets, False))
