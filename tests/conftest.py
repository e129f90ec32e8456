"""What tests share: random numbers seeded by the test's own id, so that each is repeatable alone and in any order."""

import zlib

import numpy as np
import pytest


@pytest.fixture
def rng(request):
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
