"""First-order primitives: one file a family, one row a primitive."""

from . import (
    bessel,
    complexes,
    contract,
    convolution,
    distributions,
    elementwise,
    fourier,
    gammas,
    gather,
    layout,
    linalg,
    linalg_equation,
    linalg_factor,
    linalg_function,
    linalg_gauge,
    linalg_scalar,
    linalg_spectral,
    order,
    orthogonal,
    reduce,
    special,
    update,
)

__all__ = ["bessel", "complexes", "contract", "convolution", "distributions", "elementwise", "fourier", "gammas", "gather", "layout",
           "linalg", "linalg_equation", "linalg_factor", "linalg_function", "linalg_gauge", "linalg_scalar", "linalg_spectral", "order",
           "orthogonal", "reduce", "special", "update"]
