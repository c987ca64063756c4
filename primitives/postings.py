"""Postings: which words stand where in many texts, made with whole arrays instead of a word at a time.

A word is a run of letters and digits, lower case; in the index it is a hash of 64 bits. Words are numbered through a segment
in order, one number left out between texts, so that neighbours of one text, and they alone, have neighbouring numbers: one
sorted array of numbers per word answers which texts hold it, how often, and where a phrase stands.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LONGEST = 40  # unit: bytes; a longer run (base64, hashes) is no word, though it has its number
AT_ONCE = 1 << 20  # unit: bytes of text whose words are found in one go: what is made of them stays in the cache
MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd constants of multiplicative hashing


@dataclass(frozen=True, slots=True)
class Segment:
    """`tokens[ends[t]:ends[t + 1]]` are the numbers of the words equal to `terms[t]`, ascending.

    Text i has `lengths[i]` words, the first numbered `firsts[i]`, and the bytes `text[bounds[i]:bounds[i + 1]]`.
    """

    terms: np.ndarray
    ends: np.ndarray
    tokens: np.ndarray
    firsts: np.ndarray
    lengths: np.ndarray
    bounds: np.ndarray
    text: np.ndarray

    def of(self, term: np.uint64) -> np.ndarray:
        """The numbers of one word; none where it is unknown."""
        at = int(self.terms.searchsorted(term))  # a plain int would be compared as a float
        known = at < len(self.terms) and self.terms[at] == term
        return self.tokens[self.ends[at] : self.ends[at + 1]] if known else self.tokens[:0]

    def texts_of(self, tokens: np.ndarray) -> np.ndarray:
        """The text that each of these words stands in."""
        return self.firsts.searchsorted(tokens, "right") - 1

    def read(self, i: int) -> str:
        return bytes(self.text[self.bounds[i] : self.bounds[i + 1]]).decode()

    def save(self, folder: Path, n: int) -> None:
        import numpy as np

        for name, values in asdict(self).items():
            np.save(folder / f"{n}-{name}.npy", values)

    @classmethod
    def load(cls, folder: Path, n: int) -> Segment:
        """Mapped, not read: a search touches the pages of its words only."""
        import numpy as np

        names = cls.__dataclass_fields__
        mapped = {name: np.load(folder / f"{n}-{name}.npy", mmap_mode="r") for name in names}
        return cls(**{name: values.view(np.ndarray) for name, values in mapped.items()})  # memmaps are slow to slice


def segment(texts: pa.Array) -> Segment:
    """The postings of an array of strings; 2 GB of text at most."""
    import numpy as np

    hashes, kept, before = words(texts)
    owner = np.repeat(np.arange(len(texts)), np.diff(before))
    numbers = (np.arange(len(hashes)) + owner).astype(np.uint32)
    if not kept.all():
        hashes, numbers, owner = hashes[kept], numbers[kept], owner[kept]
    terms, ids = _numbered(hashes)
    ends = np.concatenate([[0], np.bincount(ids, minlength=len(terms)).cumsum()])
    firsts = (before[:-1] + np.arange(len(texts))).astype(np.uint32)
    lengths = np.bincount(owner, minlength=len(texts)).astype(np.uint32)
    bounds, raw = _bytes(texts)
    return Segment(terms, ends, numbers[_order(ids)], firsts, lengths, bounds - bounds[0], raw)


def hashes_of(text: str) -> list[np.uint64]:
    """The words of a query as `Segment.of` takes them."""
    import pyarrow as pa

    builder = pa.lib.StringBuilder()
    builder.append(text)
    hashes, kept, _ = words(builder.finish())
    return list(hashes[kept])


def words(texts: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hash of every word in order, whether it is short enough, number of words before each text and in all)."""
    import numpy as np

    bounds, raw = _bytes(_plain(texts))
    bounds = bounds - bounds[0]
    parts = [(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(1, np.int64))]
    n, first = 0, 0
    while first < len(texts):
        last = max(first + 1, int(bounds.searchsorted(bounds[first] + AT_ONCE, "right")) - 1)
        begin, end = int(bounds[first]), int(bounds[last])
        hashes, kept, ends = _words(raw[begin:end], bounds[first + 1 : last + 1] - begin)
        parts.append((hashes, kept, ends + n))
        n, first = n + len(hashes), last
    every, kept, before = map(np.concatenate, zip(*parts, strict=True))
    return every, kept, before


def _words(raw: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `words`, of neighbouring texts that end at `ends`; the number of words up to the end of each."""
    import numpy as np

    text = np.zeros(len(raw) + LONGEST + 8, dtype=np.uint8)  # room to read eight bytes at any place of a word
    np.take(_letters(), raw, out=text[1 : len(raw) + 1], mode="clip")
    inside = text[: len(raw) + 2] != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    inner = ends[:-1][np.diff(ends) > 0] + 1
    joined = inner[inside[inner] & inside[inner - 1]]  # between texts of which one ends and the next begins with a word
    edges = np.insert(edges, edges.searchsorted(joined).repeat(2), joined.repeat(2))
    starts, sizes = edges[::2], edges[1::2] - edges[::2]
    return _hashed(text, starts, sizes), sizes < LONGEST, starts.searchsorted(ends + 1)


def _hashed(text: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Words up to eight bytes as they are, longer ones mixed eight bytes at a time."""
    import numpy as np

    mask = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)
    eight = np.ndarray((len(text) - 7,), np.uint64, text.data, strides=(1,))
    hashes: np.ndarray = eight[starts] & mask[np.minimum(sizes, 8)]
    first, second = (np.uint64(c) for c in MIX)
    for i in range(8, LONGEST, 8):
        long = np.flatnonzero(sizes > i)
        part = eight[starts[long] + i] & mask[np.minimum(sizes[long] - i, 8)]
        hashes[long] = (hashes[long] * first) ^ ((part + np.uint64(i)) * second)
    return hashes


def _numbered(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the distinct hashes, sorted; the place of each hash among them)."""
    import numpy as np
    import pyarrow as pa

    # not pa.array(): it would import pandas
    held = pa.Array.from_buffers(pa.uint64(), len(hashes), [None, pa.py_buffer(hashes)]).dictionary_encode()
    found = np.frombuffer(held.dictionary.buffers()[1] or b"", np.uint64, len(held.dictionary))
    ids = np.frombuffer(held.indices.buffers()[1] or b"", np.int32, len(hashes))
    order = found.argsort()
    rank = np.empty(len(found), dtype=np.uint32)
    rank[order] = np.arange(len(found), dtype=np.uint32)
    return found[order], rank[ids]


def _order(ids: np.ndarray) -> np.ndarray:
    """The stable order of small numbers: by halves, since numpy sorts 16 bits by radix."""
    import numpy as np

    order = (ids & 0xFFFF).astype(np.uint16).argsort(kind="stable")
    high = (ids >> 16).astype(np.uint16)
    return order[high[order].argsort(kind="stable")] if high.any() else order


def _bytes(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(where each text begins and the last ends, the bytes from the first to the last)."""
    import numpy as np

    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)
    raw = np.frombuffer(data or b"", np.uint8)
    return bounds, raw[bounds[0] : bounds[-1]]


@cache
def _letters() -> np.ndarray:
    """For each byte the lower-case one, 0 where it parts words. Bytes of other scripts were seen to by `_plain`."""
    import numpy as np

    return np.array([b if b > 127 else ord(chr(b).lower()) * chr(b).isalnum() for b in range(256)], dtype=np.uint8)


def _plain(texts: pa.Array) -> pa.Array:
    """Texts beyond ASCII in lower case, blanks for what is neither letter nor digit there."""
    import pyarrow.compute as pc

    ascii = pc.string_is_ascii(texts)
    if pc.all(ascii).as_py() in (True, None):
        return texts
    other = pc.replace_substring_regex(pc.utf8_lower(texts.filter(pc.invert(ascii))), r"[^\x00-\x7F\pL\pN]+", " ")
    return pc.replace_with_mask(texts, pc.invert(ascii), other)
