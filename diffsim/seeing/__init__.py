"""Seeing: what graphs hold, cost and look like, and what derivatives keep in memory."""

from ..codegen.fusion import cost
from ..core.graph import VIEWS
from .picture import draw
from .residuals import Residual, ResidualReport, kept_by, peak_of
from .stats import stats

VIEWS.update(cost=cost, stats=stats, draw=draw)

__all__ = ["Residual", "ResidualReport", "draw", "kept_by", "peak_of", "stats"]
