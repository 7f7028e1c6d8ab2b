"""The plan of a stream: which documents it shows, in which order and in which rows.

Invariants: the plan is a function of the corpus and of the arguments; the conditions of a trial
have the same monolingual rows at the same positions, and the same halves in their parallel rows;
a further condition changes nothing in the others; held-out documents are in no plan.

A *tape* is documents one behind the other, each followed by one closing token (end-of-text, or the
separator inside a bridge document), cut into rows of at most L tokens.

- Base stream: all documents that are not held out once, in seeded order; the rows are shuffled.
- Rows are shuffled within windows of their tape, whose documents are in random order already: so
  the rows that are packed together need few documents (a shuffle of all rows made every document
  be read 2.6 to 3 times).
- Planted documents (``corpus/interventions.py``) stand in the monolingual rows once each, whatever
  share of the text these hold and however often they repeat it: at seeded places, evenly over all
  units, and never as the last one, which may be cut. A base stream with planted documents has
  exactly as many rows as the base consumes, and is filled as the monolingual rows of a trial are,
  because of another one a training may read only a part. They are not replayed.
- Trial streams: exactly as many rows as the trial consumes, so the trial is one epoch. The
  replayed rows hold documents of the base language in seeded order. The parallel rows are filled as
  far as possible with a seeded subset of the pairs; a language with too few pairs gets whole passes
  over all of them, as many as fit, and the rows left over become monolingual. Monolingual documents
  follow in seeded order, anew in each further pass, until their rows are full; the last one may be
  cut. Which positions are parallel is a seeded permutation.

The parallel rows of the conditions hold the same sentences, together or apart:

- **bridge**: first half, a separator, second half, end-of-text: one document a pair. Rows end so
  that every pair meets in exactly one row.
- **nobridge**: every half is a document of its own, shuffled, so that no row holds an English half
  together with a target half that it is paired with.
- **deranged**: documents like those of bridge, English halves in the same order, but each beside
  the target half of another pair, so that no row holds an English half together with a target half
  that it is paired with. A row may end between the two halves of such a document.

All consume the same multiset of halves and, separator and end-of-text being one token each, equally
many tokens, in every row and so in every step. Halves are kept apart by *group*: pairs that share
an English or a target text, directly or over others, are one group (a sentence of Tatoeba often has
several translations), also across the borders of passes.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from ccx_ray.corpus.packing.heldout import fitting
from ccx_ray.corpus.packing.separation import (
    TooCloseError,
    deranged_order,
    pair_groups,
    separated_order,
)
from ccx_ray.corpus.parts import read_language
from ccx_ray.corpus.tokenizing.tokenizer import Vocabulary
from ccx_ray.corpus.tokenizing.tokens import Ints, TokenCorpus
from ccx_ray.errors import UserError
from ccx_ray.study.spec import Condition, MixtureSpec

PairOrder = Literal["english-first", "random"]

ROW_GROUP_SIZE = 256
"""Rows that are read together; at 2,048 tokens a group is 2 MB."""
TOKENS_PER_FILE = 8 * 2**20
"""One task of the preparation, which holds about 40 bytes a token in memory."""

# Each choice draws from a generator of its own, so that one does not shift another.
ROWS, DOCUMENTS, PAIRS, SIDES, HALVES, REPLAYED, PARTNERS, PLANTED = range(8)


@dataclass(frozen=True, kw_only=True)
class Tape:
    """Units, each a document and its closing token, and the rows that they are cut into."""

    documents: Ints
    """[units] document numbers."""
    closings: Ints
    """[units] token ids."""
    lengths: Ints
    """[units] tokens of the document, without the closing token."""
    bounds: Ints
    """[rows + 1] where on the tape each row begins, and where the last one ends; the last unit may
    reach beyond that and is then cut."""

    @property
    def rows(self) -> int:
        return len(self.bounds) - 1

    @property
    def tokens(self) -> int:
        return int(self.bounds[-1])

    @cached_property
    def ends(self) -> Ints:
        """[units] position after the closing token."""
        return np.cumsum(self.lengths + 1, dtype=np.int64)

    @property
    def cut_documents(self) -> int:
        """1 when the last document does not fit whole, else 0."""
        return int(len(self.ends) > 0 and self.ends[-1] - 1 > self.tokens)

    def units_of(self, rows: Ints) -> tuple[Ints, Ints]:
        """[rows] the first unit of each row, and how many units stand in it at least in part."""
        first, last = (
            np.searchsorted(self.ends, position, side="right")
            for position in (self.bounds[rows], self.bounds[rows + 1] - 1)
        )
        return first, last - first + 1


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """The rows of several tapes, put into the order of the stream."""

    tapes: tuple[Tape, ...]
    order: Ints
    """[rows]: the row that stands at each position, counted through the tapes."""
    sequence_length: int
    seed: int
    counts: dict[str, Any]


def rows_per_file(sequence_length: int) -> int:
    """Rows that are packed by one task, whole row groups."""
    return max(1, TOKENS_PER_FILE // (sequence_length * ROW_GROUP_SIZE)) * ROW_GROUP_SIZE


def plan_base(
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    *,
    sequence_length: int,
    seed: int,
    rows: int = 0,
) -> StreamPlan:
    """All documents of the base language that are not held out, once; where some are planted, as
    many documents as fill ``rows``, which is what the base consumes.

    Raises:
        UserError: the planted documents do not fit into the rows.
    """
    random, found = _random(seed, DOCUMENTS), {}
    documents = corpus.drawn
    if len(corpus.planted):
        tape, found["passes_over_documents"] = _repeated_documents(
            corpus,
            vocabulary,
            documents=documents,
            tokens=rows * sequence_length,
            sequence_length=sequence_length,
            random=random,
            language=read_language(corpus.folder),
            planted=_Planted(corpus.planted, _random(seed, PLANTED), "base.steps"),
        )
        found |= _planted_counts(corpus, tape)
    else:
        documents = random.permutation(documents)
        tape = _closed_documents(corpus, documents, vocabulary, sequence_length)
    return StreamPlan(
        tapes=(tape,),
        order=_mixed([tape.rows], sequence_length, _random(seed, ROWS)),
        sequence_length=sequence_length,
        seed=seed,
        counts={
            "monolingual_rows": tape.rows,
            "documents": len(np.unique(tape.documents)),
            "held_out_documents": len(corpus.held_out),
            **found,
        },
    )


def plan_trial(
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    *,
    language: str,
    sequence_length: int,
    seed: int,
    rows: int,
    mixture: MixtureSpec,
    pair_order: PairOrder,
    deranged: bool = False,
) -> dict[Condition, StreamPlan]:
    """The plans of ``bridge`` and ``nobridge``, and where it is asked for of ``deranged``.

    Raises:
        UserError: the language has too few pairs to fill a row, or to keep their halves apart; or
            its planted documents do not fit into the monolingual rows.
    """
    # A row of bridges may end two tokens early; see bridge_bounds.
    capacity = round(mixture.parallel * rows) * (sequence_length - 2)
    everything = np.arange(corpus.pairs, dtype=np.int64)
    halves = np.stack([corpus.half(everything, side) for side in (0, 1)], axis=1)
    pair_tokens = corpus.lengths[halves].sum(axis=1) + 2
    passes = draw_pairs(pair_tokens, capacity, _random(seed, PAIRS))
    if mixture.parallel and not passes:
        raise UserError(
            f"trials.mixture.parallel: {mixture.parallel} of {rows} rows of {sequence_length} "
            f"tokens is too little for one of the {corpus.pairs} pairs of {language}; raise "
            "trials.steps or give 0"
        )
    pairs = np.concatenate([everything[:0], *passes])
    sides = bridge_sides(len(pairs), pair_order, _random(seed, SIDES))
    drawn = halves[pairs]
    bridge = _two_by_two(corpus, drawn, sides, vocabulary, sequence_length)
    apart = drawn.T.ravel()
    groups = pair_groups(*corpus.half_keys())[pairs]
    pass_of = np.repeat(np.arange(len(passes)), [len(p) for p in passes])
    try:
        order = separated_order(
            lengths=corpus.lengths[apart],
            groups=np.tile(groups, 2),
            sides=np.repeat([0, 1], len(pairs)),
            passes=np.tile(pass_of, 2),
            sequence_length=sequence_length,
            random=_random(seed, HALVES),
        )
        partners = (
            deranged_order(
                lengths=corpus.lengths[drawn],
                groups=groups,
                sides=sides,
                passes=pass_of,
                sequence_length=sequence_length,
                random=_random(seed, PARTNERS),
            )
            if deranged
            else None
        )
    except TooCloseError as error:
        raise UserError(
            f"trials.mixture.parallel: the {len(pairs)} pairs of {language} cannot be kept apart "
            f"in rows of {sequence_length} tokens ({error}); give more pairs or shorter rows"
        ) from None
    nobridge = _closed_documents(corpus, apart[order], vocabulary, sequence_length)
    # The same tokens in every row of all conditions, and so in every step.
    parallel: dict[Condition, Tape] = {
        "bridge": bridge,
        "nobridge": replace(nobridge, bounds=bridge.bounds),
    }
    if partners is not None:
        beside = np.stack([drawn[:, 0], drawn[partners, 1]], axis=1)
        tape = _two_by_two(corpus, beside, sides, vocabulary, sequence_length)
        parallel["deranged"] = replace(tape, bounds=bridge.bounds)
    replay_rows = round(mixture.replay * rows)
    planted = _Planted(corpus.planted, _random(seed, PLANTED), "trials.steps")
    sizes = [rows - replay_rows - bridge.rows, replay_rows, bridge.rows]
    (monolingual, monolingual_passes), (replay, replay_passes) = (
        _repeated_documents(
            corpus,
            vocabulary,
            documents=documents,
            tokens=size * sequence_length,
            sequence_length=sequence_length,
            random=_random(seed, choice),
            language=language,
            planted=planted,
        )
        for documents, size, choice, planted in (
            (corpus.drawn, sizes[0], DOCUMENTS, planted),
            (corpus.replayed, sizes[1], REPLAYED, None),
        )
    )
    counts = {
        "monolingual_rows": sizes[0],
        "parallel_rows": sizes[2],
        "replay_rows": sizes[1],
        "pairs": len(pairs),
        "distinct_pairs": len(np.unique(pairs)),
        "passes_over_pairs": len(passes),
        "documents": len(np.unique(monolingual.documents)),
        "passes_over_documents": monolingual_passes,
        "passes_over_replayed_documents": replay_passes,
        "held_out_documents": len(corpus.held_out),
        "documents_cut_at_the_end": monolingual.cut_documents + replay.cut_documents,
        **_planted_counts(corpus, monolingual),
    }
    mixed = _mixed(sizes, sequence_length, _random(seed, ROWS))
    return {
        condition: StreamPlan(
            tapes=(monolingual, replay, tape),
            order=mixed,
            sequence_length=sequence_length,
            seed=seed,
            counts={**counts, "parallel_tokens": tape.tokens},
        )
        for condition, tape in parallel.items()
    }


class _Planted(NamedTuple):
    """The planted documents of a stream."""

    documents: Ints
    random: np.random.Generator
    """Draws their places."""
    steps: str
    """The field of the study file that makes more rows, for the message."""


def _random(seed: int, choice: int) -> np.random.Generator:
    return np.random.default_rng((seed, choice))


def _mixed(sizes: Sequence[int], sequence_length: int, random: np.random.Generator) -> Ints:
    """[rows] the rows of several tapes, counted through them, in the order of the stream.

    Which position belongs to which tape is a permutation of all positions; the rows of a tape
    follow one another but for a shuffle within windows.
    """
    kinds = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = np.empty(len(kinds), np.int64)
    window, first = rows_per_file(sequence_length), 0
    for kind, size in enumerate(sizes):
        rows = [
            begin + random.permutation(min(window, size - begin))
            for begin in range(0, size, window)
        ]
        order[kinds == kind] = first + np.concatenate([np.zeros(0, np.int64), *rows])
        first += size
    return order


def _closed_documents(
    corpus: TokenCorpus,
    documents: Ints,
    vocabulary: Vocabulary,
    sequence_length: int,
    most_tokens: int | None = None,
) -> Tape:
    """Documents, each closed by an end-of-text, in full rows, the last one perhaps in part."""
    ends = np.cumsum(corpus.lengths[documents] + 1, dtype=np.int64)
    tokens = int(ends[-1]) if len(ends) else 0
    if most_tokens is not None:
        units = int(np.searchsorted(ends, most_tokens)) + 1 if most_tokens else 0
        documents, tokens = documents[:units], min(tokens, most_tokens)
    return Tape(
        documents=documents,
        closings=np.full(len(documents), vocabulary.eos_id, np.int64),
        lengths=corpus.lengths[documents],
        bounds=np.append(np.arange(0, tokens, sequence_length, dtype=np.int64), tokens),
    )


def _repeated_documents(
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    *,
    documents: Ints,
    tokens: int,
    sequence_length: int,
    random: np.random.Generator,
    language: str,
    planted: _Planted | None = None,
) -> tuple[Tape, int]:
    """Documents in seeded order, pass after pass, until the rows are full, with the planted ones
    among them; and the passes."""
    chosen = documents[:0] if planted is None else planted.documents
    taken = int(corpus.lengths[chosen].sum()) + len(chosen)
    if planted is not None and taken and taken >= tokens:
        raise UserError(
            f"interventions: the {len(chosen)} planted documents of {language} have {taken} "
            f"tokens, but the training reads only {tokens} tokens of this text; give smaller "
            f"doses, fewer items or more {planted.steps}"
        )
    per_pass = int(corpus.lengths[documents].sum()) + len(documents)
    if tokens and not per_pass:
        raise UserError(f"languages.{language}.monolingual: no document is left to train on")
    passes = -(-(tokens - taken) // per_pass) if tokens else 0
    orders = [random.permutation(documents) for _ in range(passes)]
    drawn = np.concatenate([np.zeros(0, np.int64), *orders])
    if planted is not None and len(chosen):
        ends = np.cumsum(corpus.lengths[drawn] + 1)
        drawn = drawn[: int(np.searchsorted(ends, tokens - taken)) + 1]
        # Before a document that is drawn, so never behind the last, which may be cut.
        places = planted.random.integers(len(drawn), size=len(chosen))
        drawn = np.insert(drawn, places, planted.random.permutation(chosen))
    return _closed_documents(corpus, drawn, vocabulary, sequence_length, tokens), passes


def _planted_counts(corpus: TokenCorpus, tape: Tape) -> dict[str, Any]:
    """What a stream shows of the planted documents; nothing where there are none."""
    if not len(corpus.planted):
        return {}
    shown = np.flatnonzero(np.isin(tape.documents, corpus.planted))
    begins, ends = (tape.ends - tape.lengths - 1)[shown], tape.ends[shown] - 2
    row_of = [np.searchsorted(tape.bounds, place, side="right") for place in (begins, ends)]
    return {
        "planted_documents": len(shown),
        "planted_tokens": int(corpus.lengths[corpus.planted].sum()),
        "planted_in_two_rows": int((row_of[0] != row_of[1]).sum()),
    }


def _two_by_two(
    corpus: TokenCorpus, halves: Ints, sides: Ints, vocabulary: Vocabulary, sequence_length: int
) -> Tape:
    """Documents of an English and a target half each, [documents, 2], in the order of ``sides``."""
    documents = np.take_along_axis(halves, sides, axis=1).ravel()
    lengths = corpus.lengths[documents]
    ends = np.cumsum(lengths + 1)
    return Tape(
        documents=documents,
        closings=np.tile([vocabulary.separator_id, vocabulary.eos_id], len(halves)),
        lengths=lengths,
        bounds=bridge_bounds(ends[::2] - 1, int(lengths.sum()) + len(documents), sequence_length),
    )


def draw_pairs(pair_tokens: Ints, capacity: int, random: np.random.Generator) -> list[Ints]:
    """Passes over pairs that fill ``capacity`` tokens as far as possible without exceeding it.

    One seeded subset when there are more pairs than fit; else whole passes over all of them, as
    many as fit; no pass when no pair fits. ``pair_tokens`` counts both closing tokens.
    """
    order = random.permutation(len(pair_tokens))
    total = int(pair_tokens.sum())
    if total and total <= capacity:
        return [order, *(random.permutation(order) for _ in range(capacity // total - 1))]
    drawn = fitting(order, pair_tokens, capacity)
    return [drawn] if len(drawn) else []


def bridge_sides(
    pairs: int, order: Literal["english-first", "random"], random: np.random.Generator
) -> Ints:
    """[pairs, 2] sides (0 English, 1 target) in the order in which a bridge shows them."""
    first = np.zeros(pairs, np.int64) if order == "english-first" else random.integers(0, 2, pairs)
    return np.stack([first, 1 - first], axis=1)


def bridge_bounds(separators: Ints, tokens: int, sequence_length: int) -> Ints:
    """[rows + 1] bounds of rows such that every bridge has both halves in exactly one row.

    A bound between the halves, before or behind the separator, would leave them in two rows; such a
    row ends one or two tokens earlier, which become padding. The separators' positions rise.
    """
    bounds, between = [0], separators.tolist()
    while bounds[-1] < tokens:
        end = min(bounds[-1] + sequence_length, tokens)
        nearest = bisect_right(between, end) - 1
        if nearest >= 0 and end - between[nearest] <= 1:
            end = between[nearest] - 1
        bounds.append(end)
    return np.array(bounds, np.int64)
