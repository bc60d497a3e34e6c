"""The version, for the package, the build and the results; imported without the rest."""

__version__ = "0.1.0"
