"""README and docs: each command, snippet and link is checked, and the site builds without a
warning."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from ccx_ray.errors import UserError
from ccx_ray.study.loading import load_study, shipped_studies, validate_study
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import find_trial
from ccx_ray.study.yaml_text import read_yaml
from tests.documentation import (
    HOW,
    PROJECT,
    Block,
    Command,
    blocks,
    commands,
    commands_that_are,
    name_of,
    pages,
)
from tests.glossary import TERMS, glossary_entries, pages_with_links, unlinked_terms
from tests.jobs import call_job
from tests.small_corpus import text_folder

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # MyST's of Sphinx

OUTSIDE = (
    "README.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "dashboards/README.md",
    "deploy/README.md",
)
"""Pages whose links Sphinx does not check as GitHub shows them."""


@pytest.fixture(scope="module", autouse=True)
def _docs_can_be_imported() -> None:
    sys.path.append(str(PROJECT / "docs"))


def test_every_command_is_checked_by_one_row_of_the_table():
    unchecked = [str(command) for command in commands() if command.how is None]
    assert not unchecked, "tests/documentation.py: HOW says by what a command is checked"
    used = {next(start for start, _ in HOW if re.match(start, c.text)) for c in commands()}
    assert used == {start for start, _ in HOW}, "rows that match no command are to be deleted"


def test_bash_reads_every_block():
    for block in blocks("bash"):
        done = subprocess.run(
            ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name_of(block.page)}:{block.line}: {done.stderr}"


ACTS = ("--dry-run", "--json", "--rerun", "--resume", "--stop", "--trial", "--watch")
"""Options that say what is done with a study, and nothing of the study."""


def planned_arguments(command: Command, storage: Path) -> list[str]:
    """The arguments of a job as those of a plan: of the shipped study where a cluster's copy is
    named, in a storage of the test."""
    arguments = [re.sub(r"^/mnt/ccx_ray/(\w+)\.yaml$", r"\1", word) for word in command.words[2:]]
    kept, study = [], load_study(arguments[arguments.index("--study") + 1])[0]
    while arguments:
        word = arguments.pop(0)
        if word in ("--storage", "--import"):
            del arguments[0]
        elif re.fullmatch(r"[a-z]+-[a-z]+-s\d+", word):
            find_trial(study, word)
        elif word not in ACTS:
            kept.append(word)
    return [*kept, "--storage", str(storage), "--dry-run"]


@pytest.mark.parametrize("command", commands_that_are("planned"), ids=lambda c: c.text)
def test_a_command_is_planned(command: Command, tmp_path: Path):
    if command.words[0] == "make":
        done = subprocess.run(
            ["make", "-n", *command.words[1:], f"STORAGE={tmp_path}", "-W", "pyproject.toml"],
            cwd=PROJECT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    else:
        from job_help import help_of

        options = set(re.findall(r"--[a-z-]+", help_of(Path(command.words[1]).stem)))
        assert set(command.options) <= options, command
        done = call_job("full_study", *planned_arguments(command, tmp_path))
        assert done.returncode or "still to do" in done.stdout
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def run_in(folder: Path, command: Command) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder that has the project's files, but writes nothing into them."""
    for name in ("Makefile", "ccx_ray", "dashboards", "data", "examples", "jobs"):
        (folder / name).symlink_to(PROJECT / name)
    python = shutil.which("python3") if command.words[0] == "make" else sys.executable
    line = " ".join(
        word if "*" in word else f"'{word}'" for word in command.words if word != "python"
    )
    if command.words[0] == "python":
        line = f"{python} {line}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", commands_that_are("run"), ids=lambda c: c.text)
def test_a_command_runs(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    done = run_in(tmp_path, command)
    if "trials.steps=many" in command.text:  # the tutorial shows how a mistake is answered
        assert done.returncode == 2
        assert done.stderr == (
            "error: greek.yaml: trials.steps: 'many': Input should be a valid integer\n"
        )
    else:
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def parse_by_click(tool: Any, words: Sequence[str]) -> None:
    """Raises what the tool's own parser has against the words."""
    import click

    context = click.Context(tool, info_name="tool")
    while isinstance(tool, click.Group):
        name, tool, words = tool.resolve_command(context, list(words))
        assert tool is not None, name
        context = click.Context(tool, info_name=name, parent=context)
    tool.make_context(tool.name, list(words))


@pytest.mark.parametrize("command", commands_that_are("parsed"), ids=lambda c: c.text)
def test_a_command_is_taken_by_its_tools_parser(command: Command, monkeypatch: pytest.MonkeyPatch):
    tool, *words = command.words
    if tool == "ray":
        from ray.scripts.scripts import cli

        parse_by_click(cli, words)
    elif tool == "mlflow":
        from mlflow.cli import cli

        parse_by_click(cli, words)
    else:
        from lm_eval._cli import HarnessCLI

        monkeypatch.setattr(sys, "argv", list(command.words))
        assert HarnessCLI().parse_args().tasks == ["ccx_ray_cloze"]
    job = words.index("python") if "python" in words else len(words)
    for file in [word for word in words[:job] if word.endswith(".yaml")]:
        assert (PROJECT / file).is_file(), command


@pytest.mark.parametrize("command", commands_that_are("files"), ids=lambda c: c.text)
def test_a_command_names_files_that_are_there(command: Command):
    extras = re.findall(r"^(\w+) = \[", (PROJECT / "pyproject.toml").read_text("utf-8"), re.M)
    for word in (word.rpartition("=")[2] for word in command.words[1:]):
        if extra := re.fullmatch(r"\.\[(\w+)\]", word):
            assert extra[1] in extras, command
        elif re.match(r"[a-z]+[/.][a-z./-]+$", word) or word == "cluster.yaml":
            assert (PROJECT / word).exists(), command


def test_no_page_asks_for_a_make_target_or_a_job_that_is_not_there():
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.M)
    for page in pages():
        text = page.read_text("utf-8")
        for target in re.findall(r"`make ([a-z]+)", text):
            assert target in targets, f"{name_of(page)}: make {target}"
        for job in re.findall(r"\bjobs/(\w+)\.py", text):
            assert (PROJECT / "jobs" / f"{job}.py").is_file(), f"{name_of(page)}: {job}"


def merged(below: Any, above: Any) -> Any:
    """A mapping with the fields of another over its own, all the way down."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {name: merged(below.get(name), value) for name, value in above.items()}


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda b: f"{name_of(b.page)}:{b.line}")
def test_a_snippet_of_a_study_file_is_taken(block: Block):
    part = read_yaml(block.text.replace("<commit>", "0123abc"))
    if not set(part) <= set(StudySpec.model_fields):  # of a language
        part = {"base_language": part}
    whole = read_yaml(shipped_studies()["laptop"].read_text("utf-8"))
    replaced = {"model": {}, "interventions": []}  # a preset, or another architecture: as a whole
    study = validate_study(merged(whole | replaced, part) if "model" in part
                           else merged(whole, part), name_of(block.page))  # fmt: skip
    assert study.name == "laptop"


def test_a_wrong_snippet_would_be_refused():
    whole = read_yaml(shipped_studies()["laptop"].read_text("utf-8"))
    with pytest.raises(UserError, match=r"frequency\.top_document: unknown field"):
        validate_study(merged(whole, {"frequency": {"top_document": 5}}), "a page")


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    tokens = MarkdownIt().parse(page.read_text("utf-8"))
    texts = [after.content for token, after in pairwise(tokens)
             if token.type == "heading_open"]  # fmt: skip
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_links_of_a_page_lead_somewhere(name: str):
    page = PROJECT / name
    for target in re.findall(r"\]\((?![a-z]+:)([^)]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name}: {target}"
        assert not anchor or anchor in headings(linked), f"{name}: {target}"


def test_every_field_of_the_study_file_is_described():
    from study_fields import descriptions, parts

    missing = [
        f"{part.__name__}.{field}"
        for part in parts(StudySpec)
        for field in part.model_fields
        if not descriptions(part).get(field)
    ]
    assert not missing, "write what it is below the field"


@pytest.mark.parametrize("page", pages_with_links(), ids=name_of)
def test_a_page_links_each_term_where_it_first_uses_it(page: Path):
    assert not list(unlinked_terms(page)), "write {term}`...`; docs/glossary.md defines it"


def test_the_glossary_defines_every_linked_term_in_alphabetical_order():
    entries = glossary_entries()
    assert set(TERMS) <= {term for entry in entries for term in entry}
    first = [entry[0].lower() for entry in entries]
    assert first == sorted(first)


def test_an_unlinked_term_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# Transfer\nThe `transfer` of a {term}`trial`: transfer of trials.\n", "utf-8")
    assert list(unlinked_terms(page)) == ["transfer"]


def test_readme_fits_in_a_screen_and_a_half():
    assert len((PROJECT / "README.md").read_text("utf-8").splitlines()) <= 80


def test_issue_forms_and_the_citation_have_what_their_formats_want():
    forms = [f for f in (PROJECT / ".github/ISSUE_TEMPLATE").glob("*.yml") if f.stem != "config"]
    assert forms
    for form in forms:
        content = yaml.safe_load(form.read_text("utf-8"))
        assert {"name", "description", "body"} <= set(content), form
        assert all("label" in field["attributes"] for field in content["body"]), form
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it: a warning is an error."""
    from sphinx.cmd.build import build_main

    folder = tmp_path_factory.mktemp("site")
    made = build_main(["-W", "--keep-going", "-q", str(PROJECT / "docs"), str(folder)])
    assert made == 0, "a warning of Sphinx, above"
    return folder


def test_the_site_has_every_field_and_every_option(site: Path):
    from study_fields import parts

    text = (site / "reference/study-file.html").read_text("utf-8")
    for part in parts(StudySpec):
        assert f'id="field-{part.__name__.lower()}"' in text
        for field in part.model_fields:
            assert f">{field}</span>" in text, field
    jobs = (site / "reference/jobs.html").read_text("utf-8")
    for job in (PROJECT / "jobs").glob("*.py"):
        assert f"usage: {job.name}" in jobs


def test_the_site_asks_no_other_machine(site: Path):
    for page in site.rglob("*.html"):
        asked = re.findall(r'(?:src|<link[^>]*href)="(https?:[^"]+)"', page.read_text("utf-8"))
        assert not asked, page


def test_every_record_of_the_tutorials_language_is_kept(tmp_path: Path):
    study, root = load_study(str(PROJECT / "examples/greek/greek.yaml"))
    (greek,) = study.languages
    counts = text_folder(greek, root, tmp_path, base=study.base_language, cleaning=study.cleaning)
    for part, read in (("documents", 30), ("pairs", 24)):
        assert (counts[part]["read"], counts[part]["rejected"]) == (read, {})
    assert counts["characters_removed_by_script"] == {}
