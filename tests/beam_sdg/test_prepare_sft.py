"""Solutions that somebody else generated and judged: what is kept of them, and why the rest is not.

The solutions are those of four models to problems of GSM8K, with their labels; faults are planted
in some of them, and the plan is worked out from the rows as they were written.
"""

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_sdg.cli import main
from tests import planned

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
THOUGHT = "It is a sum in several steps."
CALL = "```python\nprint(6 * 7)\n```\n```output\n42\n```\n"
LEAST_VOTES, MOST_WORDS, LONGEST_PROBLEM = 2, 100, 75
# Chains of sums that are wrong, in solutions to the first problems: (problem, model), by reading.
WRONG_SUMS = {(100, "175b_finetuning"), (184, "6b_verification")}

# What is done to a row, and the reason for which it must be lost if there is none before it.
FAULTS: dict[str, Any] = {
    "missing_text": lambda row: row.update(problem=None),
    "missing_generation": lambda row: row.update(generation="", reasoning_content=None),
    "bad_column": lambda row: row.update(majority_votes="three"),
    "truncated": lambda row: row.update(finish_reason="length"),
    "unlabeled": lambda row: row.update(judgement="Who can tell?", symbolic_correct=True),
    "drop_multi_boxed": lambda row: written(row, r"It may be \boxed{1} too."),
    "remove_code_errors": lambda row: swapped(row, "42\n", "ZeroDivisionError\n" + traceback()),
    "remove_matplotlib": lambda row: swapped(row, "print", "import matplotlib\nprint"),
    "remove_no_code": lambda row: swapped(row, CALL, ""),
    "remove_no_think_tags": lambda row: row.pop("reasoning_content"),
    "remove_verification_code": lambda row: written(row, "Let me verify this with Python."),
    "drop_incorrect_arithmetic": lambda row: written(row, "Then 2 + 2 = 5."),
    "template_refuses": lambda row: row.update(problem=row["problem"] + " REFUSE"),
    "template_rewrites_prompt": lambda row: written(row, "REWRITE"),
    "template_drops_reasoning": lambda row: row.update(reasoning_content="FORGET why."),
    "template_drops_solution": lambda row: written(row, "SHORTEN"),
}
ORDER = (
    *("missing_text", "missing_generation", "bad_column"),
    *("truncated", "unlabeled", "incorrect", "drop_multi_boxed"),
    *("remove_contaminated", "no_contamination_label", "remove_code_errors", "remove_matplotlib"),
    *("remove_no_code", "remove_no_think_tags", "remove_verification_code", "majority_filter"),
    *("drop_incorrect_arithmetic", "remove_len_outlier_problems", "remove_len_outlier_solutions"),
    "duplicate_solution",
    *("template_refuses", "template_rewrites_prompt"),
    *("template_drops_reasoning", "template_drops_solution"),
)
STAGES = {"missing_text": "rows", "missing_generation": "traces", "bad_column": "traces"}
TEMPLATE = """\
{%- if 'REFUSE' in messages[0].content %}{{ raise_exception('I will not') }}{% endif %}
{%- if 'REWRITE' in messages[-1].content %}[rewritten]{% endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}<user>{{ message.content }}</user>
{%- else %}<model>
{%- if 'FORGET' not in message.thinking %}({{ message.thinking }}){% endif %}
{%- if 'SHORTEN' in message.content %}{{ message.content[:9] }}
{%- else %}{{ message.content }}{% endif %}</model>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<model>{% endif %}"""


def written(row: dict[str, Any], more: str) -> None:
    """Put a line before the last one of the solution."""
    before, end = row["generation"].rsplit("\n", 1)
    row["generation"] = f"{before}\n{more}\n{end}"


def swapped(row: dict[str, Any], old: str, new: str) -> None:
    assert old in row["generation"]
    row["generation"] = row["generation"].replace(old, new, 1)


def traceback() -> str:
    return 'Traceback (most recent call last):\n  File "<cell>", line 1\n'


def rows_of(data: Path, count: int) -> list[dict[str, Any]]:
    """Four solutions to each problem, under the published names, without a fault of ours."""
    with gzip.open(data / "gsm8k" / "model_solutions.jsonl.gz", "rt") as file:
        solved = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    found = []
    for problem, row in enumerate(solved):
        answers = {model: answer_of(row[model]["solution"]) for model in MODELS}
        votes = Counter(answers.values())
        for model in MODELS:
            label = row[model]["is_correct"]
            verdict: dict[str, Any] = {"symbolic_correct": label}
            if problem % 2:  # then the other column says the contrary
                said = f"They differ or not.\nJudgement: {'Yes' if label else 'No'}"
                verdict = {"judgement": said, "symbolic_correct": not label}
            found.append({
                "problem": row["question"],
                "generation": f"{CALL}{row[model]['solution']}\n\\boxed{{{answers[model]}}}",
                "reasoning_content": THOUGHT,
                "expected_answer": answer_of(row["ground_truth"]),
                "predicted_answer": answers[model],
                **verdict,
                "finish_reason": "stop",
                "majority_votes": votes[answers[model]],
                "total_votes": len(MODELS),
                "asked": [problem, model],
            })  # fmt: skip
    return found


def answer_of(solution: str) -> str:
    return (re.findall(r"^A: (.*)$", solution, re.MULTILINE) or ["nothing"])[-1]


def planned_rows(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], set[str]]]:
    """Every row, with a fault in each third, and what it may be lost for; copies of some."""
    found = []
    for number, row in enumerate(rows):
        problem, model = row["asked"]
        reasons = set()
        is_right = row["symbolic_correct"] is (problem % 2 == 0)
        if not is_right:
            reasons.add("incorrect")
        if row["majority_votes"] < LEAST_VOTES:
            reasons.add("majority_filter")
        if (problem, model) in WRONG_SUMS:
            reasons.add("drop_incorrect_arithmetic")
        if problem % 10 == 3:
            reasons.add("remove_contaminated")
        if problem % 10 == 6:
            reasons.add("no_contamination_label")
        if number % 3 == 0:
            name = [*FAULTS][number // 3 % len(FAULTS)]
            FAULTS[name](row)
            reasons = reasons - {"incorrect"} if name == "unlabeled" else reasons
            reasons.add(name)
        if len((row["problem"] or "").split()) > LONGEST_PROBLEM:
            reasons.add("remove_len_outlier_problems")
        texts = (row["generation"], row.get("reasoning_content") or "")
        if sum(len(text.split()) for text in texts) > MOST_WORDS:
            reasons.add("remove_len_outlier_solutions")
        row["asked"] = json.dumps(row["asked"])
        found.append((row, reasons))
        if number % 7 == 0:
            found.append(({**row, "asked": f"copy of {row['asked']}"}, reasons))
    return found


def what_is_lost(plan: Sequence[tuple[dict[str, Any], set[str]]]) -> dict[str, str]:
    """The reason for which each row is lost, by what it is asked; "duplicate" where one of two is.

    Of rows with the same content that nothing else is wrong with one is kept.
    """
    lost, alike = {}, defaultdict(list)
    for row, reasons in plan:
        first = next((reason for reason in ORDER if reason in reasons), "")
        if not first or first.startswith("template_"):
            alike[row["problem"], row["generation"], row["reasoning_content"]].append(row["asked"])
        lost[row["asked"]] = first
    for same in alike.values():
        if len(same) > 1:
            lost |= dict.fromkeys(same, f"duplicate {lost[same[0]]}")
    return lost


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model to train: its template, and a tokenizer with a token for each word."""
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path / "model"
    folder.mkdir()
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    config = json.dumps({"chat_template": TEMPLATE})
    (folder / "tokenizer_config.json").write_text(config)
    return folder


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rejects_of(output: Path) -> list[dict[str, Any]]:
    paths = sorted(output.glob("rejects/*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def asked_of(row: Mapping[str, Any]) -> str:
    """What a row was asked, whether it is a row of a source or a trace."""
    return row["asked"] if "asked" in row else json.loads(row["extra"])["asked"]


def test_real_solutions_are_kept_and_dropped_as_planned(data, trained, tmp_path):
    """Each row by itself: what is kept is what was written, and the rest has its first reason."""
    problems = planned.problems(300)
    real = rows_of(data, problems)
    labels = [
        {"problem": row["problem"], "contaminated": row["asked"][0] % 10 == 3}
        for row in real
        if row["asked"][0] % 10 != 6
    ]
    plan = planned_rows(real)
    of_refused = [
        {"problem": row["problem"], "contaminated": "remove_contaminated" in reasons}
        for row, reasons in plan
        if "template_refuses" in reasons and "no_contamination_label" not in reasons
    ]
    output = tmp_path / "out"
    assert (
        main([
            "prepare-sft", f"--output={output}", f"--sft_tokenizer={trained}",
            f"--problems={lines(tmp_path / 'in.jsonl', [row for row, _ in plan])}",
            f"--contamination_file={lines(tmp_path / 'labels.jsonl', labels + of_refused)}",
            "--prompt_config=none", "--code_format=fenced", "--drop_multi_boxed",
            "--remove_code_errors", "--remove_matplotlib", "--remove_no_code",
            "--remove_no_think_tags", "--remove_verification_code", "--drop_incorrect_arithmetic",
            f"--min_majority_votes={LEAST_VOTES}", f"--max_problem_length={LONGEST_PROBLEM}",
            f"--max_solution_length={MOST_WORDS}",
        ]) == 0
    )  # fmt: skip

    made = planned.dataset_rows(output)
    lost = what_is_lost(plan)
    by_asked = {row["asked"]: row for row, _ in plan}
    kept = {asked_of(row): row for row in made.values()}
    found = {asked_of(json.loads(row["row"])): row for row in rejects_of(output)}
    assert kept.keys() | found.keys() == lost.keys()
    assert len(kept) + len(found) == len(plan)
    twins: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for asked, reason in lost.items():
        ended = found[asked]["reason"] if asked in found else ""
        if reason.startswith("duplicate"):
            row = by_asked[asked]
            of = kept.get(asked) or found[asked]
            twins[row["problem"], row["generation"], reason].append((of["id"], ended))
            continue
        assert ended == reason
        if reason:
            assert found[asked]["stage"] == STAGES.get(reason, "prepare_for_sft")
    for (*_, reason), ends in twins.items():  # the one with the smallest id goes on
        first, *others = [ended for _, ended in sorted(ends)]
        assert first == reason.removeprefix("duplicate").strip()
        assert set(others) == {"duplicate_solution"}
    for asked, row in kept.items():
        given = by_asked[asked]
        assert row["input"] == f"<user>{given['problem']}</user><model>"
        assert row["output"] == f"({THOUGHT}){given['generation']}</model>"
        for name in ("expected_answer", "predicted_answer", "majority_votes", "total_votes"):
            assert row[name] == given[name]
        assert row["messages"][1]["tool_calls"] and row["messages"][2]["content"] == "42"
    # Nothing above is true for want of a case.
    counts = Counter(row["reason"] for row in found.values())
    assert counts.keys() == set(ORDER)
    assert min(counts.values()) >= 2 and len(kept) > 100, (counts, len(kept))


# By flags: which of the rows 0 to 4 are lost, and why.
UNFIT = {3: "unlabeled", 4: "truncated"}
SMALL = {
    "--add_incorrect --add_correct=false": {0: "correct", 1: "correct", **UNFIT},
    "--add_unlabeled --add_truncated --min_majority_percentage=0.6": {
        1: "majority_filter", 2: "incorrect",
    },
    "--use_judgement=false": {0: "incorrect", 1: "unlabeled", **UNFIT},
    "--min_solution_length=30 --use_chars_for_min_length": {
        0: "remove_len_outlier_solutions", 2: "incorrect", **UNFIT,
    },
    "--sft_tokenizer={model} --assistant_end=END": {
        1: "no_place_for_reasoning", 2: "incorrect", **UNFIT,
    },
}  # fmt: skip


@pytest.mark.parametrize("flags", SMALL)
def test_what_is_said_of_rows_decides(flags, tmp_path):
    """Labels, votes and lengths, each by its flag; none of it needs more than a few rows."""
    said = [
        {"judgement": "Judgement: yes", "symbolic_correct": False},
        {"judgement": "Judgement: Yes, they agree", "reasoning_content": THOUGHT,
         "majority_votes": 1, "total_votes": 2},
        {"judgement": "Judgement: no", "symbolic_correct": True},
        {"judgement": "perhaps"},
        {"judgement": "Judgement: yes", "symbolic_correct": True, "finish_reason": "length"},
    ]  # fmt: skip
    rows = [
        {"problem": f"How much is {number}?", "generation": rf"\boxed{{{number}}}", **one,
         "number": number}
        for number, one in enumerate(said)
    ]  # fmt: skip
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    output, wanted = tmp_path / "out", SMALL[flags]
    given = flags.format(model=tmp_path).split()
    problems = lines(tmp_path / "in.jsonl", rows)
    assert main(["prepare-sft", f"--output={output}", f"--problems={problems}", *given]) == 0
    kept = planned.dataset_rows(output).values()
    assert {json.loads(row["extra"])["number"] for row in kept} == {
        number for number in range(5) if number not in wanted
    }
    found = {
        json.loads(json.loads(row["row"])["extra"])["number"]: row["reason"]
        for row in rejects_of(output)
    }
    assert found == wanted


def test_a_model_of_the_hub_is_pinned(tmp_path, model_of_the_hub):
    """At the commit that its revision stands for, which the manifest says; a folder has none."""
    row = {"problem": "How much?", "generation": "One.", "symbolic_correct": True}
    flags = ["prepare-sft", f"--problems={lines(tmp_path / 'in.jsonl', [row])}"]
    for model, revision in (("org/model", "main"), ("org/model@v1", "v1")):
        output = tmp_path / revision
        assert main([*flags, f"--output={output}", f"--sft_tokenizer={model}"]) == 0
        [made] = planned.dataset_rows(output).values()
        assert made["input"].startswith(f"[{revision}]")
        stages = json.loads((output / "manifest.json").read_text())["stages"]
        [prepared] = [each for each in stages if each["stage"] == "prepare_for_sft"]
        assert (
            prepared["settings"]["format"]["tokenizer"] == f"org/model@{model_of_the_hub[revision]}"
        )
    assert main([*flags, f"--output={tmp_path}/no", f"--sft_tokenizer={tmp_path}@v1"]) == 2
