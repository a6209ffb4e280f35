"""Version of the package. Imports nothing."""

__version__ = "0.1.0"
