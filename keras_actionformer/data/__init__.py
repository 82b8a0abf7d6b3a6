"""Annotation and feature files in, checked videos and batches out."""
