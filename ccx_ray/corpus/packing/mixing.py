"""Which documents a stream shows, in which order and in which rows.

Invariants: the plan is a function of the corpus and of the arguments; the two conditions of a
trial have the same monolingual rows at the same positions, and the same halves in their parallel
rows; held-out documents are in no plan.

- Base stream: all other documents once, in seeded order, packed; the rows are shuffled.
- Rows are shuffled within windows of their tape, whose documents are in random order already: so
  the rows that are packed together need few documents (a shuffle of all rows made every document
  be read 2.6 to 3 times).
- Trial streams: exactly as many rows as the trial consumes, so the trial is one epoch. The
  replayed rows hold documents of the base language in seeded order. The parallel rows are filled as
  far as possible with a seeded subset of the pairs; a language with too few pairs gets whole passes
  over all of them, as many as fit, and the rows left over become monolingual. Monolingual documents
  follow in seeded order, anew in each further pass, until their rows are full; the last one may be
  cut. Which positions are parallel is a seeded permutation.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ccx_ray.corpus.packing.bridges import (
    TooCloseError,
    bridge_bounds,
    bridge_sides,
    draw_pairs,
    pair_groups,
    separated_order,
)
from ccx_ray.corpus.packing.rows import StreamPlan, Tape, cut_tape, equal_bounds, rows_per_file
from ccx_ray.corpus.tokenizing.encoding import Vocabulary
from ccx_ray.corpus.tokenizing.tokens import Ints, TokenCorpus
from ccx_ray.errors import UserError
from ccx_ray.study.spec import MixtureSpec

# Each choice draws from a generator of its own, so that one does not shift another.
ROWS, DOCUMENTS, PAIRS, SIDES, HALVES, REPLAYED = range(6)


def plan_base(
    corpus: TokenCorpus, vocabulary: Vocabulary, *, sequence_length: int, seed: int
) -> StreamPlan:
    """All documents of the base language that are not held out, once."""
    documents = _random(seed, DOCUMENTS).permutation(corpus.drawn)
    tape = _closed_documents(corpus, documents, vocabulary, sequence_length)
    rows = tape.rows
    return StreamPlan(
        tapes=(tape,),
        order=_mixed([rows], sequence_length, _random(seed, ROWS)),
        sequence_length=sequence_length,
        seed=seed,
        counts={
            "monolingual_rows": rows,
            "documents": len(documents),
            "held_out_documents": len(corpus.held_out),
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
    pair_order: Literal["english-first", "random"],
) -> dict[str, StreamPlan]:
    """The plans of ``bridge`` and ``nobridge``.

    Raises:
        UserError: the language has too few pairs to fill a row, or to keep their halves apart.
    """
    # A row of bridges may end two tokens early; see bridge_bounds.
    capacity = round(mixture.parallel * rows) * (sequence_length - 2)
    everything = np.arange(corpus.pairs, dtype=np.int64)
    halves = [corpus.half(everything, side) for side in (0, 1)]
    pair_tokens = corpus.lengths[halves[0]] + corpus.lengths[halves[1]] + 2
    passes = draw_pairs(pair_tokens, capacity, _random(seed, PAIRS))
    if mixture.parallel and not passes:
        raise UserError(
            f"trials.mixture.parallel: {mixture.parallel} of {rows} rows of {sequence_length} "
            f"tokens holds none of the {corpus.pairs} pairs of {language}; raise trials.steps or "
            "give 0"
        )
    pairs = np.concatenate([everything[:0], *passes])
    pass_of_pair = np.repeat(np.arange(len(passes)), [len(drawn) for drawn in passes])
    sides = bridge_sides(len(pairs), pair_order, _random(seed, SIDES))
    bridge = _bridge(corpus, pairs, sides, vocabulary, sequence_length)
    try:
        nobridge = _nobridge(
            corpus,
            pairs,
            passes=pass_of_pair,
            vocabulary=vocabulary,
            sequence_length=sequence_length,
            seed=seed,
        )
    except TooCloseError as error:
        raise UserError(
            f"trials.mixture.parallel: the {len(pairs)} pairs of {language} cannot be kept apart "
            f"in rows of {sequence_length} tokens ({error}); give more pairs or shorter rows"
        ) from None
    # The same tokens in every row of both conditions, and so in every step.
    parallel = {"bridge": bridge, "nobridge": replace(nobridge, bounds=bridge.bounds)}
    parallel_rows = parallel["bridge"].rows
    replay_rows = round(mixture.replay * rows)
    monolingual_rows = rows - replay_rows - parallel_rows
    monolingual, monolingual_passes = _repeated_documents(
        corpus,
        vocabulary,
        documents=corpus.drawn,
        rows=monolingual_rows,
        sequence_length=sequence_length,
        random=_random(seed, DOCUMENTS),
        language=language,
    )
    replay, replay_passes = _repeated_documents(
        corpus,
        vocabulary,
        documents=corpus.replayed,
        rows=replay_rows,
        sequence_length=sequence_length,
        random=_random(seed, REPLAYED),
        language=language,
    )
    sizes = [monolingual_rows, replay_rows, parallel_rows]
    order = _mixed(sizes, sequence_length, _random(seed, ROWS))
    counts = {
        "monolingual_rows": monolingual_rows,
        "parallel_rows": parallel_rows,
        "replay_rows": replay_rows,
        "pairs": len(pairs),
        "distinct_pairs": len(np.unique(pairs)),
        "passes_over_pairs": len(passes),
        "documents": len(np.unique(monolingual.documents)),
        "passes_over_documents": monolingual_passes,
        "passes_over_replayed_documents": replay_passes,
        "held_out_documents": len(corpus.held_out),
        "documents_cut_at_the_end": monolingual.cut_documents + replay.cut_documents,
    }
    return {
        condition: StreamPlan(
            tapes=(monolingual, replay, tape),
            order=order,
            sequence_length=sequence_length,
            seed=seed,
            counts={**counts, "parallel_tokens": tape.tokens},
        )
        for condition, tape in parallel.items()
    }


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


def _random(seed: int, choice: int) -> np.random.Generator:
    return np.random.default_rng((seed, choice))


def _closed_documents(
    corpus: TokenCorpus, documents: Ints, vocabulary: Vocabulary, sequence_length: int
) -> Tape:
    lengths = corpus.lengths[documents]
    return Tape(
        documents=documents,
        closings=np.full(len(documents), vocabulary.eos_id, np.int64),
        lengths=lengths,
        bounds=equal_bounds(int(lengths.sum()) + len(documents), sequence_length),
    )


def _repeated_documents(
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    *,
    documents: Ints,
    rows: int,
    sequence_length: int,
    random: np.random.Generator,
    language: str,
) -> tuple[Tape, int]:
    """Documents in seeded order, pass after pass, until the rows are full; and the passes."""
    tokens = rows * sequence_length
    per_pass = int(corpus.lengths[documents].sum()) + len(documents)
    if tokens and not per_pass:
        raise UserError(f"languages.{language}.monolingual: no document is left to train on")
    passes = -(-tokens // per_pass) if tokens else 0
    orders = [random.permutation(documents) for _ in range(passes)]
    drawn = np.concatenate([np.zeros(0, np.int64), *orders])
    tape = _closed_documents(corpus, drawn, vocabulary, sequence_length)
    return cut_tape(tape, tokens, sequence_length), passes


def _bridge(
    corpus: TokenCorpus,
    pairs: Ints,
    sides: Ints,
    vocabulary: Vocabulary,
    sequence_length: int,
) -> Tape:
    documents = np.stack([corpus.half(pairs, sides[:, i]) for i in (0, 1)], axis=1).ravel()
    lengths = corpus.lengths[documents]
    ends = np.cumsum(lengths + 1)
    return Tape(
        documents=documents,
        closings=np.tile([vocabulary.separator_id, vocabulary.eos_id], len(pairs)),
        lengths=lengths,
        bounds=bridge_bounds(ends[::2] - 1, int(lengths.sum()) + len(documents), sequence_length),
    )


def _nobridge(
    corpus: TokenCorpus,
    pairs: Ints,
    *,
    passes: Ints,
    vocabulary: Vocabulary,
    sequence_length: int,
    seed: int,
) -> Tape:
    halves = np.concatenate([corpus.half(pairs, side) for side in (0, 1)])
    order = separated_order(
        lengths=corpus.lengths[halves],
        groups=np.tile(pair_groups(*corpus.half_keys())[pairs], 2),
        sides=np.repeat([0, 1], len(pairs)),
        passes=np.tile(passes, 2),
        sequence_length=sequence_length,
        random=_random(seed, HALVES),
    )
    return _closed_documents(corpus, halves[order], vocabulary, sequence_length)
