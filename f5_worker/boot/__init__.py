"""What happens between the start of the container and the first line of the handler."""
