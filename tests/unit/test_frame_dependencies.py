"""Every library that the package imports is named in pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path


def imported(path: Path) -> set[str]:
    """First names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_imported_libraries_are_dependencies(project: Path) -> None:
    content = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*content["dependencies"], *chain(*content["optional-dependencies"].values())]
    names = {re.split(r"[^\w.-]", name)[0].lower().replace("_", "-") for name in named}
    modules = set().union(*map(imported, (project / "ccx_ray").rglob("*.py")))
    distributions = packages_distributions()
    missing = {
        module
        for module in modules
        - sys.stdlib_module_names
        - {"ccx_ray", "compression"}  # the latter of Python 3.14
        if not {d.lower().replace("_", "-") for d in distributions.get(module, [module])} & names
    }
    assert missing == set()
