"""Runs and detections in, pictures and pages out."""
