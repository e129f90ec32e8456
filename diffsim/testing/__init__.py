"""Checks of derivatives: for users, and the laws every primitive keeps."""

from .checks import check_grads, check_primitive, taylor_test
from .coverage import slot_table
from .laws import EXACT_LAWS, LAWS, Sample, samples, variants

__all__ = ["EXACT_LAWS", "LAWS", "Sample", "check_grads", "check_primitive", "samples", "slot_table", "taylor_test", "variants"]
