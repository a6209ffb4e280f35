"""Version of the package. Imports nothing."""

__version__ = "0.2.0"
