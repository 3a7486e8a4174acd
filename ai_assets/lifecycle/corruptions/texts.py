"""What happens to texts: another language, cut off, damaged by encodings, typed in haste."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from ai_assets.lifecycle.corruptions.words import OTHER_LANGUAGES
from ai_assets.lifecycle.features.text_numbers import language
from ai_assets.lifecycle.features.tokens import normal_text

# By severity.
_FOREIGN = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Share of words in the other language."""
_CUT = (0.2, 0.4, 0.6, 0.75, 0.9)
"""Share of characters that are lost at the end."""
_LOST = (0.0, 0.03, 0.08, 0.15, 0.25)
"""Share of characters that could not be read at all."""
_TYPOS = (0.03, 0.07, 0.12, 0.18, 0.25)
"""Share of letters with a slip."""
_UPPER = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Share of words in capitals."""
_WINDOW = (2.0, 3.0, 5.0, 9.0, 1000.0)
"""How many places a word may go astray."""
_READ_TWICE = 3
_UNREADABLE = "\ufffd"
_TOLD_BY = 200
"""Texts from which the language is guessed."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    key: row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    for row in _ROWS
    for place, key in enumerate(row)
}

Change = Callable[[str, int, Random], str]


def changed(items: Sequence[str], name: str, severity: int, seed: int) -> list[str]:
    """Corrupted texts; `corrupt` says of which arguments. A text that would vanish stays."""
    change = _foreign(items) if name == "wrong_language" else CORRUPTIONS[name]
    found = []
    for place, text in enumerate(items):
        random = Random(f"{name}/{seed}/{place}")
        found.append(normal_text(change(text, severity - 1, random)) or text)
    return found


def wrong_language(text: str, level: int, random: Random) -> str:
    """In another language: words of it stand where those of the text stood."""
    return _foreign([text])(text, level, random)


def truncation(text: str, level: int, random: Random) -> str:
    """Cut off: the end is missing, as where a field is too short."""
    return text[: max(round(len(text) * (1 - _CUT[level])), 1)]


def encoding_damage(text: str, level: int, random: Random) -> str:
    """Damaged by encodings: UTF-8 read as Windows-1252, once or twice, with characters lost."""
    read = text
    for _ in range(2 if level + 1 >= _READ_TWICE else 1):
        read = read.encode("utf-8").decode("cp1252", errors="replace")
    drawn = ((character, random.random()) for character in read)
    return "".join(_UNREADABLE if chance < _LOST[level] else kept for kept, chance in drawn)


def typos(text: str, level: int, random: Random) -> str:
    """Typed in haste: letters swapped, lost, doubled, or those of the keys beside."""
    found: list[str] = []
    for character in text:
        chance, kind = random.random(), random.randrange(4)
        slips = character.isalpha() and chance < _TYPOS[level]
        found.append(_slip(character, kind, found, random) if slips else character)
    return "".join(found)


def upper_case(text: str, level: int, random: Random) -> str:
    """Shouted: words in capitals."""
    return " ".join(
        word.upper() if random.random() < _UPPER[level] else word for word in text.split()
    )


def word_order(text: str, level: int, random: Random) -> str:
    """Jumbled: words a few places off, at last in any order."""
    words = text.split()
    places = {place: place + _WINDOW[level] * random.random() for place in range(len(words))}
    return " ".join(words[place] for place in sorted(places, key=places.__getitem__))


def slipped(text: str, random: Random) -> str:
    """The text with one slip, at a letter by chance; one without letters stays."""
    letters = [place for place, character in enumerate(text) if character.isalpha()]
    if not letters:
        return text
    place = random.choice(letters)
    before = list(text[:place])
    typed = _slip(text[place], random.randrange(4), before, random)
    return normal_text("".join(before) + typed + text[place + 1 :]) or text


def _slip(character: str, kind: int, before: list[str], random: Random) -> str:
    """What is typed for a letter; the one before may change with it."""
    if kind == 0 and before and before[-1].isalpha():
        last, before[-1] = before[-1], character
        return last
    if kind == 1:
        return ""
    if kind == 2:
        return character * 2
    near = _BESIDE.get(character.lower(), "")
    slipped = random.choice(near) if near else ""
    return slipped.upper() if character.isupper() else slipped


def _foreign(texts: Sequence[str]) -> Change:
    """What puts words in the place of others, in a language that most texts are not in."""
    told = Counter(language(text) for text in texts[:_TOLD_BY])
    other = min(OTHER_LANGUAGES, key=lambda code: told[code])
    words = OTHER_LANGUAGES[other]

    def change(text: str, level: int, random: Random) -> str:
        found = []
        for word in text.split():
            chance, said = random.random(), random.choice(words)
            found.append(_as_written(said, word) if chance < _FOREIGN[level] else word)
        return " ".join(found)

    return change


def _as_written(said: str, word: str) -> str:
    """A word with the capital and the mark at the end of the one that it replaces."""
    mark = "" if word[-1].isalnum() else word[-1]
    return (said.capitalize() if word[0].isupper() else said) + mark


CORRUPTIONS: dict[str, Change] = {
    change.__name__: change
    for change in (wrong_language, truncation, encoding_damage, typos, upper_case, word_order)
}
"""Each takes a text, a level from 0 to 4, and chance."""
