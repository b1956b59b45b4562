"""Runs: phases, fingerprints, conservation, publication, and a runner that pickles everything."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.claims import SharedClaims
from beam_sdg.models import ModelSettings
from beam_sdg.recipes.recipe import Context
from beam_sdg.runs import Run, chains
from beam_sdg.shards import read_shard
from beam_sdg.stages import Every, Needed, OneOfSeveral, Several, Stage
from transforms.ask import Ask
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.store import AnswerStore
from transforms.errors import EngineDown, InputError, RowsLost, RunError, Stopped
from transforms.grouping import Group
from transforms.outcome import Outcome, SourceOutcome, SplitRejects
from transforms.reading import Text
from transforms.records import Answered, Problem, Reject
from transforms.seeding import digest

ROOT = Path(__file__).parents[2]


def problem(number: int) -> Problem:
    return Problem(digest("p", number), f"text {number}", "test", str(number), "", "{}")


@dataclasses.dataclass(eq=False)
class Numbers(beam.PTransform):
    """A source of `count` problems that says it read `said` rows."""

    count: int
    said: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        rows = begin | beam.Create([problem(number) for number in range(self.count)])
        none = begin.pipeline | "None" >> beam.Create([]).with_output_types(Reject)
        said = [("read", self.said), ("usable", self.said)]
        return SourceOutcome(rows, none, begin.pipeline | "Said" >> beam.Create(said))


@dataclasses.dataclass(eq=False)
class Edit(beam.PTransform):
    """Appends a suffix; rejects texts that end in 3, and silently drops those in `lost`."""

    suffix: str
    lost: str = "none"

    def expand(self, problems: beam.PCollection) -> Outcome:
        return problems | beam.FlatMap(edited, self.suffix, self.lost) | SplitRejects()


def edited(record: Problem, suffix: str, lost: str) -> Iterator[Problem | Reject]:
    if record.text.split()[1].endswith("3"):
        yield Reject("edit", "three", "ends in 3", record.id, "{}", "")
    elif not record.text.endswith(lost):
        yield dataclasses.replace(record, text=record.text + suffix)


def fail(record: Problem) -> Problem:
    raise ValueError("boom")


@dataclasses.dataclass(eq=False)
class Break(beam.PTransform):
    """Raises on the first record."""

    def expand(self, problems: beam.PCollection) -> Outcome:
        return problems | beam.Map(fail) | SplitRejects()


def stages(count: int = 10, said: int | None = None, suffix: str = "!", **edit: Any) -> list[Stage]:
    said = count if said is None else said
    return [
        Stage("numbers", Numbers(count, said), Problem, {"count": count, "said": said}),
        Stage("edit", Edit(suffix, **edit), Problem, {"suffix": suffix}, ("numbers",)),
    ]


def run(folder: Path, made: list[Stage], num_shards: int = 2, flags: tuple = ()) -> Run:
    options = PipelineOptions([*(flags or ("--runner=FnApiRunner",))])
    return Run(tuple(made), str(folder), seed=0, num_shards=num_shards, options=options)


def texts(made: Run, stage: str) -> list[str]:
    paths = made.shards_of(stage, "rows")
    return sorted(row.text for path in paths for row in read_shard(path, Problem))


def test_a_run_publishes_rows_rejects_and_counts(tmp_path):
    """Rows in their shards, rejects beside them, and manifests that add up."""
    made = run(tmp_path, stages())
    numbers, edit = made.execute()
    assert (numbers.rows_in, numbers.rows, numbers.rejects) == (10, 10, {})
    assert (edit.rows_in, edit.rows, edit.rejects) == (10, 9, {"three": 1})
    assert texts(made, "edit") == [f"text {n}!" for n in range(10) if n != 3]


def test_a_stage_that_loses_a_row_fails_the_run_and_is_not_published(tmp_path):
    """Rows + rejects must equal rows in; the message names the stage and the numbers."""
    with pytest.raises(RowsLost, match="stage edit took 10 rows and accounts for 9"):
        run(tmp_path, stages(lost="7")).execute()
    assert list(tmp_path.glob("stages/numbers/*/stage.json"))
    assert not list(tmp_path.glob("stages/edit/*/stage.json"))


def test_a_source_that_loses_a_row_fails_the_run(tmp_path):
    """The rows read are counted apart from those kept."""
    with pytest.raises(RowsLost, match="stage numbers took 12 rows"):
        source = dataclasses.replace(stages()[0], transform=Lossy(), settings={})
        run(tmp_path, [source]).execute()


@dataclasses.dataclass(eq=False)
class Lossy(beam.PTransform):
    """Reads 12 rows, of which 10 are usable, and rejects none."""

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        outcome = Numbers(10, 10).expand(begin)
        said = begin.pipeline | "Lossy" >> beam.Create([("read", 12), ("usable", 10)])
        return outcome._replace(counts=said)


@dataclasses.dataclass(eq=False)
class Split(beam.PTransform):
    """Makes of problem n as many as the digits of n + 7; of number 3, none but a reject."""

    def expand(self, problems: beam.PCollection) -> Outcome:
        return problems | beam.FlatMap(split) | SplitRejects()


def split(record: Problem) -> Iterator[Problem | Reject]:
    number = int(record.text.split()[1])
    if number == 3:
        yield Reject("split", "three", "it is 3", record.id, "{}", "")
        return
    for part in range(len(str(number + 7))):
        yield dataclasses.replace(record, id=f"{record.id}-{part}")


@dataclasses.dataclass(eq=False)
class Unite(beam.PTransform):
    """Keeps of (numbers, parts) those that have parts, but for the one that ends in `lost`."""

    lost: str = "none"

    def expand(self, sides: Any) -> Outcome:
        numbers, parts = sides
        keyed = (
            numbers | "KeyNumbers" >> beam.Map(lambda record: (record.id, record)),
            parts | "KeyParts" >> beam.Map(lambda record: (record.id.rpartition("-")[0], None)),
        )
        joined = keyed | Group() | beam.FlatMap(united, self.lost)
        return joined | SplitRejects()


def united(joined: tuple[str, Any], lost: str) -> Iterator[Problem]:
    parts = list(joined[1])
    [number] = filter(None, parts)
    if None in parts and not number.text.endswith(lost):
        yield number


def parted(**unite: Any) -> list[Stage]:
    return [
        stages()[0],
        Stage("split", Split(), Problem, {}, ("numbers",), makes=Several()),
        Stage("unite", Unite(**unite), Problem, {}, ("numbers", "split"), takes=Every("split")),
    ]


def test_a_stage_may_make_several_rows_of_one_and_another_one_of_several(tmp_path):
    """Both account for what was taken apart, and not for the parts."""
    numbers, split, unite = run(tmp_path, parted()).execute()
    assert (split.rows_in, split.rows, split.made_from, split.rejects) == (10, 15, 9, {"three": 1})
    assert (unite.rows_in, unite.rows, unite.made_from, unite.not_sampled) == (9, 9, None, 0)


def test_a_stage_may_take_the_parts_and_leave_some_to_another(tmp_path):
    """Each part is one of its rows or left out; what it loses unasked is missed."""
    judge = Stage(
        "judge", Unite(), Problem, {}, ("numbers", "split"), takes=Every("split", parts=True)
    )
    with pytest.raises(RowsLost, match="stage judge took 15 rows and accounts for 9"):
        run(tmp_path / "all", [*parted()[:2], judge]).execute()
    selects = dataclasses.replace(judge, takes=Needed("split", parts=True))
    *_, made = run(tmp_path / "some", [*parted()[:2], selects]).execute()
    assert (made.rows_in, made.rows, made.not_sampled) == (15, 9, 6)


def test_a_join_within_shards_goes_shard_by_shard(tmp_path):
    """It is used once for each shard, and makes what it makes of all at once."""
    unite = Unite()
    unite.shard_by_shard = True
    stages = parted()
    sliced = [*stages[:2], dataclasses.replace(stages[2], transform=unite)]
    whole, parts = run(tmp_path / "whole", stages, 3), run(tmp_path / "parts", sliced, 3)
    for each in (whole, parts):
        each.execute()
    assert texts(whole, "unite") == texts(parts, "unite")


def test_what_is_not_put_together_again_is_missed(tmp_path):
    """A join that loses a row is no different from any other stage."""
    with pytest.raises(RowsLost, match="stage unite took 9 rows and accounts for 8"):
        run(tmp_path, parted(lost="7")).execute()


@dataclasses.dataclass(frozen=True, slots=True)
class Pile:
    """Several problems together."""

    id: str
    members: int


@dataclasses.dataclass(eq=False)
class PileUp(beam.PTransform):
    """Makes a pile of the even numbers and one of the odd, but rejects 3, and says `off` more."""

    off: int = 0

    def expand(self, problems: beam.PCollection) -> Outcome:
        keyed = problems | "Key" >> beam.Map(lambda record: (int(record.text[-1]) % 2, record))
        return keyed | Group() | beam.FlatMap(piled, self.off) | SplitRejects()


def piled(grouped: tuple[int, Any], off: int) -> Iterator[Pile | Reject]:
    parity, members = grouped
    numbers = {record.text: record.id for record in members}
    if (three := numbers.pop("text 3", None)) is not None:
        yield Reject("pile", "three", "it is 3", three, "{}", "")
    yield Pile(f"pile{parity}", len(numbers) + off)


def test_a_stage_may_make_one_row_of_several(tmp_path):
    """It accounts for each of them; what it does not say that its rows hold is missed."""
    pile = Stage("pile", PileUp(), Pile, {}, ("numbers",), makes=OneOfSeveral("members"))
    _, piles = run(tmp_path / "all", [stages()[0], pile]).execute()
    assert (piles.rows_in, piles.rows, piles.made_from, piles.rejects) == (10, 2, 9, {"three": 1})
    fewer = dataclasses.replace(pile, transform=PileUp(-1))
    with pytest.raises(RowsLost, match="stage pile took 10 rows and accounts for 8"):
        run(tmp_path / "fewer", [stages()[0], fewer]).execute()


def test_a_published_stage_is_not_run_again(tmp_path):
    """A second run with a stage that would fail now does nothing."""
    run(tmp_path, stages()).execute()
    broken = [dataclasses.replace(stage, transform=Break()) for stage in stages()]
    run(tmp_path, broken).execute()


def test_a_changed_setting_runs_its_stage_and_those_after_it_again(tmp_path):
    """Another suffix makes another edit of the same numbers."""
    first = run(tmp_path, stages())
    first.execute()
    second = run(tmp_path, stages(suffix="?"))
    second.execute()
    assert first.fingerprints["numbers"] == second.fingerprints["numbers"]
    assert first.fingerprints["edit"] != second.fingerprints["edit"]
    assert texts(second, "edit")[0] == "text 0?"
    assert len(list(tmp_path.glob("stages/numbers/*"))) == 1
    assert run(tmp_path, stages(count=11)).fingerprints["edit"] not in (
        *first.fingerprints.values(),
        *second.fingerprints.values(),
    )


def test_a_stage_beside_an_unpublished_one_is_left_alone(tmp_path):
    """Only what is missing, and what follows from it, is written again."""
    others = Stage("others", Numbers(4, 4), Problem, {})
    two = [*stages(), others]
    made = run(tmp_path, two)
    made.execute()
    untouched = Path(made.shards_of("others", "rows")[0]).stat().st_mtime_ns
    next(tmp_path.glob("stages/numbers/*/stage.json")).unlink()
    made = run(tmp_path, [*stages(), others])
    made.execute()
    assert Path(made.shards_of("others", "rows")[0]).stat().st_mtime_ns == untouched
    assert list(tmp_path.glob("stages/numbers/*/stage.json"))


def test_an_unfinished_stage_is_run_again(tmp_path):
    """Without its stage.json a stage is not published, whatever files it has."""
    made = run(tmp_path, stages())
    made.execute()
    [published] = tmp_path.glob("stages/edit/*/stage.json")
    before = published.read_bytes()
    for content in (None, b"", before[:-20], b"{}"):
        if content is None:
            published.unlink()
        else:
            published.write_bytes(content)
        made.execute()
        assert published.read_bytes() == before


def test_counts_that_a_power_cut_has_damaged_are_told_of(tmp_path):
    """Once, and not by a traceback for ever: the same command makes the stage anew."""
    made = run(tmp_path, stages()[:1])
    made.execute()
    [counts] = tmp_path.glob("stages/numbers/*/counts.json")
    for content in (b"", b"{"):
        (counts.parent / "stage.json").unlink()
        counts.write_bytes(content)
        with pytest.raises(RunError, match=f"{counts} is missing or damaged; delete"):
            made.execute()
        assert [stage.rows for stage in made.execute()] == [10]


@dataclasses.dataclass(eq=False)
class Count(beam.PTransform):
    """Keeps all rows, a shard at a time, and notes each in a file; stops at the text in `until`."""

    shard_by_shard = True

    notes: Path
    until: str = ""

    def expand(self, problems: beam.PCollection) -> Outcome:
        return problems | beam.Map(counted, self.notes, self.until) | SplitRejects()


def counted(record: Problem, notes: Path, until: str) -> Problem:
    if record.text == until:
        raise ValueError(until)
    with notes.open("a") as file:
        file.write(f"{record.text}\n")
    return record


def test_shards_that_a_stopped_run_has_finished_are_not_made_again(tmp_path):
    """Only those after them are, and what was made of the one it stopped in is gone."""
    notes = tmp_path / "notes"

    def counting(until: str = "") -> Run:
        stage = Stage("count", Count(notes, until), Problem, {}, ("numbers",))
        return run(tmp_path, [stages(count=40)[0], stage], num_shards=4)

    with pytest.raises(RunError):
        counting(until=last_of_third(counting())).execute()
    assert not list(tmp_path.glob("tmp/*"))
    assert not list(tmp_path.glob("stages/count/*/rows-00002-*"))
    again = counting()
    assert again.execute()[-1].rows == 40
    noted = notes.read_text().splitlines()
    assert set(noted) == {f"text {n}" for n in range(40)}
    first, second = (texts_in(again, shard) for shard in (0, 1))
    assert first and second
    assert [noted.count(text) for text in first + second] == [1] * len(first + second)


def texts_in(made: Run, shard: int) -> list[str]:
    return [row.text for row in read_shard(made.shards_of("numbers", "rows")[shard], Problem)]


def last_of_third(made: Run) -> str:
    made.execute(only=["numbers"])
    return texts_in(made, 2)[-1]


@dataclasses.dataclass(eq=False)
class Send(beam.PTransform):
    """Keeps all rows, a shard at a time; in a stopped run those that end in 5 are not sent."""

    shard_by_shard = True

    stopped: bool

    def expand(self, problems: beam.PCollection) -> Outcome:
        return problems | beam.Map(sent, self.stopped) | SplitRejects()


def sent(record: Problem, stopped: bool) -> Problem | Reject:
    if stopped and record.text.endswith("5"):
        return Reject("send", "not_sent", "SIGINT", record.id, "{}", "")
    return record


def test_a_stopped_run_leaves_nothing_that_is_taken_for_whole(tmp_path):
    """Not even where an earlier one has left marks of finished shards of a later stage."""

    def sending(stopped: bool) -> Run:
        send = Stage("send", Send(stopped), Problem, {}, ("numbers",))
        after = Stage("after", Send(stopped=False), Problem, {}, ("send",))
        return run(tmp_path, [stages()[0], send, after], num_shards=3)

    stopped = sending(True)
    marks = [Path(stopped._mark(stopped.stages[2], shard)) for shard in range(3)]
    for mark in marks:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    stopped.execute(only=["numbers"])
    numbers, send, after = stopped.execute()
    assert (numbers.partial, send.partial, after.partial) == (False, True, True)
    assert (send.rows, send.rejects, after.rows) == (9, {"not_sent": 1}, 9)
    assert sum(mark.exists() for mark in marks) == 2  # of the shards without that row
    again = sending(False)
    assert not again.is_published("send")
    numbers, send, after = again.execute()
    assert (send.rows, send.rejects, after.rows) == (10, {}, 10)
    assert not send.partial
    assert not after.partial


def test_one_of_several_processes_keeps_nothing_that_was_stopped(tmp_path):
    """The others do what it has left."""
    stage = Stage("send", Send(True), Problem, {}, ("numbers",))
    made = run(tmp_path, [stages()[0], stage], num_shards=3)
    with pytest.raises(Stopped, match="stopped by SIGINT; the other processes"):
        dataclasses.replace(made, claims=SharedClaims(1, 3)).execute()
    stage = dataclasses.replace(stage, transform=Send(False))
    made = run(tmp_path, [stages()[0], stage], num_shards=3)
    assert dataclasses.replace(made, claims=SharedClaims(2, 3)).execute()[-1].rows == 10


def test_what_could_not_be_published_is_made_anew(tmp_path):
    """A stage that lost a row, or was refused, is not taken for finished the next time."""
    with pytest.raises(RowsLost):
        run(tmp_path, stages(lost="7")).execute()
    assert run(tmp_path, stages()).execute()[-1].rows == 9


def test_what_another_process_could_not_publish_is_not_published(tmp_path, monkeypatch):
    """Where it has lost its marks since this process saw them."""
    monkeypatch.setattr(Run, "_run_phase", lambda *_: None)
    with pytest.raises(RunError, match="another process of this run could not publish numbers"):
        dataclasses.replace(run(tmp_path, stages()), claims=SharedClaims(1, 1)).execute()


def test_rows_that_were_made_from_others_that_are_gone_are_made_again(tmp_path):
    """With the folder of a stage that a message said to delete, also what followed from it."""
    made = run(tmp_path, stages())
    made.execute()
    [before] = tmp_path.glob("stages/edit/*/stage.json")
    was = before.stat().st_ino
    shutil.rmtree(next(tmp_path.glob("stages/numbers/*")))
    made.execute()
    assert before.stat().st_ino != was
    assert texts(made, "edit") == [f"text {n}!" for n in range(10) if n != 3]


def test_a_killed_attempt_leaves_nothing_that_is_taken_for_rows(tmp_path):
    """Files that were moved before their mark was set are replaced, shards without rows too."""
    made = run(tmp_path, stages(count=1), num_shards=8)
    folder = Path(made.shards_of("edit", "rejects")[0]).parent
    folder.mkdir(parents=True)
    for path in (*made.shards_of("edit", "rejects"), *made.shards_of("edit", "rows")):
        Path(path).write_bytes(b"of a killed run")
    assert made.execute()[-1].rejects == {}
    assert texts(made, "edit") == ["text 0!"]


@dataclasses.dataclass(eq=False)
class Merge(beam.PTransform):
    """Keeps the first of all rows and rejects the others."""

    def expand(self, problems: beam.PCollection) -> Outcome:
        merged = problems | beam.GroupBy(lambda problem: 0) | beam.FlatMapTuple(merge)
        return merged | SplitRejects()


def merge(key: int, problems: Any) -> Iterator[Problem | Reject]:
    first, *others = sorted(problems, key=lambda problem: problem.id)
    yield first
    for other in others:
        yield Reject("merge", "near", "", other.id, "{}", "")


def test_a_stage_that_looks_across_rows_sees_all_of_them(tmp_path):
    """In whatever command it is run: only those whose rows are made within shards go by shards."""
    merge = Stage("merge", Merge(), Problem, {}, ("numbers",))
    whole = run(tmp_path / "whole", [stages()[0], merge], num_shards=4)
    assert whole.execute()[-1].rows == 1
    apart = run(tmp_path / "apart", [stages()[0], merge], num_shards=4)
    apart.execute(only=["numbers"])
    assert apart.execute(only=["merge"])[-1].rows == 1


def kept(answered: Answered) -> Problem:
    return dataclasses.replace(answered.record, id=answered.id, text=answered.value)


def solutions(folder: Path, name: str, after: str, samples: int, **planted: float) -> Stage:
    ask = Ask(
        name, "infinibyte/solution", solvable, Text(), Rehearsal(**planted), str(folder), 0,
        kept, samples=samples,
    )  # fmt: skip
    return Stage(name, ask, Problem, ask.settings(), (after,))


def solvable(record: Problem) -> dict[str, object]:
    return {"new_problem": record.text}


@pytest.mark.parametrize("num_shards", [1, 4])
def test_samples_of_samples_have_ids_and_answers_of_their_own(tmp_path, num_shards):
    """In any number of shards, and a second time from the store: the same rows, nothing asked."""
    store = tmp_path / "store"
    chain = [solutions(store, "one", "numbers", 3), solutions(store, "two", "one", 2)]
    made = run(tmp_path / "first", [stages()[0], *chain], num_shards)
    manifests = made.execute()
    assert [manifest.rows for manifest in manifests] == [10, 30, 60]
    paths = made.shards_of("two", "rows")
    rows = [row for path in paths for row in read_shard(path, Problem)]
    ids = {f"{problem(n).id}-{k}-{j}" for n in range(10) for k in range(3) for j in range(2)}
    assert {row.id for row in rows} == ids
    asked = len(list(AnswerStore(str(store), "two").attempts()))
    assert asked == 60
    again = run(tmp_path / "second", [stages()[0], *chain], num_shards)
    again.execute()
    for path in paths:
        assert Path(path.replace("first", "second")).read_bytes() == Path(path).read_bytes()
    assert len(list(AnswerStore(str(store), "two").attempts())) == asked


def test_a_slice_of_refusals_costs_its_rows(tmp_path):
    """A shard whose only row is refused is no server that is down."""
    chain = [stages()[0], solutions(tmp_path / "store", "one", "numbers", 1, failing=0.3)]
    manifest = run(tmp_path, chain, num_shards=8).execute()[-1]
    assert manifest.rejects["request_refused"] > 0
    assert manifest.rows + manifest.rejects["request_refused"] == 10


def test_a_model_that_refuses_all_of_a_few_rows_is_one_line(tmp_path):
    """Nothing is published, and the next run asks again."""
    chain = [stages()[0], solutions(tmp_path / "store", "one", "numbers", 1, failing=1.0)]
    with pytest.raises(EngineDown, match="all 10 requests of one failed, one with: HTTP"):
        run(tmp_path, chain).execute()
    assert not list(tmp_path.glob("stages/one/*/stage.json"))


def test_a_source_without_a_usable_row_is_one_line(tmp_path):
    """The numbers, each reason with its count, one row's, and the mend."""
    source = dataclasses.replace(stages()[0], transform=Unusable())
    wanted = (
        r"none of the 2 rows of numbers can be used \(2 no_text\), one of them because: no text; "
        "check the file, and the flags that name its columns or choose among its rows$"
    )
    with pytest.raises(InputError, match=wanted):
        run(tmp_path, [source]).execute()


@dataclasses.dataclass(eq=False)
class Unusable(beam.PTransform):
    """Reads 2 rows and rejects both."""

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        rejects = [Reject("numbers", "no_text", "no text", digest(n), "{}", "") for n in range(2)]
        rows = begin | "None" >> beam.Create([]).with_output_types(Problem)
        said = begin.pipeline | "Said" >> beam.Create([("read", 2), ("usable", 0)])
        return SourceOutcome(rows, begin.pipeline | beam.Create(rejects), said)


def test_a_failing_stage_is_one_line_and_keeps_the_stages_before(tmp_path):
    """The error names the stages of the phase and the last line of the cause."""
    ask = Ask("edit", "correction", fail, Text(), Rehearsal(), str(tmp_path / "store"), 0, fail)
    broken = [stages()[0], dataclasses.replace(stages()[1], transform=ask)]
    with pytest.raises(RunError, match="edit failed: .*boom"):
        run(tmp_path, broken).execute()
    assert list(tmp_path.glob("stages/numbers/*/stage.json"))


def test_a_stage_can_refuse_what_it_made(tmp_path):
    """`verify` sees the manifests, and raising leaves its stage unpublished."""

    def verify(inputs, made):
        raise InputError(f"{made.rows} of {inputs[0].rows} rows")

    refused = [stages()[0], dataclasses.replace(stages()[1], verify=verify)]
    with pytest.raises(InputError, match="9 of 10 rows"):
        run(tmp_path, refused).execute()
    assert not list(tmp_path.glob("stages/edit/*/stage.json"))


def asked(name: str, after: str, engine: Rehearsal) -> Stage:
    context = Context(models=ModelSettings(rehearsal={"seed": str(engine.seed)}))
    return context.ask(
        name,
        after=after,
        prompt="infinibyte/solution",
        variables=dict,
        reader=Text(),
        keep=dataclasses.astuple,
        row_type=Problem,
    )


def test_phases_are_consecutive_stages_of_one_engine(tmp_path):
    """None, then A, then B, then A again: four phases, in which asks in a row are chained."""
    a, b = Rehearsal(seed=1), Rehearsal(seed=2)
    made = [
        *stages(),
        asked("2", "edit", a),
        asked("3", "2", a),
        asked("4", "3", b),
        asked("5", "2", a),
        asked("6", "2", a),
    ]
    phases = run(tmp_path, made).phases()
    names = [[stage.name for stage in phase] for phase in phases]
    assert names == [["numbers", "edit"], ["2", "3"], ["4"], ["5", "6"]]
    lengths = [[len(chain) for chain in chains(phase)] for phase in phases]
    assert lengths == [[1, 1], [2], [1], [1, 1]]


@pytest.mark.parametrize("num_shards", [1, 5, 40])
def test_every_row_is_in_the_shard_of_its_hash(tmp_path, num_shards):
    """Any number of shards holds each row once, empty shards included."""
    made = run(tmp_path, stages(count=30), num_shards)
    made.execute()
    assert texts(made, "numbers") == sorted(f"text {n}" for n in range(30))
    assert all(Path(path).exists() for path in made.shards_of("numbers", "rows"))


def test_two_processes_write_the_bytes_of_one(tmp_path):
    """Worker processes change nothing in the files."""
    one = run(tmp_path / "one", stages(count=50), 3)
    flags = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    two = run(tmp_path / "two", stages(count=50), 3, ("--runner=FnApiRunner", *flags))
    one.execute()
    two.execute()
    for stage in ("numbers", "edit"):
        for kind in ("rows", "rejects"):
            pairs = zip(one.shards_of(stage, kind), two.shards_of(stage, kind), strict=True)
            assert all(Path(a).read_bytes() == Path(b).read_bytes() for a, b in pairs)


def test_infinibyte_on_the_portable_job_service_writes_the_same_bytes(
    tmp_path, beam_sdg_command, job_service
):
    """The same command on another runner: equal data files."""
    portable = (
        "--runner=PortableRunner", f"--job_endpoint={job_service}", "--environment_type=LOOPBACK",
    )  # fmt: skip
    for name, flags in (("here", ()), ("there", portable)):
        done = beam_sdg_command("infinibyte", f"--output={tmp_path / name}", *flags)
        assert done.returncode == 0, done.stderr
    for kind in ("data/train", "rejects/rejects"):
        here, there = (tmp_path / n / f"{kind}-00000-of-00001.parquet" for n in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
