"""What tests of several modules use and is no fixture; fixtures are in the files `conftest.py`."""
