"""The same words and times in every form that people have them in."""

from __future__ import annotations

import json

from f5_worker.transcripts.cues import Cue

WORDS = (
    (0.4, 5.85, "The old keeper climbed the winding stairs every evening."),
    (6.45, 12.1, "He carried a small brass lamp, a cup of tea and a book."),
    (12.7, 17.3, "Some nights the fog was so thick."),
)
CUES = tuple(Cue(start, end, words, None) for start, end, words in WORDS)


def clock(seconds: float, fraction: str = ".", *, hours: bool = True, digits: int = 3) -> str:
    """Return a time as `00:00:06.450`."""
    units = round(seconds * 10**digits)
    minutes, rest = divmod(units, 60 * 10**digits)
    written = f"{minutes % 60:02d}:{rest // 10**digits:02d}{fraction}{rest % 10**digits:0{digits}d}"
    return f"{minutes // 60:02d}:{written}" if hours else written


def _lines(form: str) -> str:
    return "\n".join(
        form.format(
            n=number,
            words=words,
            start=clock(start),
            end=clock(end),
            comma_start=clock(start, ","),
            comma_end=clock(end, ","),
            short_start=clock(start, hours=False),
            short_end=clock(end, hours=False),
            lrc=clock(start, hours=False, digits=2),
            ass_start=clock(start, digits=2)[1:],
            ass_end=clock(end, digits=2)[1:],
            s=start,
            e=end,
            tenths_s=round(start * 10),
            tenths_e=round(end * 10),
            frames_s=round(start * 20),
            frames_e=round(end * 20),
            ms_s=round(start * 1_000),
            ms_e=round(end * 1_000),
            ticks_s=round(start * 1e7),
            ticks_e=round(end * 1e7),
            dur=round(end - start, 3),
        )
        for number, (start, end, words) in enumerate(WORDS, start=1)
    )


def _ttml(attributes: str, namespace: str = "http://www.w3.org/ns/ttml") -> str:
    paragraphs = _lines(f"<p {attributes}>{{words}}</p>")
    return (
        f'<?xml version="1.0" encoding="UTF-16"?>\n<tt xmlns="{namespace}" xmlns:ttp="{namespace}#parameter" '
        f'ttp:tickRate="10000000" ttp:frameRate="20">\n<head/>\n<body>\n<div>\n{paragraphs}\n</div>\n</body>\n</tt>'
    )


SRT = _lines("{n}\n{comma_start} --> {comma_end}\n{words}\n")
_ASS_HEAD = "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nStyle: Default,Arial\n\n[Events]\n"
_SEGMENTS = [{"id": n, "start": start, "end": end, "text": f" {words}"} for n, (start, end, words) in enumerate(WORDS)]
_WHISPER_CPP = [
    {
        "timestamps": {"from": clock(start, ","), "to": clock(end, ",")},
        "offsets": {"from": round(start * 1_000), "to": round(end * 1_000)},
        "text": words,
    }
    for start, end, words in WORDS
]
_WORD_TIMES = [
    {"word": f" {word}", "start": round(start + n * (end - start) / len(words.split()), 3), "end": round(
        start + (n + 1) * (end - start) / len(words.split()), 3)}
    for start, end, words in WORDS
    for n, word in enumerate(words.split())
]  # fmt: skip

EXACT = {
    "srt": SRT,
    "srt in a code fence": f"```srt\n{SRT}\n```",
    "srt in a chat's answer": f"Here are your subtitles:\n\n```srt\n{SRT}\n```\n\nAnything else?",
    "srt with odd arrows": SRT.replace("-->", "-- >"),
    "srt with a sign for an arrow": SRT.replace("-->", "→"),
    "srt with escaped arrows": SRT.replace("-->", "--&gt;"),
    "srt with full-width colons": SRT.replace(":", "："),
    "srt with full-width digits": SRT.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
    "srt with spaces in times": SRT.replace(",", " , ").replace("lamp , ", "lamp, "),
    "srt with colons for fractions": SRT.replace(",400", ":400").replace(",850", ":850"),
    "srt with marks of direction": SRT.replace("00:00:", "\u200e00:00:"),
    "srt behind an invisible mark": f"\u200e{SRT}",
    "srt with points behind numbers": SRT.replace("1\n00", "1.\n00").replace("\n3\n", "\n3.\n"),
    "srt on one line each": _lines("{n}\n{comma_start} --> {comma_end} {words}\n"),
    "srt with two numbers": SRT.replace("1\n00", "1\n1\n00").replace("\n3\n", "\n3\n3\n"),
    "vtt": "WEBVTT\n\n" + _lines("{start} --> {end}\n{words}\n"),
    "two vtt joined": "WEBVTT\n\n" + _lines("{start} --> {end}\n{words}\n\nWEBVTT\nX-TIMESTAMP-MAP=LOCAL:0\n"),
    "sbv": _lines("{start},{end}\n{words}\n"),
    "subviewer": "[INFORMATION]\n[TITLE]A\n[SUBTITLE]\n" + _lines("{start},{end}\n{words}\n"),
    "whisper's output": _lines("[{short_start} --> {short_end}]  {words}"),
    "whisper's whole output": "Detecting language using up to the first 30 seconds.\nDetected language: English\n"
    + _lines("[{short_start} --> {short_end}]  {words}"),
    "whisper's output on one line": _lines("[{short_start} --> {short_end}]  {words}").replace("\n", " "),
    "whisper.cpp's whole output": "whisper_init_from_file: loading\nsystem_info: n_threads = 4\n\n"
    + _lines("[{start} --> {end}]   {words}")
    + "\n\nwhisper_print_timings: total time = 1 ms\n",
    "whisper.cpp's output": _lines("[{start} --> {end}]   {words}"),
    "faster-whisper's output": _lines("[{s}s -> {e}s] {words}"),
    "one line each": _lines("{start} --> {end} {words}"),
    "premiere": _lines("00;00;{frames_s:02d};00 - 00;00;{frames_e:02d};00\n{words}\n").replace(
        "00;00;08;00 - 00;00;117;00", "00;00;00;12 - 00;00;05;25"
    ).replace("00;00;129;00 - 00;00;242;00", "00;00;06;13 - 00;00;12;03"
    ).replace("00;00;254;00 - 00;00;346;00", "00;00;12;21 - 00;00;17;09"),
    "whisper's json": json.dumps({"text": "x", "segments": _SEGMENTS, "language": "en"}),
    "a list of segments": json.dumps(_SEGMENTS, indent=1),
    "json lines": "\n".join(map(json.dumps, _SEGMENTS)),
    "words with times": json.dumps({"text": "x", "words": _WORD_TIMES}),
    "whisper.cpp's json": json.dumps({"transcription": _WHISPER_CPP}),
    "hugging face's json": json.dumps({"chunks": [{"timestamp": [s, e], "text": words} for s, e, words in WORDS]}),
    "assemblyai's json": json.dumps(
        {"utterances": [{"start": round(s * 1e3), "end": round(e * 1e3), "text": words} for s, e, words in WORDS]}
    ),
    "youtube's json": json.dumps(
        {"events": [{"tStartMs": s * 1e3, "dDurationMs": (e - s) * 1e3, "segs": [{"utf8": w}]} for s, e, w in WORDS]}
    ),
    "a list with durations": json.dumps([{"text": w, "start": s, "duration": e - s} for s, e, w in WORDS]),
    "ass": _ASS_HEAD
    + "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    + _lines("Dialogue: 0,{ass_start},{ass_end},Default,,0,0,0,,{{\\i1}}{words}"),
    "ass with few columns": _ASS_HEAD
    + "Format: Start, End, Text\n"
    + _lines("Dialogue: {ass_start},{ass_end},{words}"),
    "ass on two layers": _ASS_HEAD
    + _lines("\n".join(f"Dialogue: {layer},{{ass_start}},{{ass_end}},Default,,0,0,0,,{{words}}" for layer in "01")),
    "ttml": _ttml('begin="{start}" end="{end}"'),
    "ttml with durations": _ttml('begin="{s}s" dur="{dur}s"'),
    "ttml in ticks": _ttml('begin="{ticks_s}t" end="{ticks_e}t"'),
    "ttml in frames": _ttml('begin="{frames_s}f" end="{frames_e}f"'),
    "dfxp": _ttml('begin="{start}" end="{end}"', "http://www.w3.org/2006/10/ttaf1"),
    "microdvd": "{1}{1}20\n" + _lines("{{{frames_s}}}{{{frames_e}}}{words}"),
    "sami": "<SAMI>\n<BODY>\n"
    + _lines("<SYNC Start={ms_s}><P Class=ENCC>{words}\n<SYNC Start={ms_e}><P Class=ENCC>&nbsp;")
    + "\n</BODY>\n</SAMI>",
}  # fmt: skip

# Forms that say when words begin only, and one that rounds.
STARTS = {
    "lrc": "[ar:A singer]\n" + _lines("[{lrc}]{words}"),
    "lrc with times of words": _lines("[{lrc}] <{lrc}>{words}"),
    "copied panel": "0:00\nThe old keeper climbed the winding stairs every evening.\n0:06\nHe carried a small brass "
    "lamp,\na cup of tea and a book.\n0:12\n12 seconds\nSome nights the fog was so thick.\n",
    "copied panel, glued": "0:00The old keeper climbed the winding stairs every evening.\n0:06He carried a small brass "
    "lamp, a cup of tea and a book.\n0:12Some nights the fog was so thick.\n",
    "copied panel on one line": "0:00 The old keeper climbed the winding stairs every evening. 0:06 He carried a small "
    "brass lamp, a cup of tea and a book. 0:12 Some nights the fog was so thick.",
    "times in brackets": _lines("({lrc}) {words}"),
    "tmp": "00:00:00:The old keeper climbed the winding stairs every evening.\n00:00:06:He carried a small brass lamp, "
    "a cup of tea and a book.\n00:00:12:Some nights the fog was so thick.\n",
    "mpl2": _lines("[{tenths_s}][{tenths_e}] {words}"),
}
