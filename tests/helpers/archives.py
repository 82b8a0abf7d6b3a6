"""What tests of archives need."""

import tarfile

import pytest

# Debian 12 has 3.11.2, which `prepare` lets unpack nothing.
needs_safe_unpacking = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="needs Python 3.11.4 or newer to unpack archives"
)
