"""Detections in, scores and errors out."""
