"""Stage directions: `*smiles*`, `[laughs]`, `(sighs)`, which tell an actor what to do and are no part of his lines.

Asterisks are also emphasis, and brackets an editor's words, `he [the king] said`: what stands inside a sentence is
spoken unless its first word is one that directions begin with; at the edge of a sentence more is taken for one.
"""

from __future__ import annotations

import re

_ENGLISH = """
applauds applause beams beat blinks blows blushes bows breathes breathing chuckle chuckles chuckling claps clapping
clears coughs cough coughing cries crying exhale exhales exhaling frowns gasp gasps gasping giggle giggles giggling
glances glares grin grins grinning groan groans growls grumbles grunts gulps hesitates hiccups hisses hugs hums humming
inhale inhales kisses laugh laughs laughing laughter leans looks moans mumbles murmurs mutters nods nodding pants paces
pause pauses pouts raises rolls scoffs screams shakes shouts shouting shrieks shrugs sigh sighs sighing silence sings
singing sits smile smiles smiling smirks snaps sneezes sniffle sniffles sniffs snickers snores snorts sobs sobbing
squeals stammers stands stares steps stutters swallows sweats takes thinks throws turns waves wheezes whimpers whisper
whispers whispered whispering whistles winks yawn yawns yawning yells
""".split()
_OTHERS = """
lacht lachend lächelt lächelnd seufzt seufzend flüstert flüsternd hustet weint nickt schweigt räuspert kichert
rit riant rires sourit soupire soupirs chuchote tousse pleure hausse
ríe risas riendo sonríe suspira susurra tose llora asiente
ri risos rindo sorri tosse chora sussurra
ride ridendo risate sorride sospira sussurra tossisce piange annuisce
""".split()
_WORDS = frozenset((*_ENGLISH, *_OTHERS))
# Tags of other speech models, `<laugh>`.
VOCAL_TAGS = frozenset("laugh laughs chuckle giggle sigh cough sniffle groan yawn gasp whisper cry sob".split())

# English words in -s and -ing with which emphasis, or an editor's addition, begins.
_NOT_AN_ACTION = frozenset(
    "always perhaps sometimes this his its yes besides afterwards nothing anything something everything during thus as "
    "is was has does less unless across towards us ours yours hers theirs plus minus thanks news bring bless us king "
    "thing spring string wing sing ring evening morning being going".split()
)
_FUNCTION_WORDS = frozenset(
    "the a an this that these those he she it they we i you his her its their our your my and or but of in on at to "
    "for from with by is was are were not no sic der die das ein eine le la les un une el los las il lo "
    "gli o os as".split()
)
_MAX_BRACKET_WORDS, _MAX_ACTION_WORDS = 5, 12
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?…:。！？»”\")\]*\n—–-])\s*$")
_CLOSES_SENTENCE = re.compile(r"\s*(?:$|[\n.!?…\"“«¿¡(\[*—–]|[A-ZÀ-ÞА-ЯΑ-Ω]|[^\x00-\u024f])")
_CONTEXT_CHARS = 8


def is_direction(content: str, text: str, begin: int, end: int, *, in_brackets: bool) -> bool:
    """Return True if `content`, marked off by `text[begin:end]`, is a stage direction."""
    words = _WORD.findall(content)
    if not words or re.search(r"[\d_/=@<>{}|\\]", content):
        return False
    first = words[0].lower()
    if first in _WORDS and (len(words) <= _MAX_ACTION_WORDS):
        return True
    at_edge = bool(
        _OPENS_SENTENCE.search(text[max(0, begin - _CONTEXT_CHARS) : begin])
        and _CLOSES_SENTENCE.match(text[end : end + _CONTEXT_CHARS])
    )
    if not at_edge or not words[0][0].islower() or re.search(r"[.!?,;:]", content):
        return False
    if in_brackets:
        return len(words) <= _MAX_BRACKET_WORDS and first not in _FUNCTION_WORDS
    is_verb = len(first) > 3 and first.endswith(("s", "ing")) and not first.endswith(("ss", "us"))
    return is_verb and len(words) <= _MAX_ACTION_WORDS and first not in _NOT_AN_ACTION
