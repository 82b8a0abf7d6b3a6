"""A model to and from a folder, a hub, other people's checkpoints."""
