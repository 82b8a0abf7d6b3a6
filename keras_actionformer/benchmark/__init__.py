"""How fast all this is on this machine."""
