"""The bytes of a transcript's file: UTF-8 first, then what they certainly are, with a warning; else refused."""

from __future__ import annotations

import io
import zipfile

import pytest

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.encodings import decode_transcript
from f5_worker.transcripts.parse import parse_transcript

TEXTS = {
    "cp1252": (
        "Où est “Müller”?",
        "Der alte Leuchtturmwärter stieg jeden Abend über die Treppe. Schöne Grüße.",
        "El viejo farero subía la escalera cada noche. ¿Qué hacía allí, señor?",
        "Den gamle fyrvaktaren gick uppför trapporna varje kväll med en kopp te på ön.",
        "À bientôt, garçon! C’est déjà l’été.",
        "I said “no” – and that’s it…",
        "Meet me at the café.",
        "Gamli vitavörðurinn gekk upp stigann á hverju kvöldi. Það var þoka.",
        "O velho faroleiro subia as escadas. Não havia ninguém; a manhã é fria, não é?",
        "Il vecchio guardiano saliva ogni sera. Perché? Non c'è più città, però è così.",
    ),
    "cp1250": (
        "Stary latarnik każdego wieczoru wchodził po krętych schodach. Niósł małą lampę.",
        "Starý strážce majáku každý večer stoupal po točitých schodech. Nesl lampu.",
        "Az öreg világítótorony-őr minden este felment a csigalépcsőn, kis lámpát vitt.",
        "Stari čuvar svjetionika penjao se svake večeri uz zavojite stepenice.",
        "Bătrânul paznic al farului urca în fiecare seară scările. Avea o lampă mică în mână.",
    ),
    "cp1251": (
        "Утренний свет медленно поднимался над тихими холмами, и никто не проснулся.",
        "Старий доглядач маяка щовечора піднімався крученими сходами. Він ніс лампу.",
    ),
    "koi8_r": ("Утренний свет медленно поднимался над тихими холмами, и никто не проснулся.",),
    "cp1253": ("Ο γέρος φαροφύλακας ανέβαινε τη σκάλα κάθε βράδυ πριν από το ηλιοβασίλεμα.",),
    "cp1254": ("Yaşlı fener bekçisi her akşam gün batımından önce merdiveni çıkardı. Işık güzeldi.",),
    "cp1255": ("שומר המגדלור הזקן טיפס במדרגות בכל ערב לפני השקיעה.",),
    "cp1256": ("كان حارس المنارة العجوز يصعد الدرج كل مساء قبل غروب الشمس.",),
    "gbk": ("早晨的阳光慢慢地洒在安静的山丘上，没有人醒来看它。", "你好，世界。今天天气很好，我们去公园玩吧。"),
    "big5": ("早晨的陽光慢慢地灑在安靜的山丘上，沒有人醒來看它。", "你好，世界。今天天氣很好，我們去公園玩吧。"),
    "cp932": (
        "朝の光が静かな丘にゆっくりと広がり、誰も目を覚まさなかった。",
        "これは時刻の表、あれはピアノとソ",
        "こんにちは、世界。今日は良い天気です。",
    ),
    "euc_jp": ("朝の光が静かな丘にゆっくりと広がり、誰も目を覚まさなかった。",),
    "cp949": (
        "아침 햇살이 조용한 언덕 위로 천천히 퍼졌고 아무도 깨어나지 않았다.",
        "안녕하세요, 세계. 오늘은 날씨가 아주 좋습니다.",
    ),
}
SAMPLES = [(encoding, text) for encoding, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("encoding", "text"), SAMPLES)
def test_a_sentence_or_two_is_enough(encoding: str, text: str) -> None:
    decoded = decode_transcript(text.encode(encoding))
    assert decoded.text == text
    assert decoded.warning is not None
    assert decoded.warning.startswith("the transcript is not in UTF-8; it was read as ")


@pytest.mark.parametrize("text", [texts[0] for texts in TEXTS.values()])
def test_unicode_in_every_form(text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert decode_transcript(text.encode(encoding)) == (text, None)
    for encoding in ("utf-16-le", "utf-16-be"):
        decoded = decode_transcript(text.encode(encoding))
        assert decoded.text == text
        assert "without a mark" in str(decoded.warning)


@pytest.mark.parametrize(("encoding", "words"), SAMPLES)
def test_times_are_no_evidence(encoding: str, words: str) -> None:
    text = f"1\n00:00:01,000 --> 00:00:02,000\n{words}\n\n2\n00:00:03,000 --> 00:00:04,000\n{words}\n"
    transcript = parse_transcript(text.encode(encoding))
    assert [cue.text for cue in transcript.cues] == [words, words]
    assert transcript.warning is not None
    assert parse_transcript(text.encode()).warning is None
    assert parse_transcript(text).warning is None


@pytest.mark.parametrize("data", ["日本".encode("cp932"), "안녕".encode("cp949")])
def test_what_stays_doubtful_is_refused_with_what_it_may_be(data: bytes) -> None:
    with pytest.raises(SubtitlesUnreadable, match=r"not in UTF-8 and may be .* or .*; save it as UTF-8"):
        decode_transcript(data)


@pytest.mark.parametrize("data", [b"a\0b", b"\x00\x01\x02\x03\xff", bytes(range(256))])
def test_binary_data_is_refused(data: bytes) -> None:
    with pytest.raises(SubtitlesUnreadable, match=r"binary data|encoding that is not known"):
        decode_transcript(data)


@pytest.mark.parametrize("data", [b"\xff\xfea", b"\xef\xbb\xbfa\xff"])
def test_a_mark_that_is_not_true_is_told(data: bytes) -> None:
    with pytest.raises(SubtitlesUnreadable, match=r"has the mark of UTF-(8|16) and is not valid"):
        decode_transcript(data)


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, "application/vnd.oasis.opendocument.text" if name == "mimetype" else "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"{\\rtf1\\ansi The morning light\\par}", "an RTF document"),
        (archive("[Content_Types].xml", "word/document.xml"), "a DOCX document"),
        (archive("mimetype", "content.xml"), "an ODT document"),
        (archive("a.txt"), r"a compressed archive \(ZIP\)"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "a DOC document of Word"),
        (b"\n<!DOCTYPE html>\n<html><body>Hi</body></html>", "an HTML page"),
    ],
)
def test_documents_are_refused_by_their_name(data: bytes, name: str) -> None:
    with pytest.raises(SubtitlesUnreadable, match=rf"the transcript is {name}; save it as plain text \(UTF-8\)"):
        decode_transcript(data)


def test_nothing_is_nothing() -> None:
    assert decode_transcript(b"") == ("", None)
