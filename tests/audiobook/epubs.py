"""EPUBs for tests: one of any pages, and a whole small book with what real ones have."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
    '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" '
    'xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="en"><head><title/><style>p {{color: red}}</style></head>'
)
MEDIA_TYPES = {".xhtml": "application/xhtml+xml", ".ncx": "application/x-dtbncx+xml", ".jpg": "image/jpeg"}


def page(body: str, attributes: str = "") -> str:
    return f"{HEAD.replace('{{', '{').replace('}}', '}')}<body {attributes}>{body}</body></html>"


def nav(items: str, landmarks: str = "") -> str:
    marks = f'<nav epub:type="landmarks"><ol>{landmarks}</ol></nav>' if landmarks else ""
    return page(f'<nav epub:type="toc"><h1>Contents</h1><ol>{items}</ol></nav>{marks}')


def ncx(points: str) -> str:
    return f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1"><navMap>{points}</navMap></ncx>'


def point(title: str, src: str, inside: str = "") -> str:
    label = f"<navLabel><text>{title}</text></navLabel>"
    return f'<navPoint id="n">{label}<content src="{src}"/>{inside}</navPoint>'


def jpeg(width: int = 60, height: int = 90) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"  # type: ignore[union-attr]
        shades = np.full((height, width, 3), (40, 90, 160), np.uint8)
        frame = av.VideoFrame.from_ndarray(shades, format="rgb24")
        container.mux(stream.encode(frame))  # type: ignore[union-attr, arg-type]
        container.mux(stream.encode(None))  # type: ignore[union-attr]
    return out.getvalue()


def write_epub(
    path: Path,
    pages: Mapping[str, str],
    *,
    spine: Sequence[str] | None = None,
    extra: Mapping[str, str | bytes] | None = None,
    metadata: str = "<dc:title>A Book</dc:title><dc:creator>Ann Author</dc:creator><dc:language>en-GB</dc:language>",
    properties: Mapping[str, str] | None = None,
    linear: Mapping[str, str] | None = None,
    guide: str = "",
) -> Path:
    """Write an EPUB of pages, files beside them, and properties in the manifest by file name."""
    files: dict[str, str | bytes] = {**pages, **(extra or {})}
    items = "".join(
        f'<item id="i{index}" href="{name}" media-type="{MEDIA_TYPES[Path(name).suffix]}"'
        f' properties="{(properties or {}).get(name, "")}"/>'
        for index, name in enumerate(files)
    )
    ids = {name: f"i{index}" for index, name in enumerate(files)}
    references = "".join(
        f'<itemref idref="{ids[name]}" linear="{(linear or {}).get(name, "yes")}"/>' for name in (spine or pages)
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'xmlns:opf="http://www.idpf.org/2007/opf" version="3.0"><metadata>{metadata}</metadata>'
        f"<manifest>{items}</manifest><spine>{references}</spine><guide>{guide}</guide></package>"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OEBPS/content.opf", package)
        for name, content in files.items():
            archive.writestr(f"OEBPS/{name}", content)
    return path
