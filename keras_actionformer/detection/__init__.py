"""Logits and offsets in, detections in seconds out."""
