"""The answer store: durable at once, never a wrong answer, the same for any order of writing."""

import contextlib
import itertools
import json
import os
import resource
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.engines.engine import Attempted, Failure, Reply
from transforms.engines.store import SHARDS, AnswerStore, Faults, shard_of
from transforms.errors import RunError
from transforms.records import TokenLogprob
from transforms.seeding import digest

ASK = "evals"
SHARD = 5
KEYS = [digest("key", number) for number in range(6)]
KEY, OTHER_KEY, THIRD_KEY = KEYS[:3]
LOGPROB = st.floats(max_value=0, allow_nan=False, allow_infinity=False)
REPLIES = st.builds(
    Reply,
    text=st.text(max_size=20),
    reasoning=st.text(max_size=5),
    finish_reason=st.sampled_from(["stop", "length", "content_filter"]),
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    logprobs=st.lists(
        st.builds(
            TokenLogprob,
            st.text(max_size=3),
            LOGPROB,
            st.lists(st.tuples(st.text(max_size=3), LOGPROB), max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


def reply(text: str) -> Reply:
    return Reply(text, "", "stop", 10, 20)


def store_in(folder) -> AnswerStore:
    return AnswerStore(str(folder), ASK)


def keep(store: AnswerStore, *answers: tuple[str, Reply | Failure], shard: int = SHARD) -> None:
    """Append outcomes through one window of their own."""
    with store.window([shard]) as window:
        for key, outcome in answers:
            window.append(shard, key, Attempted(outcome, 1), model="rehearsal", latency_s=0.25)


def read(store: AnswerStore, *keys: str, shards: tuple[int, ...] = (SHARD,)) -> list[Reply | None]:
    """What a window that is opened now finds for each key."""
    with store.window(shards) as window:
        return [window.get(SHARD, key) for key in keys]


def segments(folder) -> list:
    return sorted((folder / ASK).glob("*/*.jsonl"))


def test_an_answer_is_seen_by_a_window_opened_later(tmp_path):
    """A window opened after an append finds the answer, though the writer is still open."""
    store = store_in(tmp_path)
    with store.window([SHARD]) as early:
        assert early.get(SHARD, KEY) is None
        early.append(SHARD, KEY, Attempted(reply("yes"), 1), model="rehearsal", latency_s=0.1)
        assert read(store, KEY, OTHER_KEY) == [reply("yes"), None]


@given(st.dictionaries(st.sampled_from(KEYS), REPLIES))
@settings(deadline=None)
def test_an_answer_comes_back_as_it_was(tmp_path_factory, answers):
    """Any text, counts and finish reason are read back unchanged."""
    store = store_in(tmp_path_factory.mktemp("store"))
    keep(store, *answers.items())
    assert read(store, *KEYS) == [answers.get(key) for key in KEYS]


@pytest.mark.parametrize(
    "text", ["", "a\nb\r\n\u2028\x00\x85", "}\n", '{"key":"', "π🎲", "\\ud83d"]
)
def test_an_answer_of_odd_characters_is_kept(tmp_path, text):
    """Line breaks, braces and characters of any plane do not break a line of the store."""
    keep(
        store_in(tmp_path),
        (KEY, reply("first")),
        (OTHER_KEY, reply(text)),
        (THIRD_KEY, reply(text)),
    )
    assert read(store_in(tmp_path), KEY, OTHER_KEY, THIRD_KEY) == [
        reply("first"),
        reply(text),
        reply(text),
    ]


def test_an_answer_that_is_not_quite_text_is_kept(tmp_path):
    """A reply with half of a character pair, as a JSON body can carry it, does not stop the run."""
    keep(store_in(tmp_path), (KEY, reply("half of \ud83d")), (OTHER_KEY, reply("whole")))
    assert read(store_in(tmp_path), OTHER_KEY) == [reply("whole")]


def test_a_store_that_was_never_written_has_no_answers(tmp_path):
    """Reading makes nothing: neither an answer nor a folder."""
    assert read(store_in(tmp_path / "new"), KEY) == [None]
    assert list(store_in(tmp_path / "new").attempts()) == []
    assert not (tmp_path / "new").exists()


def test_a_window_sees_its_shards_and_its_ask_only(tmp_path):
    """An answer of another shard, or of another ask, is not found."""
    keep(store_in(tmp_path), (KEY, reply("yes")))
    with store_in(tmp_path).window([SHARD]) as window:
        assert window.get(SHARD + 1, KEY) is None
    assert read(store_in(tmp_path), KEY, shards=(SHARD - 1, SHARD, SHARD + 1)) == [reply("yes")]
    assert read(AnswerStore(str(tmp_path), "solution"), KEY) == [None]


def test_a_failure_is_not_an_answer(tmp_path):
    """A failed turn has no answer, until it is asked again and answered; both are in the ledger."""
    store = store_in(tmp_path)
    keep(store, (KEY, Failure("request_refused", "HTTP 400")))
    assert read(store, KEY) == [None]
    keep(store, (KEY, reply("yes")))
    keep(store, (KEY, Failure("request_refused", "HTTP 400")))
    assert read(store, KEY) == [reply("yes")]
    assert ["reply" in line for line in store.attempts()] == [False, True, False]


def test_the_ledger_tells_every_attempt(tmp_path):
    """A line for every turn: when, of which model, how long, how often, and what came of it."""
    store = store_in(tmp_path)
    with store.window([SHARD]) as window:
        window.append(SHARD, KEY, Attempted(reply("yes"), 3), model="some-model", latency_s=1.2346)
    keep(store, (OTHER_KEY, Failure("request_refused", "HTTP 400")), shard=SHARD + 1)
    first, second = store.attempts()
    assert (first["key"], first["model"], first["attempts"]) == (KEY, "some-model", 3)
    assert first["latency_s"] == pytest.approx(1.23456, abs=1e-4)
    assert first["at"] > 1.7e9
    assert first["reply"] == {
        "text": "yes",
        "reasoning": "",
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
    }
    assert second["failure"] == {"reason": "request_refused", "detail": "HTTP 400"}


def test_of_two_answers_the_smaller_content_hash_wins(tmp_path):
    """Whichever was written first, in one segment or in two, the same answer is read."""
    answers = [reply(f"answer {number}") for number in range(4)]
    read_back = set()
    for number, order in enumerate(itertools.permutations(answers)):
        store = store_in(tmp_path / str(number))
        keep(store, *((KEY, each) for each in order[:2]))
        keep(store, *((KEY, each) for each in order[2:]))
        smallest = min(store.attempts(), key=lambda line: line["check"])
        (found,) = read(store, KEY)
        assert found == Reply(**smallest["reply"])
        read_back.add(found)
    assert len(read_back) == 1


WRITES = st.lists(
    st.tuples(st.sampled_from(KEYS[:4]), st.sampled_from("abcd").map(reply)), max_size=12
)


@given(WRITES, st.data())
@settings(max_examples=60, deadline=None)
def test_any_interleaving_over_any_windows_reads_back_the_same(tmp_path_factory, writes, data):
    """The answers do not depend on the order of appends, nor on which window made each."""
    orders = [writes, data.draw(st.permutations(writes)), data.draw(st.permutations(writes))]
    read_back = []
    for order in orders:
        store = store_in(tmp_path_factory.mktemp("store"))
        with contextlib.ExitStack() as stack:
            number = data.draw(st.integers(1, 4))
            windows = [stack.enter_context(store.window([SHARD])) for _ in range(number)]
            for key, answer in order:
                window = data.draw(st.sampled_from(windows))
                window.append(SHARD, key, Attempted(answer, 1), model="rehearsal", latency_s=0.1)
        read_back.append(read(store, *KEYS))
    assert read_back[0] == read_back[1] == read_back[2]
    for key, found in zip(KEYS, read_back[0], strict=True):
        written = [answer for written_key, answer in writes if written_key == key]
        assert found in written if written else found is None


def test_two_windows_never_share_a_segment(tmp_path):
    """Windows that write to one shard at the same time have a segment each, and lose nothing."""
    store = store_in(tmp_path)
    with store.window([SHARD]) as first, store.window([SHARD]) as second:
        for number, key in enumerate(KEYS):
            window = (first, second)[number % 2]
            window.append(SHARD, key, Attempted(reply(key), 1), model="rehearsal", latency_s=0.1)
    assert len(segments(tmp_path)) == 2
    assert read(store, *KEYS) == [reply(key) for key in KEYS]


def test_concurrent_writers_never_collide(tmp_path):
    """Sixteen threads that begin at once make sixteen segments, and every answer is kept."""
    store, writers = store_in(tmp_path), 16
    barrier = threading.Barrier(writers)
    keys = [[digest(writer, number) for number in range(20)] for writer in range(writers)]

    def write(own_keys: list[str]) -> None:
        with store.window([SHARD]) as window:
            barrier.wait()
            for key in own_keys:
                window.append(
                    SHARD, key, Attempted(reply(key), 1), model="rehearsal", latency_s=0.1
                )

    threads = [threading.Thread(target=write, args=(own_keys,)) for own_keys in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(segments(tmp_path)) == writers
    every = list(itertools.chain(*keys))
    assert read(store, *every) == [reply(key) for key in every]


def test_a_segment_is_never_written_again(tmp_path):
    """A later window leaves the files of earlier ones as they are, even after a torn line."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")), (OTHER_KEY, reply("no")))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-9])
    before = segment.read_bytes()
    keep(store, (THIRD_KEY, reply("maybe")))
    assert segment.read_bytes() == before
    assert len(segments(tmp_path)) == 2
    assert read(store, KEY, OTHER_KEY, THIRD_KEY) == [reply("yes"), None, reply("maybe")]


def test_a_segment_that_was_removed_is_no_obstacle(tmp_path):
    """Where numbers are missing, a new segment takes a free one and overwrites nothing."""
    store = store_in(tmp_path)
    for key in KEYS[:3]:
        keep(store, (key, reply(key)))
    segments(tmp_path)[0].unlink()
    keep(store, (KEYS[3], reply(KEYS[3])))
    assert read(store, *KEYS[1:4]) == [reply(key) for key in KEYS[1:4]]


def test_a_torn_tail_is_ignored_wherever_it_was_torn(tmp_path):
    """Cut anywhere in its last line, a segment still gives all answers before it."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes\nπ")), (OTHER_KEY, reply("no")))
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        segment.write_bytes(whole[:end])
        assert read(store, KEY, OTHER_KEY) == [reply("yes\nπ"), None]
        assert len(list(store.attempts())) == 1
    segment.write_bytes(whole)
    assert read(store, OTHER_KEY) == [reply("no")]


def test_a_key_whose_answer_was_torn_can_be_answered_again(tmp_path):
    """After a torn tail the same key gets an answer from another window."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1])
    keep(store, (KEY, reply("yes")))
    assert read(store, KEY) == [reply("yes")]


DAMAGED = (reply("first"), reply("the second, a little longer: π"), reply("third"))


@given(st.integers(0, 2**16), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_never_gives_another_answer(tmp_path_factory, place, change):
    """With one byte changed, its line gives the true answer or none, and its neighbours theirs.

    Where the byte belongs to the key, the check or the reply, the line gives none.
    """
    folder = tmp_path_factory.mktemp("store")
    keep(store_in(folder), *zip(KEYS[:3], DAMAGED, strict=True))
    (segment,) = segments(folder)
    first, second, third = segment.read_bytes().splitlines(keepends=True)
    place %= len(second) - 1
    changed = bytes([second[place] ^ change])
    segment.write_bytes(first + second[:place] + changed + second[place + 1 :] + third)
    found = read(store_in(folder), *KEYS[:3])
    assert (found[0], found[2]) == (DAMAGED[0], DAMAGED[2])
    assert found[1] in (None, DAMAGED[1])
    vital = [second.index(KEYS[1].encode()), second.index(b'"check"'), second.index(b',"at"')]
    if vital[0] <= place < vital[0] + 32 or vital[1] + 9 <= place < vital[2]:
        assert found[1] is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"no", b"on"),
        (b'"stop"', b'"halt"'),
        (b'"text"', b'"test"'),
        (b'"text":"no",', b""),
        (b'"prompt_tokens":10', b'"prompt_tokens":11'),
        (b"{", b"["),
        (b"no", b"\xff\xfe"),
        (b"no", b"\n"),
        (b'"reply"', b'"peply"'),
    ],
)
def test_a_damaged_line_in_the_middle_is_missing(tmp_path, old, new):
    """A line that is not what was written has no answer, and the lines around it keep theirs."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")), (OTHER_KEY, reply("no")), (THIRD_KEY, reply("maybe")))
    (segment,) = segments(tmp_path)
    first, second, third = segment.read_bytes().splitlines(keepends=True)
    assert old in second
    segment.write_bytes(first + second.replace(old, new) + third)
    assert read(store, KEY, OTHER_KEY, THIRD_KEY) == [reply("yes"), None, reply("maybe")]


def test_an_answer_given_again_after_damage_is_found(tmp_path):
    """A damaged line does not hide a whole one: the key is asked once more and then never again."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(b"yes", b"yEs"))
    assert read(store, KEY) == [None]
    keep(store, (KEY, reply("yes")))
    assert read(store, KEY) == [reply("yes")]


def test_a_folder_that_cannot_be_written_is_a_run_error(tmp_path):
    """Where the store's folder cannot be made, the error says where and what to do."""
    (tmp_path / "file").write_text("in the way")
    store = AnswerStore(str(tmp_path / "file" / "store"), ASK)
    with store.window([SHARD]) as window, pytest.raises(RunError) as raised:
        window.append(SHARD, KEY, Attempted(reply("yes"), 1), model="rehearsal", latency_s=0.1)
    assert str(tmp_path / "file" / "store" / ASK) in str(raised.value)
    assert "--work_dir" in str(raised.value)
    assert "\n" not in str(raised.value)


@contextlib.contextmanager
def files_end_at(size: int):
    """Let no file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("beyond", [0, 1, 100])
def test_a_full_disk_is_a_run_error_and_keeps_what_was_written(tmp_path, beyond):
    """A line that does not fit raises and is no answer; earlier answers and later runs are fine."""
    store, raised = store_in(tmp_path), False
    with store.window([SHARD]) as window:
        window.append(SHARD, KEY, Attempted(reply("yes"), 1), model="rehearsal", latency_s=0.1)
        (segment,) = segments(tmp_path)
        with files_end_at(segment.stat().st_size + beyond):
            try:
                window.append(
                    SHARD, OTHER_KEY, Attempted(reply("no"), 1), model="rehearsal", latency_s=0.1
                )
            except RunError:
                raised = True
    assert raised
    assert read(store, KEY, OTHER_KEY) == [reply("yes"), None]
    keep(store, (OTHER_KEY, reply("no")))
    assert read(store, KEY, OTHER_KEY) == [reply("yes"), reply("no")]


@given(st.lists(st.integers(0, 10**6), max_size=50))
@settings(deadline=None)
def test_a_shard_is_a_function_of_the_record(numbers):
    """A record always falls into the same one of the shards."""
    for number in numbers:
        record_id = digest("record", number)
        assert 0 <= shard_of(record_id) < SHARDS
        assert shard_of(record_id) == shard_of(f"{record_id}-1-0")


def test_records_fill_all_shards_evenly():
    """Of 6,400 records each shard gets about a hundred."""
    counts = [0] * SHARDS
    for number in range(100 * SHARDS):
        counts[shard_of(digest("record", number))] += 1
    assert 60 < min(counts) <= max(counts) < 140


def faults_of(store: AnswerStore) -> dict[str, int]:
    """What is wrong with a store, by kind."""
    faults = Faults()
    assert all(line["key"] in KEYS for line in store.attempts(faults))
    return dict(faults.counts)


WHOLE = (reply("first"), reply("the second, a little longer: π"), reply("third"), reply("4"))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_to_segments_no_reader_fails_and_no_answer_is_wrong(
    tmp_path_factory, data
):
    """Cuts and random bytes anywhere in two segments: each key has its own answer or none."""
    folder = tmp_path_factory.mktemp("store")
    keep(store_in(folder), *zip(KEYS[:2], WHOLE[:2], strict=True))
    keep(store_in(folder), *zip(KEYS[2:4], WHOLE[2:], strict=True))
    for segment in segments(folder):
        content = segment.read_bytes()
        places = data.draw(st.tuples(*[st.integers(0, 10_000)] * 2))
        start, end = sorted(place % (len(content) + 1) for place in places)
        noise = data.draw(st.binary(max_size=40) | st.just(b"\n") | st.just(b"}\n"))
        segment.write_bytes(content[:start] + noise + content[end:])
    store = store_in(folder)
    for found, written in zip(read(store, *KEYS[:4]), WHOLE, strict=True):
        assert found in (None, written)
    lines = sum(segment.read_bytes().count(b"\n") for segment in segments(folder))
    faults = Faults()
    sound = list(store.attempts(faults))
    assert len(sound) + faults.counts["damaged"] == lines
    assert store.transcript("0005" + "0" * 28) == []


ANSWERED = {"key": KEY, "check": "0" * 16, "reply": {"text": "yes"}}


@pytest.mark.parametrize(
    "line",
    [
        "", "{}", "[]", "null", "3", '"key"', "[" * 100_000, '{"a":' * 100_000, "1" * 10_000,
        "\x00",
        '{"key":"', json.dumps({"key": KEY}), json.dumps(ANSWERED),
        json.dumps({**ANSWERED, "reply": []}), json.dumps({**ANSWERED, "reply": None}),
        json.dumps({**ANSWERED, "key": 3}), json.dumps({**ANSWERED, "failure": {}}),
    ],
)  # fmt: skip
def test_a_line_of_another_shape_is_damage_and_nothing_else(tmp_path, line):
    """No JSON, JSON of another kind, or nested without end: the lines around it are read."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")), (OTHER_KEY, reply("no")))
    (segment,) = segments(tmp_path)
    first, second = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(first + line.encode() + b"\n" + second)
    assert read(store, KEY, OTHER_KEY) == [reply("yes"), reply("no")]
    assert faults_of(store) == {"damaged": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"at":', b'"at":"x","was":'), (b'"model":"', b'"model":3,"was":"'), (b'":1}', b'":{}}')],
)
def test_facts_of_another_kind_are_damage(tmp_path, old, new):
    """The ledger reads numbers where there are numbers."""
    store = store_in(tmp_path)
    with store.window([SHARD]) as window:
        window.append(SHARD, KEY, Attempted(reply("yes"), 1), model="m", turn=1)
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(old, new))
    assert read(store, KEY) == [None]
    assert faults_of(store) == {"damaged": 1}


def test_a_segment_cut_in_the_middle_keeps_the_answers_before(tmp_path):
    """What was cut off can be asked again, and only that."""
    store = store_in(tmp_path)
    keep(store, *((key, reply(key)) for key in KEYS))
    (segment,) = segments(tmp_path)
    content = segment.read_bytes()
    segment.write_bytes(content[: content.index(KEYS[3].encode()) + 50])
    assert read(store, *KEYS) == [*map(reply, KEYS[:3]), None, None, None]
    assert faults_of(store) == {"torn": 1}
    keep(store, *((key, reply(key)) for key in KEYS[3:]))
    assert read(store, *KEYS) == list(map(reply, KEYS))


def test_a_line_of_ten_megabytes_is_a_line(tmp_path):
    """An answer may be as long as it likes, and so may damage."""
    store, long = store_in(tmp_path), reply("long " * 2_000_000)
    keep(store, (KEY, long), (OTHER_KEY, reply("no")))
    (segment,) = segments(tmp_path)
    segment.write_bytes(b"x" * 10_000_000 + b"\n" + segment.read_bytes() + b"y" * 10_000_000)
    assert read(store, KEY, OTHER_KEY) == [long, reply("no")]
    assert faults_of(store) == {"damaged": 1, "torn": 1}


def test_what_is_not_ours_is_left_alone(tmp_path):
    """An empty segment, folders and pipes named like one, notes, a loop of links: told and kept."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")))
    shard = tmp_path / ASK / f"{SHARD:02d}"
    (shard / "000001.jsonl").touch()
    (shard / "000002.jsonl").mkdir()
    os.mkfifo(shard / "000003.jsonl")
    (shard / "000004.jsonl").symlink_to(shard / "000004.jsonl")
    (shard / "notes.jsonl").write_text("not an answer")
    (shard / "000002.jsonl" / "000000.jsonl").write_text("not in a shard")
    (tmp_path / ASK / "000000.jsonl").write_text("not in a shard either")
    keep(store, (OTHER_KEY, reply("no")))
    assert read(store, KEY, OTHER_KEY) == [reply("yes"), reply("no")]
    assert faults_of(store) == {"foreign": 5}
    assert (shard / "notes.jsonl").read_text() == "not an answer"
    assert len(store.segments()) == 3


def test_a_segment_that_cannot_be_read_is_a_run_error_that_names_it(tmp_path):
    """The system's own EIO, as a broken disk gives it; the ledger can go on and tell."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")))
    (segments(tmp_path)[0].parent / "000001.jsonl").symlink_to("/proc/self/mem")
    with pytest.raises(RunError, match=r"cannot read .*/05/000001.jsonl, .*: Input/output error;"):
        read(store, KEY)
    with pytest.raises(RunError, match="Input/output error"):
        list(store.attempts())
    assert faults_of(store) == {"unreadable": 1}


@contextlib.contextmanager
def without_privileges():
    """As a user for whom permissions mean something."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("closed", ["segment", "folder"])
def test_a_store_without_permission_is_a_run_error(tmp_path, closed):
    """Its owner has locked a segment, or the folder that it is in."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")))
    (segment,) = segments(tmp_path)
    for folder in [segment.parent, *segment.parents[1:5]]:
        folder.chmod(0o755)
    (segment if closed == "segment" else segment.parent).chmod(0)
    with without_privileges(), pytest.raises(RunError, match="Permission denied; mend that, or"):
        read(store, KEY)


def test_answers_that_are_there_twice_are_told_and_which_of_them_wins(tmp_path):
    """A copy of a segment is harmless; of different answers, the one that readers take is named."""
    store = store_in(tmp_path)
    keep(store, (KEY, reply("yes")), (OTHER_KEY, reply("no")))
    keep(store, (KEY, reply("yes")), (OTHER_KEY, reply("perhaps")), (OTHER_KEY, reply("never")))
    faults = Faults()
    lines = list(store.attempts(faults))
    assert faults.counts == {"twice": 1, "disputed": 1}
    assert "000001.jsonl, line 1: as in" in faults.examples["twice"][0]
    [disputed] = faults.examples["disputed"]
    wins = min(lines[1:2] + lines[3:], key=lambda line: line["check"])
    where = {1: "000000.jsonl, line 2", 3: "000001.jsonl, line 2", 4: "000001.jsonl, line 3"}
    assert disputed.startswith(f"{OTHER_KEY}: 3 answers, and that of ")
    assert disputed.endswith(f"{where[lines.index(wins)]} is taken")
    assert read(store, OTHER_KEY) == [Reply(**wins["reply"])]
