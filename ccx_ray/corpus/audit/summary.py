"""From what all tasks found to the figures that are shown."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.code_points import SCRIPT_NAMES, scripts_among
from ccx_ray.corpus.audit.contamination import SCHEMA, contamination_table
from ccx_ray.corpus.audit.figures import (
    AuditFigures,
    ConditionFigures,
    ContaminationFigures,
    FoundQuestion,
    OddText,
    OverlapFigures,
    RejectedExample,
    RejectedFigures,
    RejectionFigures,
    ScriptFigures,
    SharedFigures,
    SharedText,
    StreamFigures,
)
from ccx_ray.corpus.audit.halves import KINDS
from ccx_ray.corpus.audit.inputs import AuditedLanguage, AuditInputs, Column
from ccx_ray.corpus.audit.part_audit import ColumnAudit, PartAudit, sides_of
from ccx_ray.corpus.audit.probe_index import probe_index
from ccx_ray.corpus.audit.rejected import Rejections
from ccx_ray.corpus.audit.shared_texts import (
    SharedTexts,
    read_texts,
    shared_texts,
    shared_with_any,
)
from ccx_ray.corpus.parts import part_files
from ccx_ray.study.text_spec import AuditSpec

FOUND_QUESTIONS = 10
EXCERPT_CHARACTERS = 160
TOKEN_KINDS = (*KINDS, "separator", "end_of_text", "undescribed", "padding")


def summarize(
    inputs: AuditInputs, found: PartAudit, contamination: pa.Table, spec: AuditSpec
) -> AuditFigures:
    """All figures; reads a few texts again, as examples of what corpora share."""
    columns = [(column, _audit_of(found, column)) for column in inputs.columns]
    return AuditFigures(
        seed=spec.seed,
        sample_documents=spec.sample_documents,
        scripts=tuple(_scripts(column, audit) for column, audit in columns),
        contamination=tuple(_contamination(inputs, contamination)),
        shared=tuple(_shared(inputs, found)),
        overlaps=tuple(_overlaps(inputs, found)),
        streams=tuple(_stream(name, counts) for name, counts in sorted(found.rows.items())),
        rejections=tuple(r for language in inputs.languages for r in _rejections(language)),
        rejected=tuple(
            _rejected(language, found.rejections.get(language.code, Rejections()))
            for language in inputs.languages
        ),
        samples={table.name: f"samples/{table.page}" for table in inputs.tables},
    )


def contamination_of(inputs: AuditInputs, found: PartAudit) -> pa.Table:
    """One row a question and corpus in its language; see ``contamination.SCHEMA``."""
    tables = [SCHEMA.empty_table()]
    for column in inputs.columns:
        sides = sides_of(column, inputs.probes)
        index = probe_index(sides, column.isolation)
        met = _audit_of(found, column).contamination
        tables.append(contamination_table(column.corpus, sides, index, met))
    return pa.concat_tables(tables)


def _audit_of(found: PartAudit, column: Column) -> ColumnAudit:
    return found.columns.get(column.corpus, ColumnAudit())


def _scripts(column: Column, audit: ColumnAudit) -> ScriptFigures:
    composition = audit.composition
    counts = Counter(dict(zip(SCRIPT_NAMES, composition.scripts.tolist(), strict=True)))
    keep, remove = column.isolation.keep, column.isolation.remove
    excluded = ~scripts_among(keep) if keep else scripts_among(remove)
    surprising = ~scripts_among(column.expected or SCRIPT_NAMES)
    return ScriptFigures(
        corpus=column.corpus,
        language=column.language,
        texts=composition.texts,
        bytes=composition.bytes,
        characters=int(composition.scripts.sum()),
        scripts={script: number for script, number in counts.most_common() if number},
        expected=column.expected,
        unexpected=int(composition.scripts[surprising].sum()),
        forbidden=int(composition.scripts[excluded].sum()),
        not_normalized=composition.not_normalized,
        not_normalized_ids=tuple(composition.not_normalized_ids),
        worst=tuple(OddText(**text._asdict()) for text in composition.worst),
    )


def _contamination(inputs: AuditInputs, table: pa.Table) -> Iterator[ContaminationFigures]:
    for column in inputs.columns:
        for side in sides_of(column, inputs.probes):
            here = pc.and_(
                pc.equal(table["corpus"], column.corpus),
                pc.and_(
                    pc.equal(table["culture"], side.culture), pc.equal(table["side"], side.language)
                ),
            )
            rows = table.filter(here).to_pylist()
            filled = {question.number: question.filled for question in side.questions}
            overlaps = np.array([row["overlap"] or 0.0 for row in rows])
            met = [row for row in rows if row["exact"] or (row["overlap"] or 0.0) > 0]
            met.sort(key=lambda row: (-row["exact"], -(row["overlap"] or 0.0), row["question"]))
            yield ContaminationFigures(
                culture=side.culture,
                side=side.language,
                corpus=column.corpus,
                questions=len(rows),
                exact=sum(row["exact"] for row in rows),
                filled=sum(row["filled_documents"] > 0 for row in rows),
                wording=sum((row["wording_documents"] or 0) > 0 for row in rows),
                overlapping=int((overlaps > 0).sum()),
                half_overlapping=int((overlaps >= 0.5).sum()),
                whole_overlapping=int((overlaps == 1).sum()),
                found=tuple(
                    FoundQuestion(
                        question=row["question"],
                        filled=filled[row["question"]],
                        exact_documents=row["exact_documents"],
                        overlap=row["overlap"],
                        document=row["example"],
                    )
                    for row in met[:FOUND_QUESTIONS]
                ),
            )


def _shared(inputs: AuditInputs, found: PartAudit) -> Iterator[SharedFigures]:
    places = {c.corpus: (c, table.folder) for table in inputs.tables for c in table.columns}
    digests = {corpus: _audit_of(found, column).digests for corpus, (column, _) in places.items()}

    def figures(both: SharedTexts) -> SharedFigures:
        column, folder = places[both.corpus]
        examples = read_texts(part_files(folder), column, both.places)
        sizes = [sum(map(len, digests[corpus].values())) for corpus in (both.corpus, both.other)]
        return SharedFigures(
            corpus=both.corpus,
            other=both.other,
            distinct=both.distinct,
            texts=both.texts,
            share=both.texts / sizes[0],
            other_texts=both.other_texts,
            other_share=both.other_texts / sizes[1],
            examples=tuple(
                SharedText(id=id_, text=text[:EXCERPT_CHARACTERS]) for id_, text in examples
            ),
        )

    return map(figures, shared_texts(digests))


def _overlaps(inputs: AuditInputs, found: PartAudit) -> Iterator[OverlapFigures]:
    digests = {column.corpus: _audit_of(found, column).digests for column in inputs.columns}
    documents = [column.corpus for column in inputs.columns if column.name == "text"]
    for corpus, parts in digests.items():
        others = [
            other
            for other in digests
            if other != corpus and (corpus in documents or other in documents)
        ]
        texts = sum(map(len, parts.values()))
        shared = shared_with_any(digests, corpus, others)
        yield OverlapFigures(
            corpus=corpus, texts=texts, shared=shared, share=shared / texts if texts else 0.0
        )


def _stream(name: str, counts: Mapping[str, int]) -> StreamFigures:
    def condition(of: str) -> ConditionFigures:
        names = ConditionFigures.model_fields.keys() - {"tokens"}
        tokens = {kind: counts.get(f"{of}/tokens/{kind}", 0) for kind in TOKEN_KINDS}
        return ConditionFigures(tokens=tokens, **{n: counts.get(f"{of}/{n}", 0) for n in names})

    digests = [counts.get(f"{of}/halves_digest", 0) % 2**64 for of in ("bridge", "nobridge")]
    return StreamFigures(
        stream=name,
        bridge=condition("bridge"),
        nobridge=condition("nobridge"),
        rows_at_equal_positions=counts.get("both/monolingual_rows", 0),
        identical_rows=counts.get("both/identical_rows", 0),
        same_halves=digests[0] == digests[1],
    )


def _rejections(language: AuditedLanguage) -> Iterator[RejectionFigures]:
    for table in language.tables:
        counts: Mapping[str, Any] = language.counts.get(table.kind, {})
        rows = sum(pq.ParquetFile(part).metadata.num_rows for part in part_files(table.folder))
        if counts:
            rejected = Counter(counts["rejected"]).most_common()
            yield RejectionFigures(
                corpus=table.name,
                read=counts["read"],
                kept=counts["kept"],
                rejected=dict(rejected),
                standing=rows,
            )


def _rejected(language: AuditedLanguage, found: Rejections) -> RejectedFigures:
    noted: Counter[str] = Counter()
    for table in language.tables:
        noted.update(language.counts.get(table.kind, {}).get("rejected", {}))
    return RejectedFigures(
        language=language.code,
        counted=dict(found.reasons.most_common()),
        adds_up=not language.counts or +noted == +found.reasons,
        examples={
            reason: tuple(
                RejectedExample(
                    id=text.id, place=text.place, text=text.text, duplicate_of=text.duplicate_of
                )
                for text in examples
            )
            for reason, examples in sorted(found.examples.items())
        },
    )
