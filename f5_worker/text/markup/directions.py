"""Stage directions: `*smiles*`, `[laughs]`, `(sighs)`, which tell an actor what to do and are no part of his lines.

Asterisks are also emphasis, and brackets an editor's words, `he [the king] said`: what stands inside a sentence is
spoken unless its first word is one that directions begin with; at the edge of a sentence more is taken for one.
"""

from __future__ import annotations

import re
from typing import Literal

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
# Tags of other speech models, `<laugh>`.
VOCAL_TAGS = frozenset("laugh laughs chuckle giggle sigh cough sniffle groan yawn gasp whisper cry sob".split())
_WORDS = frozenset((*_ENGLISH, *_OTHERS, *VOCAL_TAGS))

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
_PRONOUNS = frozenset(("he", "she", "they", "it"))  # *He smiles.*
_VERB = re.compile(r"(?<![su])s$|ing$")
_MAX_BRACKET_WORDS, _MAX_ACTION_WORDS, _MAX_ROUND_WORDS = 5, 12, 3
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NO_WORDS = re.compile(r"[\d_/=@<>{}|\\]")
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?…:。！？»”\")\]*\n—–-])\s*$")
_CLOSES_SENTENCE = re.compile(r"\s*(?:$|[\n.!?…\"“«¿¡(\[*—–]|[A-ZÀ-ÞА-ЯΑ-Ω]|[^\x00-\u024f])")
_AFTER_COMMA, _BEFORE_COMMA = re.compile(r"[,;]\s*$"), re.compile(r"\s*[,;]")
_CONTEXT_CHARS = 8


def is_direction(content: str, text: str, begin: int, end: int, *, kind: Literal["stars", "square", "round"]) -> bool:
    """Return True if `content` is a stage direction.

    Args:
        begin, end: what `text[begin:end]` is with the signs around it.
        kind: what these signs are.
    """
    words = [word.lower() for word in _WORD.findall(content)]
    if not words or len(words) > _MAX_ACTION_WORDS or _NO_WORDS.search(content):
        return False
    before, after = text[max(0, begin - _CONTEXT_CHARS) : begin], text[end : end + _CONTEXT_CHARS]
    opens, closes = bool(_OPENS_SENTENCE.search(before)), bool(_CLOSES_SENTENCE.match(after))
    is_small = content.lstrip()[:1].islower()
    if words[0] in _WORDS or (words[0] in _PRONOUNS and not _WORDS.isdisjoint(words[1:2])):
        opens, closes = opens or bool(_AFTER_COMMA.search(before)), closes or bool(_BEFORE_COMMA.match(after))
        if kind == "stars":
            return (opens and closes) or (is_small and (opens or closes))
        return kind == "square" or (len(words) <= _MAX_ROUND_WORDS and (opens or closes))
    if not (opens and closes and is_small) or kind == "round" or re.search(r"[.!?,;:]", content):
        return False
    if kind == "square":
        return len(words) <= _MAX_BRACKET_WORDS and words[0] not in _FUNCTION_WORDS
    return len(words[0]) > 3 and bool(_VERB.search(words[0])) and words[0] not in _NOT_AN_ACTION
