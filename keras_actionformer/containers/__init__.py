"""Files that hold arrays: NumPy's, HDF5's and zip archives of strangers, checked, then read."""
