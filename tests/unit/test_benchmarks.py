"""The program that measures training on a GPU runs to its end in small, where no GPU is."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def benchmark(tmp_path: Path, *arguments: str, environment: dict[str, str] | None = None) -> dict:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(PROJECT / "benchmarks/training.py"), *arguments]
    ended = subprocess.run(
        [*command, "--repeats", "1", "--steps", "1", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    tables = json.loads(out.read_text("utf-8"))["parts"]
    for table in tables:
        assert table["title"] in ended.stdout
    return {table["part"]: table for table in tables}


def test_the_gpu_part_takes_its_whole_path_on_a_cpu_without_the_platforms_libraries(
    tmp_path: Path,
) -> None:
    """A machine with a GPU may have torch and transformers alone: the others fail to import."""
    for package in ("ray", "pydantic", "deepspeed", "mlflow", "rich", "pyarrow"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('not on a bare machine')\n")
    table = benchmark(
        tmp_path,
        *["gpu", "--device", "cpu", "--preset", "micro", "--gpu-sequences", "2"],
        *[
            "--only",
            "eager",
            "bf16",
            "sdpa",
            "chunked",
            "fused",
            "not",
            "Hugging",
        ],
        environment={"PYTHONPATH": str(tmp_path)},
    )["gpu"]
    ran = {name for name, result in table["figures"].items() if isinstance(result, dict)}
    assert ran >= {
        "eager attention, plain loss, fp32",
        "+ bf16 autocast",
        "+ sdpa",
        "+ chunked loss",
        "+ fused AdamW",
        "  not compiled, document masks, sdpa",
    }
    assert table["figures"]["+ fused loss (Liger)"] == "no Liger"
    assert "the GPU figures are open" in table["verdicts"][0]
