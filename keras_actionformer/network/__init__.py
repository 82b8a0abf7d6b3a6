"""Features in, logits and offsets out; targets and loss of both."""
