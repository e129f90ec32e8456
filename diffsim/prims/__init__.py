"""First-order primitives: one file a family, one row a primitive."""

from . import (
    contract,
    elementwise,
    fourier,
    gather,
    layout,
    linalg,
    linalg_factor,
    linalg_function,
    linalg_gauge,
    linalg_scalar,
    linalg_spectral,
    reduce,
    update,
)

__all__ = ["contract", "elementwise", "fourier", "gather", "layout", "linalg", "linalg_factor", "linalg_function", "linalg_gauge",
           "linalg_scalar", "linalg_spectral", "reduce", "update"]
