"""First-order primitives: one file a family, one row a primitive."""

from . import (
    complexes,
    contract,
    elementwise,
    fourier,
    gather,
    layout,
    linalg,
    linalg_equation,
    linalg_factor,
    linalg_function,
    linalg_gauge,
    linalg_scalar,
    linalg_spectral,
    linalg_values,
    reduce,
    update,
)

__all__ = ["complexes", "contract", "elementwise", "fourier", "gather", "layout", "linalg", "linalg_equation", "linalg_factor",
           "linalg_function", "linalg_gauge", "linalg_scalar", "linalg_spectral", "linalg_values", "reduce", "update"]
