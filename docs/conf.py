"""How Sphinx builds the documentation: ``make docs`` writes it to build/docs."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "docs")]

from included_pages import included
from job_help import job_help, make_targets
from study_fields import study_fields

project = "ccx_ray"
author = "the ccx_ray authors"
copyright = "the ccx_ray authors, Apache License 2.0"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "ccx_ray"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False

GENERATED = {
    "reference/study-file": study_fields,
    "reference/jobs": job_help,
    "reference/make": make_targets,
}
"""Page -> what is written behind its text when the site is built."""
INCLUDED = {
    "bundled-text": "data/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "operations/dashboards": "dashboards/README.md",
    "operations/tracking-server": "deploy/README.md",
}
"""Page -> the file of the project that it shows; the page itself is empty."""


def fill_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what is generated, or a file of the project, into a page."""
    if page in GENERATED:
        source[0] += "\n" + GENERATED[page]()
    if page in INCLUDED:
        source[0] = included(PROJECT / INCLUDED[page], (PROJECT / "docs" / page).parent)
        app.env.note_dependency(str(PROJECT / INCLUDED[page]))


def setup(app: Sphinx) -> None:
    """Register what is generated."""
    app.connect("source-read", fill_page)
