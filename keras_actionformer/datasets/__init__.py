"""A published data set in, our annotation and feature form out."""
