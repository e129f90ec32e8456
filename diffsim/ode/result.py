"""What ``solve_ivp`` returns: SciPy's fields and the mesh."""

import numpy as np

from diffsim.ode.pictures import pictures

from .. import tree
from .pictures.sketch import sketch


class OdeResult(dict):
    """Solution of an initial value problem; fields are attributes and keys, as SciPy's result.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
    y : ndarray, shape (n, n_t)
        Or what y0 was made of, with the time axis last.
    sol : callable or None
        Dense output: ``sol(t)`` of shape (n,) or (n, n_t); differentiable.
    nfev, njev, nlu : int
        Evaluations of the right-hand side and of its Jacobian, and factorisations; None while a program is traced.
    status : int
        0: the end was reached; -1: the solve failed.
    message : str
    success : bool
    failure : str
        Of a solve that failed what stopped it, as ``SolveError.failure`` names it.
    mesh : Mesh
        The accepted steps: ``solve_ivp(..., steps=sol.mesh)`` repeats them.
    accepted, rejected : int
    attempts : Attempts
        Every step that was tried, after ``history=True``.
    stats : Stats or None
        What was kept for derivatives, and how many steps they take again; None where nothing was.
    t_events, y_events : None
    """

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"OdeResult has no field {name!r}; it has {', '.join(self)}") from None

    __setattr__ = dict.__setitem__
    __delattr__ = dict.__delitem__

    def __dir__(self):
        return list(self)

    def __repr__(self):
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:>{width}}: {_short(value)}" for name, value in self.items())

    def _repr_html_(self):
        cells = [(name, _escape(_short(value))) for name, value in self.items()]
        rows = [f"<tr><th style='text-align:left'>{name}</th><td><code>{text}</code></td></tr>" for name, text in cells]
        return f"<div style='display:flex;align-items:center'><table>{''.join(rows)}</table>{sketch(self)}</div>"

    def plot(self, components=None, *, names=None, ax=None, log=False, **line):
        """Draw components over time.

        Parameters
        ----------
        components : int, str, or sequence of them, optional
            Which, by number or by name as in the legend; default: all. Of complex ones the real and the imaginary part count apart.
        names : sequence of str, optional
            What to call them.
        ax : matplotlib axes, optional
            Where to draw; default: a new figure.
        log : bool or {"x", "y", "xy"}
            Which axes are logarithmic; True is "y".
        **line
            Of matplotlib's ``plot``.

        Returns
        -------
        matplotlib axes

        Notes
        -----
        With ``dense_output=True`` the curves are the interpolant's; otherwise straight lines join the outputs. Times of events are dotted.
        """
        return pictures.plot(self, components, names=names, ax=ax, log=log, **line)

    def plot_phase(self, i=0, j=1, *, ax=None, **line):
        """Draw component j against component i, by number or by name; returns the axes."""
        return pictures.plot_phase(self, i, j, ax=ax, **line)

    def plot_steps(self, *, axes=None):
        """Draw the sizes of the accepted steps over time; after ``solve_ivp(..., history=True)`` also the rejected ones and all errors.

        Returns
        -------
        ndarray of matplotlib axes
        """
        return pictures.plot_steps(self, axes=axes)


def _short(value):
    if isinstance(value, (dict, tuple)) and len(tree.leaves(value)):
        return str(tree.map(lambda x: _Text(_short(x)), value))
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}" if value.size > 8 else np.array2string(value, precision=6)
    return str(value)


class _Text(str):
    """Text that is shown as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
