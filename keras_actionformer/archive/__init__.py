"""Very many files in, detections of all in a folder out, by Apache Beam (extra `beam`)."""
