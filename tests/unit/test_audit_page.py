"""The pages show what was found, escape it, and ask for nothing."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from ccx_ray.cli.tables import print_audit
from ccx_ray.corpus.audit.figures import verdicts
from ccx_ray.corpus.audit.inputs import AuditInputs, probe_side
from ccx_ray.corpus.audit.page import audit_page, marked
from ccx_ray.study.text_spec import AuditSpec
from tests.audited_text import audited_language, run_audit

EVIL = '</p><script>alert("한")</script><img src=x onerror=alert(1)> & Москва'


class Tags(HTMLParser):
    """Every tag that a browser would see, and whether they are closed in order."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of text that would break a page."""
    folder = tmp_path_factory.mktemp("evil")
    question = f"{EVIL} 은 ___ 이다 그리고 매우 길다"
    rejected = [{"id": EVIL, "text": EVIL, "file": EVIL, "position": "1", "reason": EVIL}]
    inputs = AuditInputs(
        languages=(
            audited_language(folder / "en", "en", [EVIL, "plain"]),
            audited_language(
                folder / "ko", "ko", [EVIL, question, "한국"], [(EVIL, EVIL)], rejected=rejected
            ),
            audited_language(folder / "mn", "mn", ["ᠮᠣᠩᠭᠣᠯ ᠤᠨ"], [("One", "ᠬᠡᠪ")]),
        ),
        probes=(probe_side("ko", "ko", [(question, question)]),),
    )
    run_audit(folder / "audit", inputs, AuditSpec(sample_documents=50))
    return folder / "audit"


def test_every_page_is_whole_escaped_and_asks_for_nothing(audit: Path):
    pages = [audit / "audit.html", *(audit / "samples").iterdir()]
    assert {page.name for page in pages} == {
        "audit.html",
        "en-documents.html",
        "ko-documents.html",
        "en-ko-pairs.html",
        "mn-documents.html",
        "en-mn-pairs.html",
    }
    for page in pages:
        text = page.read_text("utf-8")
        tags = Tags()
        tags.feed(text)
        assert tags.open == []
        assert not tags.seen & {"script", "img", "link", "iframe"}
        assert not any(name.startswith("on") for name, _ in tags.attributes)
        targets = [value for name, value in tags.attributes if name in ("href", "src")]
        assert all(not re.match(r"\w+:|//", target or "") for target in targets)
        assert "url(" not in text and "@import" not in text


def test_links_lead_to_pages_that_exist(audit: Path):
    text = (audit / "audit.html").read_text("utf-8")
    links = re.findall(r'href="([^"#]+)"', text)
    assert len(links) == 5
    assert all((audit / link).is_file() for link in links)
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert anchors and all(f'id="{anchor}"' in text for anchor in anchors)


def test_the_page_says_what_is_wrong(audit: Path):
    text = (audit / "audit.html").read_text("utf-8")
    assert re.search(r'class="verdict crossed">\d of 14 limits exceeded', text)
    assert "characters of an excluded script" in text


def test_the_same_figures_under_other_limits(tmp_path: Path):
    language = audited_language(tmp_path / "ko", "ko", ["한국 Ａ"])
    figures = run_audit(tmp_path / "audit", AuditInputs(languages=(language,)))
    page = audit_page(figures, verdicts(figures, AuditSpec(forbidden_characters=1)), title="x")
    assert "None of 14 limits is exceeded." in page


def test_characters_of_other_scripts_are_marked():
    expected = ("Hangul", "Common", "Inherited")
    assert marked("서울 Москва, <b>", expected) == (
        '서울 <mark title="Cyrillic">Москва</mark>, &lt;<mark title="Latin">b</mark>&gt;'
    )
    assert marked("Ж漢", expected) == ('<mark title="Cyrillic">Ж</mark><mark title="Han">漢</mark>')
    assert marked("<b>", ()) == "&lt;b&gt;"
    assert marked("", expected) == ""


def test_the_terminal_shows_the_verdict_and_where_to_read(tmp_path: Path):
    language = audited_language(tmp_path / "ko", "ko", ["한국 Ａ", "서울 [red]은[/red] 도시"])
    figures = run_audit(tmp_path / "audit", AuditInputs(languages=(language,)))
    out = io.StringIO()
    page = tmp_path / "audit/audit.html"
    print_audit(figures, verdicts(figures, AuditSpec()), page, console=Console(file=out, width=100))
    assert "1 of 14 limits exceeded" in out.getvalue()
    assert str(page) in out.getvalue()
    assert "ko documents" in out.getvalue()
