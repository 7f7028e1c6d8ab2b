"""The audit finds what should not be in a corpus, and says nothing against a clean one."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from ccx_ray.corpus.audit.auditing import read_figures
from ccx_ray.corpus.audit.figures import AuditFigures, Verdict, metrics, verdicts
from ccx_ray.corpus.audit.inputs import AuditInputs
from ccx_ray.corpus.cleaning.scripts import script_of
from ccx_ray.study.text_spec import AuditSpec
from tests.audited_text import audited_language, bundled_texts, run_audit

SPEC = AuditSpec()


def crossed(figures: AuditFigures, spec: AuditSpec = SPEC) -> dict[str, Verdict]:
    return {v.field or v.name: v for v in verdicts(figures, spec) if not v.passed}


def audit_documents(folder: Path, code: str, *texts: str) -> AuditFigures:
    language = audited_language(folder / "text", code, texts)
    return run_audit(folder / "audit", AuditInputs(languages=(language,)))


@pytest.mark.parametrize("code", ["en", "ko", "zh", "bo", "mn"])
def test_real_isolated_text_is_clean_and_every_character_is_counted(
    tmp_path: Path, project: Path, code: str
):
    texts = bundled_texts(project, code, 60)
    figures = audit_documents(tmp_path, code, *texts)
    assert not crossed(figures)
    (scripts,) = figures.scripts
    assert scripts.texts == 60
    assert scripts.bytes == sum(len(text.encode()) for text in texts)
    assert scripts.scripts == Counter(script_of(c) for text in texts for c in text)


def test_full_width_and_superscript_latin_is_forbidden(tmp_path: Path):
    figures = audit_documents(tmp_path, "ko", "한국 Ａ", "서울ª ᵃ x", "한국의 수도")
    assert figures.scripts[0].forbidden == figures.scripts[0].scripts["Latin"] == 4
    (verdict,) = crossed(figures).values()
    assert (verdict.field, verdict.figure, verdict.where) == (
        "forbidden_characters",
        4,
        "ko documents",
    )
    assert not crossed(figures, SPEC.model_copy(update={"forbidden_characters": 4}))


@pytest.mark.parametrize(
    "text", ["\u1112\u1161\u11ab", "e\u0301", "\u0f71\u0f72\u0f0b\u0fb2\u0f80\u0f71", "\u212b"]
)
def test_what_is_not_normalized_is_found(tmp_path: Path, text: str):
    assert not unicodedata.is_normalized("NFC", text)
    figures = audit_documents(tmp_path, "bo", "ཀ་ཁ", text, "가나")
    assert figures.scripts[0].not_normalized == 1
    assert figures.scripts[0].not_normalized_ids == ["d1"]
    assert "texts that are not NFC" in crossed(figures)


def test_the_worst_texts_come_first(tmp_path: Path):
    clean = ["한국의 봄은 따뜻하다."] * 30
    figures = audit_documents(
        tmp_path, "ko", *clean, "서울 Москва 부산", "Москва и", "한국 漢字 서울 β"
    )
    (scripts,) = figures.scripts
    assert [(text["id"], text["script"]) for text in scripts.worst] == [
        ("d31", "Cyrillic"),
        ("d30", "Cyrillic"),
        ("d32", "Greek"),
    ]
    assert scripts.worst[0]["share"] == 7 / 8
    assert scripts.worst[1]["excerpt"] == "서울 Москва 부산"
    assert scripts.unexpected == 14


def test_neither_the_cut_nor_the_order_of_parts_matters(tmp_path: Path, project: Path):
    texts = [*bundled_texts(project, "ko", 300), "Москва 서울", "βγ"]
    spec = AuditSpec(sample_documents=20)
    found = []
    for name, parts, backwards in (("one", 1, False), ("many", 7, False), ("back", 7, True)):
        language = audited_language(tmp_path / name, "ko", texts, parts=parts)
        audit = tmp_path / f"audit-{name}"
        found.append(
            run_audit(audit, AuditInputs(languages=(language,)), spec, backwards=backwards)
        )
    assert found[0] == found[1] == found[2]
    pages = {
        (tmp_path / f"audit-{name}/samples/ko-documents.html").read_bytes()
        for name in ("one", "many", "back")
    }
    assert len(pages) == 1


def test_the_sample_depends_on_seed_and_ids_alone(tmp_path: Path, project: Path):
    def drawn(name: str, texts: list[str], seed: int, *, backwards: bool = False) -> list[str]:
        language = audited_language(tmp_path / name, "en", texts, backwards=backwards)
        spec = AuditSpec(sample_documents=10, seed=seed)
        run_audit(tmp_path / f"audit-{name}", AuditInputs(languages=(language,)), spec)
        page = (tmp_path / f"audit-{name}/samples/en-documents.html").read_text("utf-8")
        return [line for line in page.splitlines() if line.startswith('<p class="place">')]

    texts = [f"Text number {i:03}." for i in range(200)]
    first = drawn("first", texts, 0)
    assert len(first) == 10
    assert drawn("again", texts, 0, backwards=True) == first
    assert drawn("other seed", texts, 1) != first
    # With 100 documents more, what is still drawn of the first ones was drawn before.
    more = drawn("more", [*texts, *(f"Text number {i:03}." for i in range(200, 300))], 0)
    names = [{line.split("</b>")[1] for line in lines} for lines in (first, more)]
    old = {name for name in names[1] if int(name.split()[0].removeprefix("d")) < 200}
    assert old and old <= names[0]


def test_texts_in_two_corpora_are_counted(tmp_path: Path, project: Path):
    english = bundled_texts(project, "en", 10)
    korean = bundled_texts(project, "ko", 40)
    pairs = [("One sentence.", "한 문장."), (english[3], "어떤 글."), ("Both share it.", korean[5])]
    inputs = AuditInputs(
        languages=(
            audited_language(tmp_path / "en", "en", english),
            audited_language(tmp_path / "ko", "ko", korean, pairs),
            audited_language(tmp_path / "mn", "mn", ["ᠮᠣᠩᠭᠣᠯ"], [("Both share it.", "ᠬᠡᠪ")]),
        )
    )
    figures = run_audit(tmp_path / "audit", inputs)
    shared = {(s.corpus, s.other): s for s in figures.shared}
    assert set(shared) == {
        ("en documents", "en-ko pairs english"),
        ("ko documents", "en-ko pairs target"),
        ("en-ko pairs english", "en-mn pairs english"),
    }
    both = shared["en documents", "en-ko pairs english"]
    assert (both.distinct, both.texts, both.share, both.other_texts) == (1, 1, 0.1, 1)
    assert both.examples[0]["id"] == "d3"
    assert english[3].startswith(both.examples[0]["text"])
    # Halves of two languages meet in no training.
    shares = {part.corpus: part.shared for part in figures.overlaps}
    assert shares["en-mn pairs english"] == 0
    verdict = crossed(figures)["shared_documents_share"]
    assert set(verdict.crossed) == {
        "en documents",
        "ko documents",
        "en-ko pairs english",
        "en-ko pairs target",
    }


REJECTED = [
    {"id": "r1", "text": "한", "file": "ko.jsonl", "position": "line 3", "reason": "too short"},
    {"id": "r2", "text": "둘", "file": "ko.jsonl", "position": "line 9", "reason": "too short"},
    {"id": "r3", "text": "같은 글", "file": "ko.jsonl", "position": "line 4", "reason": "duplicate",
     "duplicate_of": "d0"},
]  # fmt: skip


def test_rejected_text_is_counted_by_reason_and_shown(tmp_path: Path):
    language = audited_language(tmp_path / "ko", "ko", ["같은 글", "다른 글"], rejected=REJECTED)
    figures = run_audit(tmp_path / "audit", AuditInputs(languages=(language,)))
    (part,), (side,) = figures.rejections, figures.rejected
    assert (part.read, part.kept, part.rejected) == (5, 2, {"too short": 2, "duplicate": 1})
    assert part.adds_up and side.adds_up
    assert side.examples["duplicate"][0]["place"] == "ko.jsonl, line 4"
    assert side.examples["duplicate"][0]["duplicate_of"] == "d0"
    assert set(crossed(figures)) == {"rejected_share"}
    assert not crossed(figures, AuditSpec(rejected_share=0.6))


@pytest.mark.parametrize("lost", ["read", "kept", "rejected"])
def test_a_record_that_disappeared_is_noticed(tmp_path: Path, lost: str):
    language = audited_language(tmp_path / "ko", "ko", ["한 글", "다른 글"], rejected=REJECTED[:1])
    counts = language.counts["documents"]
    if lost == "rejected":
        counts["rejected"] = {"duplicate": 1}
    else:
        counts[lost] += 1
    figures = run_audit(tmp_path / "audit", AuditInputs(languages=(language,)))
    assert set(crossed(figures)) == {"unaccounted records"}


def test_thresholds_judge_the_figures_that_were_written(tmp_path: Path):
    figures = audit_documents(tmp_path, "ko", "한국 Ａ")
    assert read_figures(tmp_path / "audit") == figures
    strict, lax = SPEC, AuditSpec(forbidden_characters=1)
    assert crossed(read_figures(tmp_path / "audit"), strict)
    assert not crossed(read_figures(tmp_path / "audit"), lax)
    assert metrics(figures)["audit/ko/forbidden_characters"] == 1
