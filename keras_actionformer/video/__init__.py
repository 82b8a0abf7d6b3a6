"""A video file in -> features with their timing out."""
