"""OpenReasoning's science data, whole: subtopics, questions, votes and filters of the plan."""

import dataclasses
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.cli import main
from tests import planned
from tests.planned import Judge, Rejected, Sample, Solved
from transforms.engines.rehearsal import FAILING, MALFORMED, Rehearsal
from transforms.seeding import digest, sampling_seed

RECIPE = "openreasoning-science"
FAULTS = {"malformed": 0.02, "failing": 0.02}
ENGINE = Rehearsal(**FAULTS)
LOST = {MALFORMED: "malformed_answer", FAILING: "request_refused"}
TOPICS, MOST, SLOTS, SAMPLES, ESTIMATES = 16, 3, 75, 5, 3
GENERATORS = (1, 2)
LEVELS = ("intermediate", "complex", "hard", "brutal", "borderline unsolvable")
OPTIONS = {"open": 0, "mcq_4": 4, "mcq_10": 10}
KINDS = {"similar": 1, "inspired_by": 1001}  # and the number of its sample
AGREEMENT, RATE, DIFFICULTY = (0.6, 0.8), (0.8, 0.8), (0.333333, 0.666667)
OF_SUBTOPICS = {"twice": "same_subtopics", "too_many": "wrong_number"}
PUBLISHED = ["expected_answer", "input", "output", "messages"]


@dataclasses.dataclass
class Planned:
    """A question: what two that say the same have in common, and how it is found again."""

    id: str
    format: str
    says: tuple[Any, ...]
    about: tuple[str, ...]


def drawn(ask: str, prompt: str, of: str, sample: int) -> tuple[str, Any]:
    """Why a structured answer is lost or "", and the draws that it is made by."""
    fate = ENGINE.fate(prompt, sampling_seed(0, ask, of, sample))
    return LOST.get(fate, ""), planned.draws(ENGINE, ask, prompt, of, sample)[1]


def write_topics(to: Path) -> None:
    """Topics with subtopics of their own, with a column that is none, and plain ones."""
    rows: list[dict[str, Any]] = [
        {"topic": f"Topic {'ABCDEFGHIJKLMNOP'[n]}"} for n in range(TOPICS)
    ]
    rows.append({"topic": "Listed", "subtopics": ["first", "second ", "first"]})
    rows.append({"topic": "Unlisted", "subtopics": "first; second"})
    to.write_text("".join(json.dumps(row) + "\n" for row in rows))


def subtopics_of(topics: dict[str, Any], rejects: Rejected) -> dict[str, tuple[str, str]]:
    """(topic, subtopic) by the subtopic's id."""
    made, found = planned.generator("science/subtopic_expansion"), {}
    for topic in topics.values():
        names: tuple[str, ...] = ()
        if topic["text"] == "Listed":
            names = ("first", "second")
        elif topic["text"] == "Unlisted":
            rejects.add(("subtopic_expansion.subtopics", topic["id"], 0, "bad_column"))
        else:
            lost, rng = drawn("subtopic_expansion", "science/subtopic_expansion", topic["id"], 0)
            plan = made.plan_of(topic["text"], MOST, rng)
            if reason := lost or OF_SUBTOPICS.get(plan.fault, ""):
                rejects.add(("subtopic_expansion", topic["id"], 0, reason))
                rejects.add(("subtopic_expansion.subtopics", topic["id"], 0, "no_subtopics"))
            else:
                names = plan.names
        for number, name in enumerate(names):
            found[f"{topic['id']}-{number}"] = (topic["text"], name)
    return found


def slots_of(subtopics: dict[str, tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """(topic, subtopic, difficulty, format) of the slots that are drawn, by their ids."""
    every: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for of, names in subtopics.items():
        cells = ((level, each) for level in LEVELS for each in OPTIONS)
        for place, (level, each) in enumerate(cells):
            every[each][f"{of}-{place}"] = (*names, level, each)
    found = {}
    for slots in every.values():
        first = sorted(slots, key=lambda of: digest(0, of))[: SLOTS // len(OPTIONS)]
        found.update({of: slots[of] for of in first})
    return found


def questions_of(slots: dict[str, tuple[str, ...]], rejects: Rejected) -> list[Planned]:
    """What the generators write that can be used."""
    made, found = planned.generator("science/question"), []
    for generator in GENERATORS:
        for of, (topic, subtopic, _, each) in slots.items():
            ask = f"generate_questions_{generator}_{each}"
            lost, rng = drawn(ask, "science/question", of, generator)
            plan = made.plan_of(OPTIONS[each], rng)
            reason = lost or ("" if plan.fault.endswith("_at_first") else plan.fault)
            if reason:
                rejects.add((ask, of, generator, reason))
                continue
            about = (topic, subtopic, str(plan.is_copy))
            says = (*about, *plan.numbers, each)
            found.append(Planned(f"{of}-{generator}", each, says, about))
    return found


def augmented_of(kept: dict[str, Planned], rejects: Rejected) -> list[Planned]:
    """What is made of the questions that were kept, by their new ids, and can be used."""
    found = []
    for kind, sample in KINDS.items():
        made = planned.generator(f"science/augment_{kind}")
        for of, question in kept.items():
            ask = f"augment_{kind}_{question.format}"
            lost, rng = drawn(ask, f"science/augment_{kind}", of, sample)
            plan = made.plan_of(rng)
            reason = lost or ("" if plan.fault.endswith("_at_first") else plan.fault)
            if reason:
                rejects.add((ask, of, sample, reason))
                continue
            about = ("pool",) if plan.is_pooled else (kind, *question.about)
            says = (*about, *plan.numbers, question.format)
            found.append(Planned(f"{of}-{sample}", question.format, says, about))
    return found


def once(stage: str, questions: list[Planned], rejects: Rejected) -> dict[str, Planned]:
    """Those with the smallest ids of what says the same, by their ids."""
    first: dict[tuple[Any, ...], Planned] = {}
    for question in sorted(questions, key=lambda each: each.id):
        if first.setdefault(question.says, question) is not question:
            rejects.add((stage, question.id, 0, "duplicate"))
    return {question.id: question for question in first.values()}


def found_again(row: dict[str, Any]) -> str:
    """The id that a question had before it got one of its content."""
    if row["augmented"]:
        return f"{row['original']}-{KINDS[row['augmented']]}"
    return f"{row['slot']['id']}-{row['calls'][-1]['sample']}"


def text_of(row: dict[str, Any]) -> str:
    """A question as it is posed."""
    letters = [f"{'ABCDEFGHIJ'[place]}) {text}" for place, text in enumerate(row["options"])]
    return "\n\n".join([row["question"], *(["\n".join(letters)] if letters else [])])


def solved_of(
    row: dict[str, Any],
    rejects: Rejected,
    ask: str = "generate_solutions",
    number_of: int = SAMPLES,
    expected: str | None = None,
) -> Solved:
    """A question and its planned solutions."""
    made, text, samples = planned.generator("science/solution"), text_of(row), []
    for number in range(number_of):
        lost, rng = planned.draws(ENGINE, ask, "science/solution", row["id"], number)
        if lost:
            rejects.add((ask, row["id"], number, lost))
            continue
        plan = made.plan_of(text, rng)
        said = made.answer_of(text, plan)
        answer = said
        if row["options"]:
            there = [int(option) for option in row["options"]]
            answer = "ABCDEFGHIJ"[there.index(plan.number)] if plan.number in there else None
        samples.append(Sample(f"{row['id']}-{number}", answer, said))
    return Solved(row["id"], text, expected, samples)


def settle(problem: Solved, judge: Judge, is_choice: bool) -> None:
    """Letters are the same or not; of anything else a judge says so."""
    for one in problem.samples:
        if is_choice and one.verdict == "undecided":
            one.verdict, one.judged_by = "incorrect", "equality"
    problem.judge(judge)


def unfit(problem: Solved) -> str:
    """The reason for which the solutions of a question are not kept, or ""."""
    votes, rate = problem.majority["votes"] / SAMPLES, problem.samples[0].pass_rate
    if problem.expected is None:
        return "no_majority"
    if not AGREEMENT[0] <= votes <= AGREEMENT[1]:
        return "low_agreement" if votes < AGREEMENT[0] else "high_agreement"
    if rate is not None and not RATE[0] <= rate <= RATE[1]:
        return "too_hard" if rate < RATE[0] else "too_easy"
    return ""


def test_topics_become_training_data_as_planned(beam_sdg_command, tmp_path):
    """With faults on the way: each topic, question and solution is kept or lost as planned."""
    output = tmp_path / "out"
    write_topics(tmp_path / "topics.jsonl")
    done = beam_sdg_command(
        RECIPE, f"--output={output}", f"--topics={tmp_path / 'topics.jsonl'}",
        f"--max_subtopics={MOST}", f"--num_records={SLOTS}", f"--samples={SAMPLES}",
        "--vote_quorum=2", "--generation_model_pass_rate_range=0.8,0.8",
        "--majority_voting_agreement_rate_range=0.6,0.8", f"--difficulty_samples={ESTIMATES}",
        "--difficulty_model_pass_rate_range=0.333333,0.666667",
        "--rehearsal", ",".join(f"{name}={share}" for name, share in FAULTS.items()),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    rejects: Rejected = set()
    subtopics = subtopics_of(planned.stage_rows(output, "topics"), rejects)
    made = planned.stage_rows(output, "subtopic_expansion.subtopics")
    assert {of: (row["topic"], row["name"]) for of, row in made.items()} == subtopics
    slots = slots_of(subtopics)
    made = planned.stage_rows(output, "plan_questions.drawn")
    assert {
        of: (
            row["subtopic"]["topic"], row["subtopic"]["name"], row["difficulty"], row["format"]
        )
        for of, row in made.items()
    } == slots  # fmt: skip

    written = once("filter_questions", questions_of(slots, rejects), rejects)
    made = planned.stage_rows(output, "filter_questions")
    assert {found_again(row) for row in made.values()} == written.keys()
    kept = {of: written[found_again(row)] for of, row in made.items()}
    augmented = once("filter_problems", augmented_of(kept, rejects), rejects)
    posed = planned.stage_rows(output, "filter_problems")
    assert {found_again(row) for row in posed.values()} == {*written, *augmented}
    assert made.items() <= posed.items()
    for row in posed.values():
        assert row["draft_id"] == found_again(row)
        number = OPTIONS[row["slot"]["format"]]
        truth = sum(map(int, re.findall(r"\d+", row["question"])))
        assert sorted(row["options"]) == sorted(str(truth + off) for off in range(number))

    judge = Judge("judge_answers", ENGINE, prompt="science/judge")
    again = Judge("judge_difficulty", ENGINE, prompt="science/judge")
    rows, reasons, rates = {}, Counter(), {}
    stay_of: dict[str, tuple[Solved, Sample]] = {}
    for row in posed.values():
        solved = solved_of(row, rejects)
        solved.fill(quorum=2)
        settle(solved, judge, bool(row["options"]))
        solved.count(SAMPLES)
        rows |= solved.rows()
        if not solved.samples:
            continue
        reason = unfit(solved)
        reasons[reason] += 1
        if reason:
            rejects |= {("filter_solutions", one.id, 0, reason) for one in solved.samples}
            continue
        tried = solved_of(
            row, rejects, "difficulty_estimation", ESTIMATES, expected=solved.expected
        )
        settle(tried, again, bool(row["options"]))
        rate = planned.pass_rate(tried.samples, ESTIMATES)
        if rate is not None and not DIFFICULTY[0] <= rate <= DIFFICULTY[1]:
            reason = "too_hard" if rate < DIFFICULTY[0] else "too_easy"
            rejects |= {("filter_difficulty", one.id, 0, reason) for one in solved.samples}
            continue
        rates[row["id"]] = rate
        correct = []
        for one in solved.samples:
            if why := planned.unfit(one.verdict):
                rejects.add(("prepare_for_sft", one.id, 0, why))
            else:
                correct.append(one)
        stay, same = planned.unlike((one.id, one.text) for one in correct)
        rejects |= {("prepare_for_sft", of, 0, "duplicate_solution") for of in same}
        stay_of |= {one.id: (solved, one) for one in correct if one.id in stay}

    judged = planned.stage_rows(output, "judge_answers.solutions")
    assert {of: planned.told(row) for of, row in judged.items()} == rows
    assert planned.rejected(output) == rejects | judge.rejects | again.rejects
    data_rows = planned.dataset_rows(output)
    assert data_rows.keys() == stay_of.keys()
    for of, row in data_rows.items():
        solved, one = stay_of[of]
        assert [*row][:4] == PUBLISHED
        assert (row["expected_answer"], row["input"]) == (solved.expected, solved.text)
        assert row["output"].endswith(f"\\boxed{{{one.text}}}")
        user, assistant = row["messages"]
        assert solved.text in user["content"] and one.text in assistant["content"]
        assert (row["majority_votes"], row["total_votes"]) == (
            solved.majority["votes"], solved.majority["ballots"],
        )  # fmt: skip
        about = json.loads(row["extra"])
        assert about["difficulty_model_pass_rate"] == rates[row["problem_id"]]
        asks = [call["ask"] for call in row["provenance"]["calls"]]
        expected = ["generate_solutions"]
        expected += ["subtopic_expansion"] if about["topic"] != "Listed" else []
        generated = [ask for ask in asks if ask.startswith("generate_questions")]
        expected += generated[:1]
        if about["augmented"]:
            expected.append(f"augment_{about['augmented']}_{about['format']}")
        assert asks == expected and len(generated) == 1
    # Nothing above is true for want of a case.
    assert set(reasons) == {
        "", "no_majority", "low_agreement", "high_agreement", "too_hard", "too_easy",
    }, reasons  # fmt: skip
    assert min(reasons.values()) >= 3
    found = Counter((re.sub(r"_\d.*|_open|_mcq.*", "", of[0]), of[3]) for of in rejects)
    assert {reason for stage, reason in found if stage == "generate_questions"} == {
        "answer_given", "options_in_question", "same_options", "wrong_number",
        "letters_out_of_order", "malformed_answer", "request_refused",
    }, found  # fmt: skip
    assert found["filter_questions", "duplicate"] and found["filter_problems", "duplicate"]
    assert found["augment_similar", "unchanged"] and found["augment_inspired_by", "unchanged"]
    assert found["subtopic_expansion", "same_subtopics"]
    assert found["filter_difficulty", "too_hard"] and found["filter_difficulty", "too_easy"]
    assert {*DIFFICULTY} <= {*rates.values()}
    assert {json.loads(row["extra"])["augmented"] for row in data_rows.values()} == {"", *KINDS}
    assert {json.loads(row["extra"])["format"] for row in data_rows.values()} == {*OPTIONS}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path]]:
    """The flags of a small run of two shards, and where it was made in one go."""
    folder = tmp_path_factory.mktemp("small")
    write_topics(folder / "topics.jsonl")
    flags = [
        RECIPE, f"--topics={folder / 'topics.jsonl'}", "--num_records=8", "--samples=3",
        "--formats=mcq_4", "--augment=similar", "--num_shards=2",
    ]  # fmt: skip
    assert main([*flags, f"--output={folder / 'out'}"]) == 0
    yield flags, folder / "out"


def test_stages_in_parts_write_the_same_bytes(small, tmp_path, capsys):
    """A name stands for all that begin with it, and a stage without its input is refused."""
    flags, whole = small
    output = f"--output={tmp_path / 'out'}"
    assert main([*flags, output, "--stages=generate_questions"]) == 2
    assert "generate_questions_1_mcq_4 needs the rows of plan_questions" in capsys.readouterr().err
    for part in (
        "topics,subtopic_expansion,plan_questions,generate_questions_1,generate_questions_2",
        "filter_questions,augment,filter_problems,generate_solutions",
        "fill_majority_answer,judge_answers,filter_solutions,prepare_for_sft,export",
    ):
        assert not (tmp_path / "out" / "manifest.json").exists()
        assert main([*flags, output, f"--stages={part}"]) == 0
    assert planned.files_of(tmp_path / "out") == planned.files_of(whole)


def test_a_row_is_shown_from_its_topic_on(small, capsys):
    """Of a question that was made from another, also how that one came to be."""
    _, whole = small
    rows = planned.dataset_rows(whole)
    made = [of for of, row in rows.items() if json.loads(row["extra"])["augmented"]]
    assert main(["show", str(whole), made[0]]) == 0
    shown = re.findall(r"^([a-z]\S+) ─", capsys.readouterr().out, re.MULTILINE)
    written = [name for name in shown if name.startswith("generate_questions")]
    assert written  # by one generator, or by both if they have written the same
    assert [name for name in shown if "." not in name] == [
        "topics", "subtopic_expansion", "plan_questions", *written, "filter_questions",
        "augment_similar_mcq_4", "filter_problems", "generate_solutions", "fill_majority_answer",
        "filter_solutions", "prepare_for_sft", "export",
    ]  # fmt: skip


def test_more_records_keep_those_of_fewer(small, tmp_path):
    """A larger run asks about the same slots and more; each generator has a seed of its own."""
    flags, whole = small
    more = [
        *flags,
        "--num_records=20",
        f"--output={tmp_path}",
        "--stages=topics,subtopic_expansion",
    ]
    assert main([*more[:-1], f"{more[-1]},plan_questions,generate_questions"]) == 0
    first, second = (
        planned.stage_rows(folder, "plan_questions.drawn") for folder in (whole, tmp_path)
    )
    assert (len(first), len(second)) == (8, 20)
    assert first.items() <= second.items()
    one, two = (
        planned.stage_rows(tmp_path, f"generate_questions_{number}_mcq_4") for number in GENERATORS
    )
    texts = {of.rpartition("-")[0]: row["question"] for of, row in one.items()}
    assert any(texts.get(of.rpartition("-")[0]) != row["question"] for of, row in two.items())


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--formats=open,mcq_5", "'mcq_5' is not one of open, mcq_4, mcq_10, each once"),
        ("--difficulties=hard,hard", "'hard' is not one of intermediate, complex, hard"),
        ("--augment=other", "'other' is not one of similar, inspired_by, each once"),
        (
            "--majority_voting_agreement_rate_range=0.9,0.5",
            "no rate is from 0.9 to 0.5; write LEAST,MOST, from 0 to 1",
        ),
        ("--generation_model_pass_rate_range=0,7", "no rate is from 0 to 7; write LEAST,MOST"),
        (
            "--difficulty_model_pass_rate_range=0,0.5",
            "difficulty_model_pass_rate_range is of another model's solutions, and there are none",
        ),
        ("--remove_no_code", "remove_no_code is of calls to Python, and there are none"),
    ],
)
def test_what_cannot_be_is_refused(flag, said, tmp_path, capsys):
    """In one line, before anything is read."""
    assert main([RECIPE, f"--output={tmp_path / 'out'}", flag]) == 2
    found = capsys.readouterr().err
    assert said in found and found.count("\n") == 1


def test_a_file_without_topics_is_refused(tmp_path, capsys):
    """The error names the flag for its column."""
    path = tmp_path / "topics.jsonl"
    path.write_text('{"name": "Optics"}\n')
    assert main([RECIPE, f"--output={tmp_path / 'out'}", f"--topics={path}"]) == 3
    found = capsys.readouterr().err
    assert "has no column 'topic'" in found and "--topic_column" in found
