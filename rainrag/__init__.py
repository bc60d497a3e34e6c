"""RainRAG: distil the public deraining datasets, train one model for four rain types, score it under named protocols."""

__version__ = "0.1.0"
