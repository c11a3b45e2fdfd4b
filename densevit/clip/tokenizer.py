"""Texts to numbers of tokens: pairs of bytes, as CLIP has them, by the package `tokenizers`.

The vocabulary is CLIP's own, that of a file of transformers, or one learned from texts.
"""

import gzip
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densevit.quoting import sentence

START, END = "<|startoftext|>", "<|endoftext|>"
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
END_OF_WORD = "</w>"
MERGES = "bpe_simple_vocab_16e6.txt.gz"  # CLIP's own file, of which the first are used
NUM_MERGES = 49152 - 256 - 2
# Packages that bring that file, and where it lies in them.
BRINGERS = {"open_clip": MERGES, "clip": MERGES, "mmseg": f"utils/{MERGES}"}


class TextTokenizer:
    """Texts -> numbers of tokens (N, L): a start, the text, its end, then zeros. `text` is JSON of `tokenizers`.

    ValueError for what is no such JSON, and for a vocabulary without CLIP's start and end.
    """

    def __init__(self, text: str):
        self.text = text
        self.ends = [self._inner.token_to_id(name) for name in (START, END)]
        if None in self.ends or self.ends[1] != self.size - 1:
            raise ValueError(f"a tokenizer of CLIP has {START} and, as its last token, {END}; this one has not")

    @cached_property
    def _inner(self) -> Any:
        from tokenizers import Tokenizer

        try:
            inner = Tokenizer.from_str(self.text)
        except Exception as error:  # of whatever kind the package raises
            raise ValueError(
                f"this is no tokenizer that the package tokenizers reads: {sentence(str(error))}"
            ) from None
        inner.no_truncation()
        inner.no_padding()
        return inner

    @property
    def size(self) -> int:
        """How many different tokens there are."""
        return self._inner.get_vocab_size()

    def __call__(self, texts: Sequence[str], *, context: int) -> Tensor:
        """Rows as long as the longest text needs, of `context` at most: what is longer is cut before its end."""
        start, end = self.ends
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        rows = [[start, *each.ids[: context - 2], end] for each in found]
        length = max(map(len, rows), default=0)
        return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.long).view(-1, length)


def find_tokenizer(path: str | Path | None = None) -> TextTokenizer:
    """The tokenizer of a file, or of the files beside a checkpoint or in its folder; of installed packages otherwise.

    Files are tokenizer.json, or vocab.json with merges.txt, of transformers, and CLIP's own bpe_simple_vocab_16e6.txt,
    also as .gz. ValueError where there is none.
    """
    if path is not None:
        path = Path(path)
        if path.name == "tokenizer.json" or path.name.startswith(MERGES.partition(".")[0]):
            return _read(path)
        folder = path if path.is_dir() else path.parent
        for name in ("tokenizer.json", "merges.txt", MERGES, MERGES.removesuffix(".gz")):
            if (folder / name).is_file():
                return _read(folder / name)
    for package, inside in BRINGERS.items():
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            if Path(folder, inside).is_file():
                return _read(Path(folder, inside))
    beside = f"beside {path}, or " if path is not None else ""
    raise ValueError(
        f"CLIP's vocabulary was not found: put {MERGES} or tokenizer.json {beside}install a package that brings it, "
        "such as open_clip_torch"
    )


def learn_tokenizer(texts: Iterable[str], *, merges: int) -> TextTokenizer:
    """A vocabulary of CLIP's kind with so many merged pairs, or fewer where there are not as many, from these texts."""
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        vocab_size=512 + merges, end_of_word_suffix=END_OF_WORD, initial_alphabet=_byte_letters(), show_progress=False
    )
    inner = _make({}, [])
    inner.train_from_iterator(texts, trainer)
    learned = [tuple(pair) for pair in json.loads(inner.to_str())["model"]["merges"]]
    return _from_merges(learned[:merges])


def _read(path: Path) -> TextTokenizer:
    try:
        if path.name == "tokenizer.json":
            return TextTokenizer(path.read_text(encoding="utf-8"))
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()[1:]
        pairs = [tuple(line.split()) for line in lines[:NUM_MERGES] if line]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("each line after the first must hold two pieces that are joined")
        return _from_merges(pairs)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _from_merges(merges: Sequence[tuple[str, str]]) -> TextTokenizer:
    """Tokens in CLIP's order: bytes, bytes that end a word, merged pairs, start and end."""
    letters = _byte_letters()
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges), START, END]
    return TextTokenizer(_make({token: i for i, token in enumerate(tokens)}, merges).to_str())


def _make(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    unknown = END if END in vocabulary else None
    bpe = models.BPE(
        vocab=vocabulary, merges=list(merges), end_of_word_suffix=END_OF_WORD, unk_token=unknown, fuse_unk=False
    )
    inner = Tokenizer(bpe)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    inner.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    split = pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True)
    # The split is by CLIP's pattern alone, not by that of GPT-2 as well.
    inner.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return inner


def _byte_letters() -> list[str]:
    """A letter that can be printed for each byte, in CLIP's order: those that can themselves, then the others."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
