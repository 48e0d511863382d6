"""scripts/audiobook/markup.py: pages that are not well-formed, in any encoding, and those made to harm."""

from __future__ import annotations

import pytest

from scripts.audiobook.markup import attribute, parse_document, parse_xml, text_of
from scripts.audiobook.model import BookError


def read(data: bytes) -> str:
    root = parse_document(data)
    assert root is not None
    return text_of(root)


@pytest.mark.parametrize(
    "data",
    [
        b"<html><body><p>Salt & pepper <br> caf\xc3\xa9</p> <p>No end",
        b'<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x "y">]><html><p>Salt & pepper caf\xc3\xa9 <p>No end</html>',
        b'<?xml version="1.0" encoding="iso-8859-1"?><html><body>Salt &amp; pepper caf\xe9 <b>No</b> end</body></html>',
        b"<html><head><meta charset='windows-1252'></head><body>Salt & pepper caf\xe9 <b>No end</body>",
        b"Salt &amp; pepper caf&eacute; No end",
        "<html><body>Salt &amp; pepper café No end</body></html>".encode("utf-16"),
        b"\xef\xbb\xbf<html xmlns='http://www.w3.org/1999/xhtml'><p>Salt &amp; pepper caf&#233; No&nbsp;end</p></html>",
    ],
)  # fmt: skip
def test_what_readers_show_is_read(data: bytes) -> None:
    assert " ".join(read(data).split()) == "Salt & pepper café No end"


def test_nothing_is_expanded_or_fetched() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE html [<!ENTITY l0 "ha">{levels}]><html><body>a&l9;b</body></html>'
    assert len(read(bomb.encode())) < 100
    outside = '<!DOCTYPE html [<!ENTITY f SYSTEM "file:///etc/passwd">]><html><body>a&f;b</body></html>'
    assert "root" not in read(outside.encode())
    with pytest.raises(BookError):
        parse_xml(bomb.encode())


@pytest.mark.parametrize("data", [b"", b"   ", b"<?xml version='1.0'?>"])
def test_nothing(data: bytes) -> None:
    assert parse_document(data) is None
    with pytest.raises(BookError, match="not XML"):
        parse_xml(data)


def test_an_attribute_of_any_namespace() -> None:
    strict = parse_document(b"<html xmlns:epub='u'><body><p epub:type='x' xml:lang='de'>a</p></body></html>")
    loose = parse_document(b"<html><body><p epub:type='x' xml:lang='de'>a & b</p></body></html>")
    for root in (strict, loose):
        assert root is not None
        paragraph = root[-1][0]
        assert (attribute(paragraph, "type"), attribute(paragraph, "lang"), attribute(paragraph, "id")) == (
            "x",
            "de",
            "",
        )
