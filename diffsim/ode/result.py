"""What ``solve_ivp`` returns: SciPy's fields and the mesh."""

import numpy as np


class OdeResult(dict):
    """Solution of an initial value problem; fields are attributes and keys, as SciPy's result.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
    y : ndarray, shape (n, n_t)
    sol : callable or None
        Dense output: ``sol(t)`` of shape (n,) or (n, n_t); differentiable.
    nfev, njev, nlu : int
        Evaluations of the right-hand side and of its Jacobian, and factorisations; None while a program is traced.
    status : int
        0: the end was reached; -1: the solve failed.
    message : str
    success : bool
    mesh : Mesh
        The accepted steps: ``solve_ivp(..., steps=sol.mesh)`` repeats them.
    accepted, rejected : int
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
        return f"<table>{''.join(rows)}</table>"


def _short(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}" if value.size > 8 else np.array2string(value, precision=6)
    return str(value)


def _escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
