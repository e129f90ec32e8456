"""Checks of derivatives: for users, and the laws every primitive keeps."""

from .checks import check_grads, check_primitive, taylor_test
from .laws import LAWS, Sample, samples

__all__ = ["LAWS", "Sample", "check_grads", "check_primitive", "samples", "taylor_test"]
