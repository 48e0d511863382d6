"""The HTTP server: load the model, then serve HTTP (f5_worker/http/); `model_cache_init.py serve` ends in it."""

from __future__ import annotations

from f5_worker.http.server import main

if __name__ == "__main__":
    main()
