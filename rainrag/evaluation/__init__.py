"""Numbers under a protocol: metrics, scores, test sets, runs and results."""
