"""A configuration in, a trained and scored run out; what is wrong with the data before it."""
