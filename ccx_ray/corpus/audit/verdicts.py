"""What the thresholds of a study make of an audit's figures.

Invariant: the figures are not touched, so a changed threshold is a new judgement of the same audit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ccx_ray.corpus.audit.figures import AuditFigures
from ccx_ray.study.text_spec import AuditSpec


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One threshold, and the corpus or stream that comes nearest to it or crosses it."""

    name: str
    """What is judged, in words."""
    field: str
    """Field of the spec that holds the limit; empty where nothing but 0 is right."""
    figure: float
    limit: float
    where: str
    """Where the figure is from; empty when there is nothing to be judged."""
    crossed: tuple[str, ...]
    """Every place whose figure is above the limit."""
    is_share: bool

    @property
    def passed(self) -> bool:
        return not self.crossed


def verdicts(figures: AuditFigures, spec: AuditSpec) -> list[Verdict]:
    """Every threshold of the spec, and what must be 0 in any study."""
    scripts, streams = figures.scripts, figures.streams
    return [
        _judge(
            "characters of an excluded script",
            ((corpus.corpus, corpus.forbidden) for corpus in scripts),
            spec.forbidden_characters,
            "forbidden_characters",
        ),
        _judge("texts that are not NFC", ((c.corpus, c.not_normalized) for c in scripts)),
        _judge(
            "records rejected, share",
            ((part.corpus, part.share) for part in figures.rejections),
            spec.rejected_share,
            "rejected_share",
        ),
        _judge("records that are unaccounted for", _unaccounted(figures)),
        _judge(
            "questions that stand in a corpus, share",
            (
                (f"{part.culture} questions ({part.side}) in {part.corpus}", part.share)
                for part in figures.contamination
            ),
            spec.contaminated_share,
            "contaminated_share",
        ),
        _judge(
            "documents that stand in another corpus, share",
            ((part.corpus, part.share) for part in figures.overlaps),
            spec.shared_documents_share,
            "shared_documents_share",
        ),
        _judge(
            "difference of the conditions' tokens, share",
            ((stream.stream, stream.token_difference_share) for stream in streams),
            spec.token_difference_share,
            "token_difference_share",
        ),
        _judge(
            "no-bridge rows that hold both halves of a pair",
            ((s.stream, s.nobridge.rows_with_both_sides_of_a_group) for s in streams),
        ),
        _judge(
            "bridge pairs whose halves do not meet in exactly one row",
            (
                (stream.stream, abs(stream.bridge.pairs - stream.bridge.together))
                for stream in streams
            ),
        ),
        _judge(
            "monolingual rows that differ between the conditions",
            ((stream.stream, stream.differing_rows) for stream in streams),
        ),
        _judge(
            "tokens that no segment describes",
            (
                (f"{stream.stream} {name}", condition.tokens["undescribed"])
                for stream in streams
                for name, condition in (("bridge", stream.bridge), ("no-bridge", stream.nobridge))
            ),
        ),
        _judge(
            "streams whose conditions do not consume the same halves",
            ((stream.stream, int(not stream.same_halves)) for stream in streams),
        ),
    ]


def metrics(figures: AuditFigures) -> dict[str, float]:
    """The figures under flat names such as ``audit/ko/contaminated_exact``.

    A name's middle is a language, or a stream such as ``ko-s0``.
    """
    found: dict[str, float] = {}

    def most(where: str, what: str, figure: float) -> None:
        name = f"audit/{where}/{what}"
        found[name] = max(found.get(name, 0.0), float(figure))

    def add(where: str, what: str, figure: float) -> None:
        name = f"audit/{where}/{what}"
        found[name] = found.get(name, 0.0) + figure

    for part in figures.scripts:
        language = _language(part.corpus)
        add(language, "forbidden_characters", part.forbidden)
        add(language, "unexpected_characters", part.unexpected)
        add(language, "not_normalized", part.not_normalized)
    for hits in figures.contamination:
        most(hits.culture, "contaminated_exact", hits.exact)
        most(hits.culture, "contaminated_share", hits.share)
        most(hits.culture, "contaminated_half_overlap", hits.half_overlapping)
    for shared in figures.overlaps:
        most(_language(shared.corpus), "shared_documents_share", shared.share)
    for rejections in figures.rejections:
        most(_language(rejections.corpus), "rejected_share", rejections.share)
    for stream in figures.streams:
        where = stream.stream.replace(" ", "-")
        add(where, "token_difference", stream.token_difference)
        add(where, "token_difference_share", stream.token_difference_share)
        add(where, "bridge_pairs_together", stream.bridge.together)
        add(where, "nobridge_rows_with_both", stream.nobridge.rows_with_both_sides_of_a_group)
        add(where, "differing_monolingual_rows", stream.differing_rows)
    return found


def _language(corpus: str) -> str:
    """``ko`` of ``ko documents`` and of ``en-ko pairs english``."""
    return corpus.partition(" ")[0].rpartition("-")[2]


def _unaccounted(figures: AuditFigures) -> Iterator[tuple[str, float]]:
    for part in figures.rejections:
        there = part.kept + sum(part.rejected.values())
        yield part.corpus, abs(part.read - there) + abs(part.kept - part.standing)
    for side in figures.rejected:
        yield f"{side.language} rejected", int(not side.adds_up)


def _judge(
    name: str, figures: Iterable[tuple[str, float]], limit: float = 0, field: str = ""
) -> Verdict:
    places = sorted(figures, key=lambda place: (-place[1], place[0]))
    where, figure = places[0] if places else ("", 0.0)
    return Verdict(
        name=name,
        field=field,
        figure=figure,
        limit=limit,
        where=where,
        crossed=tuple(place for place, found in places if found > limit),
        is_share=field.endswith("_share"),
    )
