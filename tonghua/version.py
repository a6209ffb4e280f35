"""Version of the package. Imports nothing."""

__version__ = "0.3.0"
