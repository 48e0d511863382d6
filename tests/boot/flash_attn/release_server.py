"""A server like GitHub's releases on loopback, with network faults, and small real wheels for it."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

CHUNK = 1024

RIGHT = """
import math

def flash_attn_func(q, k, v, dropout_p=0.0, causal=False, scale=None):
    scale = scale or len(q[0]) ** -0.5
    out = []
    for row in q:
        weights = [math.exp(scale * sum(a * b for a, b in zip(row, key))) for key in k]
        out.append([sum(w * x[i] for w, x in zip(weights, v)) / sum(weights) for i in range(len(row))])
    return out

def flash_attn_varlen_func(q, k, v, cu_q, cu_k, max_q, max_k):
    out = []
    for (a, b), (c, d) in zip(zip(cu_q, cu_q[1:]), zip(cu_k, cu_k[1:])):
        out += flash_attn_func(q[a:b], k[c:d], v[c:d])
    return out
"""
WRONG = RIGHT.replace("scale = scale or len(q[0]) ** -0.5", "scale = 1.0")
SYMBOL = "undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcE"
RAISES = f"raise ImportError('flash_attn_2_cuda.so: {SYMBOL}')"
ABORTS = "import os; os.abort()"
HANGS = "import time; time.sleep(60)"
PADDING = "def pad_input(*_): ...\ndef unpad_input(*_): ...\n"


def make_wheel(code: str, version: str, tag: str, name: str = "flash_attn") -> bytes:
    """Return a wheel whose metadata, like the official ones, does not have the `+cu12torch2.4...` of the file name."""
    info = f"{name}-{version}.dist-info"
    files = {
        "flash_attn/__init__.py": f'__version__ = "{version}"\n{code}\n',
        "flash_attn/bert_padding.py": PADDING,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{info}/top_level.txt": "flash_attn\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text.encode())}"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # with a fixed date: the same bytes each time
    return data.getvalue()


@dataclass
class Asset:
    """A file and how it is served."""

    body: bytes
    status: int = 200
    breaks_after: int | None = None  # bytes of each answer; the connection is then closed
    max_breaks: int = 10**6
    pause_s: float = 0.0  # after each chunk
    resumable: bool = True
    announce: bool = True  # Content-Length


@dataclass
class Releases:
    """Assets by file name; `requests` has (name, Range) of each request."""

    url: str = ""
    assets: dict[str, Asset] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def count(self, name: str) -> int:
        return sum(1 for requested, _ in self.requests if requested == name)


@contextmanager
def serve() -> Iterator[Releases]:
    releases = Releases()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(self.path.rsplit("/", 1)[-1])
            releases.requests.append((name, self.headers.get("Range")))
            asset = releases.assets.get(name)
            if asset is None or asset.status != 200:
                self.send_error(asset.status if asset else 404)
                return
            with suppress(ConnectionError):
                self.send_asset(asset)

        def send_asset(self, asset: Asset) -> None:
            wanted = self.headers.get("Range")
            start = int(wanted[6:-1]) if wanted and asset.resumable else 0
            if start and start >= len(asset.body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(asset.body) - 1}/{len(asset.body)}")
            if asset.announce:
                self.send_header("Content-Length", str(len(asset.body) - start))
            self.end_headers()
            end = len(asset.body)
            if asset.breaks_after is not None and asset.max_breaks > 0:
                asset.max_breaks -= 1
                end = min(end, start + asset.breaks_after)
            for position in range(start, end, CHUNK):
                self.wfile.write(asset.body[position : min(position + CHUNK, end)])
                time.sleep(asset.pause_s)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    releases.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield releases
    finally:
        server.shutdown()
        server.server_close()
