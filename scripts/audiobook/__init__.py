"""A book to an audiobook, through the worker: `python scripts/book.py`, docs/books.md."""
