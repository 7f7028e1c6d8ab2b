"""The audit finds what should not be in a corpus, and says nothing against a clean one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.audit import TextAudit, audit_texts
from ccx_ray.study.spec import IsolationSpec

NO_LATIN = IsolationSpec(remove=("Latin",))


def audit(folder: Path, *texts: str) -> TextAudit:
    (folder / "documents").mkdir(parents=True)
    table = pa.table({"id": [str(i) for i in range(len(texts))], "text": list(texts)})
    pq.write_table(table, folder / "documents" / "part-00000.parquet")
    (found,) = audit_texts("ko", folder, {"text": NO_LATIN}, "documents")
    return found


def test_a_clean_corpus(tmp_path: Path):
    found = audit(tmp_path, "한국에는 4 개의 계절이 있다.", "서울")
    assert found.clean
    assert found.texts == 2
    assert found.scripts["Hangul"] == 13


def test_full_width_and_superscript_latin_are_found(tmp_path: Path):
    found = audit(tmp_path, "한국 Ａ", "서울ª ᵃ x")
    assert not found.clean
    assert found.forbidden == 4
    assert found.scripts["Latin"] == 4


def test_what_is_not_normalized_is_found(tmp_path: Path):
    found = audit(tmp_path, "\u1112\u1161\u11ab", "한")
    assert found.not_normalized == 1
    assert not found.clean
