"""Who acts in these tests, and what they need."""

import os

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as several users")
