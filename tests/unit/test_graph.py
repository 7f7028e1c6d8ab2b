"""Fingerprints move exactly where they should."""

from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.steps import reviews_folder
from ccx_ray.orchestration.fingerprints import canonical, fingerprint
from ccx_ray.orchestration.graph import Graph
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study_graph import study_graph

CULTURES = ("ko", "zh", "bo", "mn")


def graph_of(*overrides: str) -> Graph:
    study, root = load_study("laptop", overrides)
    return study_graph(study, InputFiles(root))


def moved(before: Graph, after: Graph) -> set[str]:
    names = before.steps.keys() & after.steps.keys()
    return {n for n in names if before[n].fingerprint != after[n].fingerprint}


def test_sixteen_trials_each_with_an_evaluation_that_follows_it():
    graph = graph_of()
    trials = [s for s in graph.of_kind("training") if s.name != "base"]
    assert len(trials) == 16
    assert {e.follows.name for e in graph.of_kind("evaluation") if e.follows} == {
        "base",
        *(trial.name for trial in trials),
    }


def test_every_step_comes_after_what_it_needs():
    seen: set[str] = set()
    for step in graph_of().steps.values():
        followed = {step.follows.name} if step.follows else set()
        assert {s.name for s in step.upstream} | followed <= seen
        seen.add(step.name)


def test_where_it_runs_is_not_identity():
    other = graph_of(
        "runtime.storage=elsewhere",
        "runtime.trials.workers=2",
        "runtime.trials.sequences_per_device=8",
        "runtime.evaluation.evaluators=4",
        "runtime.data.reader=ray",
    )
    assert moved(graph_of(), other) == set()


def test_a_licence_is_not_identity():
    bare = "languages.ko.monolingual=[data/mono/ko.jsonl.gz]"
    probes = "languages.ko.probes={english: a.json, target: b.json}"
    study, root = load_study("laptop", [bare, probes])
    (stated,) = load_study("laptop")[0].language("ko").monolingual
    (unstated,) = study.language("ko").monolingual
    assert (stated.license, unstated.license) == (("CC-BY-SA-4.0",), ())
    assert moved(graph_of(), graph_of(bare)) == set()
    changed = "languages.ko.probes.license=[MIT, GPL-3.0-only]"
    assert moved(graph_of(), graph_of(changed)) == set()
    with pytest.raises(UserError, match=r"probes\.english: '.*a\.json' is not an existing file"):
        study_graph(study, InputFiles(root))  # a licence is no third file


def test_only_a_third_condition_is_identity_of_the_streams():
    """The streams of the first two are made in any study, so naming one of them alone is not."""
    before = graph_of()
    streams = {step.name for step in before.of_kind("stream") if step.name != "stream-base"}
    assert streams & moved(before, graph_of("trials.conditions=[bridge]")) == set()
    assert all("conditions" not in before[name].identity for name in streams)
    third = graph_of("trials.conditions=[bridge, nobridge, deranged]")
    assert streams < moved(before, third)
    kinds = {before[name].kind for name in moved(before, third)}
    assert kinds == {"stream", "audit", "training", "evaluation", "exposure", "analysis"}
    assert "base" not in moved(before, third)
    assert {"trial-ko-deranged-s0", "evaluate-ko-deranged-s0"} < third.steps.keys()
    again = graph_of("trials.conditions=[deranged, bridge]")
    assert streams & moved(third, again) == set()


def test_a_trial_field_moves_the_trials_and_not_the_base():
    changed = moved(graph_of(), graph_of("trials.optimizer.learning_rate=0.01"))
    assert "trial-ko-bridge-s0" in changed
    assert "evaluate-ko-bridge-s0" in changed
    assert "analysis" in changed
    assert changed.isdisjoint({"base", "tokenizer", "stream-ko-s0", "frequency-ko"})


def test_a_confidence_moves_the_analysis_alone():
    assert moved(graph_of(), graph_of("analysis.confidence=0.9")) == {"analysis"}


def test_an_added_seed_leaves_the_others():
    changed = moved(graph_of(), graph_of("trials.seeds=[0, 1, 2]"))
    assert changed == {"audit", "analysis", *(f"exposure-{code}" for code in CULTURES)}


def test_a_judge_leaves_the_indexes_and_an_embedder_the_lexicons():
    judged = moved(graph_of(), graph_of("frequency.judge.salient_share=0.7"))
    followed = {"validation", "review", "analysis"}
    followed |= {f"{step}-{code}" for code in CULTURES for step in ("frequency", "exposure")}
    assert judged == followed
    embedded = moved(graph_of(), graph_of("frequency.embedder.dimensions=64"))
    assert embedded == followed | {f"index-{code}" for code in ("en", *CULTURES)}


def test_what_a_judge_costs_and_where_it_is_decides_nothing():
    judge = "frequency.judge={kind: endpoint, model: llama}"
    runtime = "runtime.judge={url: 'http://127.0.0.1:1/v1', max_dollars: 3}"
    assert moved(graph_of(judge), graph_of(judge, runtime)) == set()
    assert "frequency-ko" in moved(graph_of(judge), graph_of(judge.replace("llama", "qwen")))


def test_an_embedder_of_the_own_base_waits_for_it():
    graph = graph_of("frequency.embedder={kind: hidden_states}")
    assert upstream(graph, "index-ko") == {"text-ko", "base"}
    compared = graph_of("frequency.validation.embedders=[{kind: hidden_states}]")
    assert upstream(compared, "index-ko") == {"text-ko"}
    assert upstream(compared, "compared0-ko") == {"text-ko", "base"}
    assert moved(graph_of(), compared) == {"validation", "review", "analysis"}


def test_a_review_counts_for_the_documents_that_were_reviewed(tmp_path):
    def graph(*overrides: str) -> Graph:
        study, root = load_study("laptop", overrides)
        return study_graph(study, InputFiles(root), study_folder=tmp_path)

    folder = reviews_folder(tmp_path, graph()["validation"])
    before = graph()
    folder.mkdir(parents=True)
    (folder / "ko.csv").write_text("id,holds")
    assert moved(before, graph()) == {"review", "analysis"}
    other = "frequency.top_documents=20"
    assert graph(other)["review"].identity == before["review"].identity


def test_a_missing_input_is_named():
    with pytest.raises(UserError, match=r"languages\.ko\.monolingual: .*gone\.gz"):
        graph_of("languages.ko.monolingual=[gone.gz]")


def test_a_plan_may_lack_its_inputs():
    study, root = load_study("laptop", ["languages.ko.monolingual=[gone.gz]"])
    inputs = InputFiles(root, allow_missing=True)
    study_graph(study, inputs)
    assert set(inputs.missing) == {"languages.ko.monolingual: gone.gz"}


def test_the_canonical_encoding_refuses_what_it_cannot_encode():
    for value in ({1, 2}, Path("x"), object(), {"x": float("nan")}, {1: "x"}):
        with pytest.raises(TypeError):
            canonical(value)
    assert fingerprint({"b": 1, "a": (1, 2)}) == fingerprint({"a": [1, 2], "b": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert fingerprint({"a": "1"}) != fingerprint({"a": 1})


def upstream(graph: Graph, name: str) -> set[str]:
    return {step.name for step in graph[name].upstream}


def test_streams_and_evaluations_need_the_held_out_documents_of_their_languages():
    graph = graph_of("trials.mixture.replay=0.1")
    assert {step.name for step in graph.of_kind("heldout")} == {
        f"heldout-{code}" for code in ("en", "ko", "zh", "bo", "mn")
    }
    assert upstream(graph, "heldout-mn") == {"text-mn"}
    assert upstream(graph, "heldout-en") == {s.name for s in graph.of_kind("text")}
    assert "heldout-en" in upstream(graph, "stream-base")
    assert {"heldout-mn", "heldout-en"} < upstream(graph, "stream-mn-s1")
    assert upstream(graph, "evaluate-mn-bridge-s1") == {"heldout-mn", "heldout-en"}
    assert upstream(graph, "evaluate-base") == {s.name for s in graph.of_kind("heldout")}
    assert "heldout-en" not in upstream(graph_of(), "stream-mn-s1"), "nothing is replayed"


def test_other_held_out_documents_move_what_is_trained_and_not_the_tokens():
    changed = moved(graph_of(), graph_of("held_out.seed=1"))
    assert {"heldout-ko", "stream-base", "base", "stream-ko-s0", "evaluate-base"} <= changed
    assert changed.isdisjoint({"text-ko", "tokenizer", "tokens-ko", "index-ko"})


def test_a_share_of_nothing_leaves_no_trace_of_held_out_documents():
    graph = graph_of("held_out.share=0", "trials.mixture.replay=0.1")
    assert graph.of_kind("heldout") == ()
    assert upstream(graph, "stream-base") == {"tokens-en", "tokenizer"}
    assert upstream(graph, "stream-ko-s0") == {"tokens-ko", "tokenizer", "tokens-en"}
    assert upstream(graph, "evaluate-ko-bridge-s0") == set()


def test_seeds_start_from_several_bases_in_turn():
    graph = graph_of("base.seeds=[0, 7]", "trials.seeds=[0, 1, 2]")
    bases = {
        name: [s.name for s in graph[f"trial-{name}"].upstream if s.name.startswith("base")]
        for name in ("ko-bridge-s0", "ko-nobridge-s0", "ko-bridge-s1", "ko-bridge-s2")
    }
    assert list(bases.values()) == [["base"], ["base"], ["base-s7"], ["base"]]
    assert graph["base"].fingerprint == graph_of()["base"].fingerprint
    assert graph["evaluate-base-s7"].follows is graph["base-s7"]
    assert graph["base"].upstream[0].name == "stream-base"
    assert graph["base-s7"].upstream[0].name == "stream-base-s7"


def test_a_planted_world_stands_before_every_text():
    study, root = load_study("control-quick")
    graph = study_graph(study, InputFiles(root))
    for code in ("en", "hi"):
        assert graph[f"text-{code}"].upstream == (graph["world"],)
    other, _ = load_study("control-quick", ["world.seed=1"])
    changed = moved(graph, study_graph(other, InputFiles(root)))
    assert changed == set(graph.steps)


def test_what_runs_in_the_background_is_what_no_training_and_no_evaluation_needs():
    graph = graph_of()
    trained = [*graph.of_kind("training"), *graph.of_kind("evaluation")]
    needed = graph.needed_for(trained).steps
    others = {name for name in graph.steps if name not in needed} - {"analysis", "review"}
    assert {name for name, step in graph.steps.items() if step.background} == others
