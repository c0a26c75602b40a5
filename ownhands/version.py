"""The one place of the version, and of the name under which it is told to clients."""
__version__ = "0.1.0"
PRODUCT = f"OwnHands/{__version__}"  # RFC 9110 10.2.4
