"""Split texts into words, in the form in which the database indexes and searches them.

PostgreSQL's own parser takes texts apart as documents of the web: of ``path/to/error.log``,
``<think>`` and ``4e5`` it makes files, tags and numbers, whose parts are not found. So it is
given words alone, with blanks between them: runs of letters, digits and marks in lower case.
Where a script is written without blanks, such as Chinese, Japanese and Thai, each character is a
word, and so is each emoji: a longer piece is found as a phrase.

A tsvector holds 16,383 positions, 255 of each word, and 1 MB, and drops words of 2 KB. Longer
texts are split into parts within all of these, which overlap by a phrase, and longer words into
pieces that stand one after the other. So nothing of a text is lost.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

PHRASE_MAX = 30  # words of a phrase; parts overlap by one less
PIECE_CHARS = 100  # of a longer word; at most 400 bytes
# Of a part. The database allows four times the bytes, for the positions need some, too.
WORDS_MAX, BYTES_MAX, TIMES_MAX = 12_000, 250_000, 250
# A letter before a word that begins with a digit. Without it the parser reads 4e5f as a number
# and a word, and 4e5 as a number.
NUMBER = "\u01c3"
# Languages whose stemmers change the end of a word alone, but for accents. Of the others, words
# of any beginning may be one lexeme.
STEMMED_AT_THE_END = frozenset(
    (
        *("armenian", "basque", "catalan", "danish", "dutch", "english", "estonian"),
        *("finnish", "french", "german", "greek", "hungarian", "italian"),
        *("lithuanian", "norwegian", "portuguese", "romanian", "russian", "serbian"),
        *("spanish", "swedish", "turkish"),
    )
)


def _marks() -> str:
    """Return the combining marks as ranges of a character class; ``\\w`` has none of them."""
    planes = (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0))
    marks = [
        code for code in planes if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me")
    ]
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


MARK = _marks()
# Han, Hiragana and Katakana, Thai, Lao, Myanmar and Khmer, and emoji.
SINGLE = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U000323af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u2600-\u27bf\U0001f000-\U0001faff"
)
WORD = re.compile(
    rf"[^\W_{SINGLE}]+(?:[{MARK}]+[^\W_{SINGLE}]*)*|(?![{MARK}])[{SINGLE}][{MARK}]*"
)
ASCII_WORD = re.compile("[a-z0-9]+")
VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def words_of(text: str) -> list[str]:
    """Return the words of a text in their order, each as it is compared."""
    if text.isascii():  # three times as fast, and the rule
        found = ASCII_WORD.findall(text.lower())
        if len(max(found, key=len, default="")) <= PIECE_CHARS:
            return found
    else:
        found = WORD.findall(text)
    return [piece for word in found for piece in pieces_of(word)]


def spans_of(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words of a text as ``words_of`` has them, with where each begins and ends.

    The pieces of a long word have the place of the whole.
    """
    for found in WORD.finditer(text):
        for piece in pieces_of(found[0]):
            yield piece, found.start(), found.end()


def pieces_of(word: str) -> Iterator[str]:
    """Yield a word of ``WORD`` as it is compared, or the pieces of a long one."""
    if word.isascii():
        plain = word.lower()
    else:
        plain = unicodedata.normalize("NFC", VARIATION.sub("", word).lower())
    if len(plain) <= PIECE_CHARS:
        yield plain
        return
    for start in range(0, len(plain), PIECE_CHARS):
        yield plain[start : start + PIECE_CHARS]


def parts_of(text: str, language: str = "simple") -> Iterator[str]:
    """Yield the texts to make tsvectors of, each of one part; one empty text without words."""
    words = words_of(text)
    if len(words) <= TIMES_MAX or _fits_one_part(words, language):
        yield to_document(words)
        return
    part: list[str] = []
    counts: Counter[str] = Counter()
    size, fresh = 0, 0  # bytes of the part, and words that no part before has
    for word in words:
        key = _counted_as(word, language)
        length = len(word.encode()) + 1
        is_full = (
            len(part) >= WORDS_MAX
            or size + length > BYTES_MAX
            or counts[key] >= TIMES_MAX
        )
        if is_full and fresh:
            yield to_document(part)
            part = part[-(PHRASE_MAX - 1) :]
            counts = Counter(_counted_as(each, language) for each in part)
            size, fresh = sum(len(each.encode()) + 1 for each in part), 0
        part.append(word)
        counts[key] += 1
        size, fresh = size + length, fresh + 1
    if fresh:
        yield to_document(part)


def _fits_one_part(words: list[str], language: str) -> bool:
    """Return whether one part holds all the words, as nearly all texts of people do.

    The words are counted at once, which takes a tenth of the time of filling parts.
    """
    if len(words) > WORDS_MAX:
        return False
    counts = Counter(words)
    if sum((len(word.encode()) + 1) * n for word, n in counts.items()) > BYTES_MAX:
        return False
    if language != "simple":
        by_lexeme: Counter[str] = Counter()
        for word, n in counts.items():
            by_lexeme[_counted_as(word, language)] += n
        counts = by_lexeme
    return max(counts.values()) <= TIMES_MAX


def _counted_as(word: str, language: str) -> str:
    """Return what all words have in common that may be one lexeme."""
    if language == "simple":
        return word
    return _beginning(word[:2]) if language in STEMMED_AT_THE_END else ""


@lru_cache(maxsize=100_000)
def _beginning(letters: str) -> str:
    """Return the beginning of a word without its accents."""
    plain = unicodedata.normalize("NFD", letters.replace("ß", "ss"))
    return "".join(each for each in plain if not unicodedata.combining(each))[:2]


def to_document(words: Iterable[str]) -> str:
    """Return the words as the text that ``to_tsvector`` reads, one lexeme for each at most."""
    return " ".join(map(to_token, words))


def to_token(word: str) -> str:
    """Return the word as PostgreSQL's parser reads it as one word."""
    return NUMBER + word if "0" <= word[0] <= "9" else word
