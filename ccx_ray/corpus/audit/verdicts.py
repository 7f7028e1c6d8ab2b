"""What the thresholds of a study make of an audit's figures.

Invariant: the figures are not touched, so a changed threshold is a new judgement of the same audit.
"""

from collections import defaultdict
from collections.abc import Iterator
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
    undescribed: list[tuple[str, float]] = [
        (f"{stream.stream} {name}", condition.tokens["undescribed"])
        for stream in streams
        for name, condition in (("bridge", stream.bridge), ("no-bridge", stream.nobridge))
    ]
    contaminated = [
        (f"{part.culture} questions ({part.side}) in {part.corpus}", part.share)
        for part in figures.contamination
    ]
    # What is judged, the spec's field, and the figure of every place.
    judged: list[tuple[str, str, list[tuple[str, float]]]] = [
        ("characters of an excluded script", "forbidden_characters",
         [(part.corpus, part.forbidden) for part in scripts]),
        ("texts that are not NFC", "", [(part.corpus, part.not_normalized) for part in scripts]),
        ("records rejected, share", "rejected_share",
         [(part.corpus, part.share) for part in figures.rejections]),
        ("records that are unaccounted for", "", list(_unaccounted(figures))),
        ("questions that stand in a corpus, share", "contaminated_share", contaminated),
        ("documents that stand in another corpus, share", "shared_documents_share",
         [(part.corpus, part.share) for part in figures.overlaps]),
        ("difference of the conditions' tokens, share", "token_difference_share",
         [(part.stream, part.token_difference_share) for part in streams]),
        ("no-bridge rows that hold both halves of a pair", "",
         [(part.stream, part.nobridge.rows_with_both_sides_of_a_group) for part in streams]),
        ("bridge pairs whose halves do not meet in exactly one row", "",
         [(part.stream, abs(part.bridge.pairs - part.bridge.together)) for part in streams]),
        ("monolingual rows that differ between the conditions", "",
         [(part.stream, part.differing_rows) for part in streams]),
        ("tokens that no segment describes", "", undescribed),
        ("streams whose conditions do not consume the same halves", "",
         [(part.stream, int(not part.same_halves)) for part in streams]),
    ]  # fmt: skip
    return [
        _judge(name, field, places, getattr(spec, field) if field else 0)
        for name, field, places in judged
    ]


def _judge(name: str, field: str, places: list[tuple[str, float]], limit: float) -> Verdict:
    places = sorted(places, key=lambda place: (-place[1], place[0]))
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


def _unaccounted(figures: AuditFigures) -> Iterator[tuple[str, float]]:
    for part in figures.rejections:
        there = part.kept + sum(part.rejected.values())
        yield part.corpus, abs(part.read - there) + abs(part.kept - part.standing)
    for side in figures.rejected:
        yield f"{side.language} rejected", int(not side.adds_up)


def metrics(figures: AuditFigures) -> dict[str, float]:
    """The figures under flat names such as ``audit/ko/contaminated_exact``.

    A name's middle is a language, or a stream such as ``ko-s0``. Where a language has several
    corpora, counts are added up, and of shares and of questions the largest is given.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    largest: defaultdict[str, float] = defaultdict(float)

    def most(where: str, **figures: float) -> None:
        for what, figure in figures.items():
            name = f"audit/{where}/{what}"
            largest[name] = max(largest[name], float(figure))

    for part in figures.scripts:
        where = f"audit/{_language(part.corpus)}"
        sums[f"{where}/forbidden_characters"] += part.forbidden
        sums[f"{where}/unexpected_characters"] += part.unexpected
        sums[f"{where}/not_normalized"] += part.not_normalized
    for hits in figures.contamination:
        most(
            hits.culture,
            contaminated_exact=hits.exact,
            contaminated_share=hits.share,
            contaminated_half_overlap=hits.half_overlapping,
        )
    for shared in figures.overlaps:
        most(_language(shared.corpus), shared_documents_share=shared.share)
    for rejections in figures.rejections:
        most(_language(rejections.corpus), rejected_share=rejections.share)
    for stream in figures.streams:
        where = f"audit/{stream.stream.replace(' ', '-')}"
        sums[f"{where}/token_difference"] += stream.token_difference
        sums[f"{where}/token_difference_share"] += stream.token_difference_share
        sums[f"{where}/bridge_pairs_together"] += stream.bridge.together
        sums[f"{where}/nobridge_rows_with_both"] += stream.nobridge.rows_with_both_sides_of_a_group
        sums[f"{where}/differing_monolingual_rows"] += stream.differing_rows
    return {**sums, **largest}


def _language(corpus: str) -> str:
    """``ko`` of ``ko documents`` and of ``en-ko pairs english``."""
    return corpus.partition(" ")[0].rpartition("-")[2]
