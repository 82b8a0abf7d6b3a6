"""What a file says of its own size, checked before memory is asked for."""

# Features shrink to a third or a tenth; what is mostly zeros, perhaps to a hundredth.
_MOST_EXPANDED = 200
_ALWAYS_READ_BYTES = 2**26


def check_claim(claimed_bytes, stored_bytes):
    """Raises ValueError where contents are claimed that so few stored bytes hardly hold.

    Args:
      claimed_bytes: int, what the contents would take in memory.
      stored_bytes: int, what the file has for them.
    """
    if claimed_bytes > max(_ALWAYS_READ_BYTES, _MOST_EXPANDED * stored_bytes):
        raise ValueError(
            f"it claims {brief_bytes(claimed_bytes)} of numbers but stores "
            f"{brief_bytes(stored_bytes)} for them; if that is right, write it without compression"
        )


def brief_bytes(count):
    """A number of bytes as text, e.g. `"1.5 MB"`, however large."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count = count / 1000 if count < 10**15 else count // 1000
    return f"{count:.4g} TB" if count < 10**6 else "millions of TB"
