"""Solves on steps noted before: what checks of gradients compare on."""

import contextlib
from contextvars import ContextVar

import numpy as np

from ..errors import InputError
from .record import Mesh

#: The :class:`Meshes` of whoever checks; None for everybody else.
CHECKED = ContextVar("diffsim_checked_meshes", default=None)


class Meshes:
    """Meshes of the solves of a function, in the order it makes them.

    Parameters
    ----------
    noted : list of Mesh, optional
        Steps to take; noted by the solves themselves if there are none.
    parts : int
        Each step is taken in so many equal ones.
    """

    def __init__(self, noted=None, parts=1):
        self.noted, self.parts, self.taken = noted, parts, None if noted is None else iter(noted)
        self.made = []

    def steps(self):
        """Steps of the next solve; None if it is to choose them."""
        if self.taken is None:
            return None
        mesh = next(self.taken, None)
        if mesh is None:
            raise InputError("a check of a gradient ran the function twice, and it made more solves the second time")
        return mesh if self.parts == 1 else Mesh(np.repeat(mesh.increments / self.parts, self.parts))

    def refuse(self):
        """Solves whose steps are not one mesh."""
        raise InputError("a gradient is checked on the steps of its solves, and those of a solve with events, stops, doses or inputs are "
                         "not one mesh: solve from one to the next, or compare with ds.testing.check_grads")

    def note(self, mesh):
        """Note the steps of a solve."""
        if mesh is None:
            raise InputError(
                "a gradient can be checked of functions whose solves are run, not recorded: check them before ds.jit, and in each member "
                "before ds.vmap")
        self.made.append(mesh)

    @contextlib.contextmanager
    def used(self):
        """Solves within note their steps here, or take those noted."""
        token = CHECKED.set(self)
        try:
            yield self
        finally:
            CHECKED.reset(token)
