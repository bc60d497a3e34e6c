"""Public sets to verified datasets: sources, download, ingest, audit, pair checks, contamination, synthetic rain."""
