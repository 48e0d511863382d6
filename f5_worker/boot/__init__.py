"""The steps between the start of the container and the start of the handler."""
