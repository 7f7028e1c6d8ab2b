"""Which reader a probe file needs, told by its name.

Invariant: every layout becomes the same kind of question, so what is done with the scores
afterwards never asks where a question came from.
"""

from pathlib import Path

from ccx_ray.evaluation.external.bmlama import load_bmlama
from ccx_ray.evaluation.external.harness_tasks import load_harness_task
from ccx_ray.evaluation.external.mlama import load_mlama
from ccx_ray.evaluation.probes import Probe, load_probe

LAYOUTS = """\
Probe files are told apart by their names:
  *.json    a list of {"question": "... ___ ...", "options": [...], "answer": "..."}
  *.tsv     BMLAMA: Prompt with <mask>, Ans, Candidate Ans, as in Cross-Lingual-Consistency
  *.jsonl   mLAMA: the triples of a relation, such as P19.jsonl, with templates.jsonl beside it
  *.yaml    a multiple-choice task of lm-evaluation-harness, scored as the harness does it"""


def load_probe_file(path: Path, *, lenient: bool = False) -> Probe:
    """Read the questions of any file; the probe's name is its path.

    Args:
        lenient: leave items of the wrong shape out and list them, instead of refusing the file.

    Raises:
        UserError: the file cannot be read, or an item of it has the wrong shape, or none is left.
    """
    readers = {
        ".tsv": load_bmlama,
        ".jsonl": load_mlama,
        ".yaml": load_harness_task,
        ".yml": load_harness_task,
    }
    read = readers.get(path.suffix.lower(), load_probe)
    return read(path, str(path), lenient=lenient)
