"""The dataset card: what the `datasets` library reads, and what people do."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from beam_sdg.columns import columns_of
from beam_sdg.formats import FORMATS
from beam_sdg.options import parse_flags
from beam_sdg.publish import Asked
from beam_sdg.recipes import RECIPES
from beam_sdg.report import gather, write_report
from beam_sdg.report.card import card
from transforms.engines.engine import Attempted, Reply
from transforms.engines.store import AnswerStore
from transforms.records import Reject

REJECT = Reject("solution", "truncated_answer", "cut off", "1", "{}", "x")


def header_of(text: str) -> Mapping[str, Any]:
    _, header, _ = text.split("---\n", 2)
    return yaml.safe_load(header)


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("format", FORMATS)
def test_datasets_loads_rows_and_rejects(dataset, row, load_dataset, format, num_shards):
    """By the folder alone the rows as `train`; by name the rejects; with the types of Arrow."""
    manifest, output = dataset(
        [row(number) for number in range(10)], [REJECT], num_shards=num_shards, format=format
    )
    write_report(gather(manifest, output), output)
    loaded = load_dataset(output)
    assert list(loaded) == ["train"]
    ids = {f"{number:032x}" for number in range(10)}
    assert set(loaded["train"]["id"]) == ids
    assert loaded["train"].features["scores"]["clarity"].dtype == "int64"
    by_id = {made["id"]: made for made in loaded["train"]}
    assert by_id[f"{0:032x}"] == row(0)
    rejects = load_dataset(output, "rejects")
    assert list(rejects) == ["rejects"]
    assert [reject["reason"] for reject in rejects["rejects"]] == ["truncated_answer"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_file_among_others_hinders_nothing(dataset, row, load_dataset, format):
    """Three files, one row: the first two shards of both kinds are not alike."""
    manifest, output = dataset([row(1)], [REJECT], num_shards=3, format=format)
    write_report(gather(manifest, output), output)
    assert load_dataset(output, split="train").to_list() == [row(1)]
    assert len(load_dataset(output, "rejects", split="rejects")) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_of_an_empty_dataset_the_rejects_can_be_loaded(dataset, load_dataset, format):
    """`datasets` knows no split without rows: it says so, and never gives rejects for rows."""
    manifest, output = dataset([], [REJECT], format=format)
    write_report(gather(manifest, output), output)
    with pytest.raises(ValueError, match="corresponds to no data"):
        load_dataset(output)
    assert len(load_dataset(output, "rejects", split="rejects")) == 1


def test_jsonl_columns_that_are_empty_at_first_keep_their_types(dataset, row, load_dataset):
    """The first file has nulls and empty lists only, the second has values."""
    rows = [row(1, kind=None, tags=[]), row(2, tags=["even"])]
    manifest, output = dataset(rows, num_shards=2, format="jsonl")
    write_report(gather(manifest, output), output)
    assert sorted(load_dataset(output, split="train")["tags"]) == [[], ["even"]]


def test_the_features_of_a_schema_are_those_that_datasets_declares(load_dataset):
    """Scalars, structs and lists in each other, in the library's own words."""
    import datasets

    text, number = pa.string(), pa.int64()
    schema = pa.schema(
        [
            *(("s", text), ("i", number), ("f", pa.float64()), ("b", pa.bool_())),
            ("struct", pa.struct([("x", text), ("inner", pa.struct([("y", number)]))])),
            *(("texts", pa.list_(text)), ("lists", pa.list_(pa.list_(number)))),
            ("structs", pa.list_(pa.struct([("x", text), ("tags", pa.list_(text))]))),
        ]
    )
    declared = [column.feature() for column in columns_of(schema)]
    expected = datasets.Features.from_arrow_schema(schema)
    assert datasets.Features._from_yaml_list(declared) == expected


def test_the_header_tells_licences_size_and_files(dataset, row):
    """What the hub indexes; a licence it does not know is `other`, and of several each counts."""
    rows = [row(number) for number in range(1_000)]
    for number, licence in enumerate(("My Own", "CC-BY-SA-2.5 AND CC-BY-SA-4.0"), start=7_777):
        origin = {"source": "x", "licence": licence}
        rows += [row(number, provenance={"a": origin, "calls": []})]
    manifest, output = dataset(rows, [REJECT])
    header = header_of(card(gather(manifest, output)))
    assert header["license"] == ["cc-by-sa-4.0", "mit", "other"]
    assert header["size_categories"] == ["1K<n<10K"]
    assert header["task_categories"] == ["text-generation"]
    assert [config["config_name"] for config in header["configs"]] == ["default", "rejects"]
    assert "dataset_info" not in header


def test_without_rejects_there_is_no_such_config(dataset, row):
    """Nor a line of code that would load it."""
    text = card(gather(*dataset([row(1)])))
    assert [config["config_name"] for config in header_of(text)["configs"]] == ["default"]
    assert "rejects =" not in text


def test_the_card_says_what_the_figures_say(dataset, row):
    """Rows, losses, licences with their rows, columns with their types, method and models."""
    settings = {"prompt": "infinibyte/solution", "prompt_hash": "beef", "sampling": {"top_p": 0.9}}
    manifest, output = dataset(
        [row(number) for number in range(6)], [REJECT], citation="Somebody published it.",
        asks={"export": Asked(model="Qwen/Q", engine="e", sampling={})}, summary="cross them",
    )  # fmt: skip
    stages = [stage.model_copy(update={"settings": settings}) for stage in manifest.stages[1:]]
    manifest = manifest.model_copy(update={"stages": [manifest.stages[0], *stages]})
    text = card(gather(manifest, output))
    for said in (
        *("6 rows, made by m", "1 rows were lost", "under each licence: MIT 6."),
        *("Somebody published it.", "The recipe: cross them.", "| `problem` | `string` |"),
        *(
            "| export | Qwen/Q | infinibyte/solution | `beef` | top_p 0.9 |",
            "| – obfuscation | 3 |",
        ),
        "| solution | 1 | 0 | 1 | 0 |\n| – truncated_answer |  |  | 1 |  |",
    ):
        assert said in text


def test_equal_data_have_equal_cards(dataset, row):
    """Whatever was asked, when, how often and how fast."""
    rows = [row(number) for number in range(6)]
    one, two = dataset(rows, name="one"), dataset(rows, name="two")
    with AnswerStore(f"{two[1]}/.work/store", "export").window([0]) as window:
        attempted = Attempted(Reply("t", "", "stop", 3, 4), 2)
        window.append(0, "0" * 32, attempted, model="m", latency_s=1.5)
    assert gather(*two).asked != gather(*one).asked
    assert card(gather(*one)) == card(gather(*two))


def test_names_from_data_mean_nothing_in_the_card(dataset, row):
    """A source's name can neither end a cell nor begin an element."""
    origin = {"source": "a|b<script>[x](y)\n# z", "licence": "MIT"}
    text = card(gather(*dataset([row(1, provenance={"a": origin, "calls": []})])))
    assert r"| a\|b\<script>\[x](y) # z | MIT | 1 |" in text


def test_a_rehearsed_dataset_says_so(dataset, row):
    """So that nobody trains on it."""
    rehearsed, output = dataset([row(1)], model="rehearsal")
    assert "nothing\nto train on" in card(gather(rehearsed, output))
    assert "nothing\nto train on" not in card(gather(*dataset([row(1)], name="other")))


def test_the_command_in_the_card_gives_the_same_settings(dataset, row):
    """Read by the command line, its flags are the configuration of the run."""
    recipe = RECIPES["infinibyte"]
    config = recipe.config.model_validate(
        {"num_records": 7, "problems_a": ["gsm8k=my file.jsonl", "b.jsonl"], "deduplicate_b": False}
    )
    settings = config.model_dump(mode="json")
    asks = {
        "evals": Asked(
            model="m",
            engine="e",
            sampling={"max_tokens": 9, "chat_template_kwargs": {"enable_thinking": False}},
        ),
        "solution": Asked(
            model="big",
            engine="e",
            sampling={"max_tokens": 9, "top_p": 0.5, "stop": ["a,b", "c"], "logprobs": 2},
            revision="v2",
            api="text",
        ),
    }
    manifest, output = dataset([row(1)], seed=5, settings=settings, asks=asks)
    [block] = [
        part for part in card(gather(manifest, output)).split("```") if part.startswith("sh\n")
    ]
    program, name, *flags = shlex.split(block.removeprefix("sh\n").replace("\\\n", ""))
    assert (program, name) == ("beam-sdg", "infinibyte")
    invocation = parse_flags(recipe, flags, "beam-sdg infinibyte")
    assert invocation.config == config
    assert invocation.run.seed == 5
    assert invocation.models.max_tokens == 9
    assert invocation.stage_settings.keys() == {"evals", "solution"}
    template = invocation.stage_settings["evals"]["chat_template_args"]
    assert template == {"enable_thinking": "false"}
    assert invocation.stage_settings["solution"] == {
        "model": "big", "revision": "v2", "api": "text", "top_p": "0.5", "stop": '["a,b", "c"]'
    }  # fmt: skip


def test_a_run_writes_a_card_that_loads(beam_sdg_command, load_dataset, tmp_path: Path):
    """The command's own output: every row of its files."""
    output = tmp_path / "out"
    flags = ("--num_records=12", "--num_shards=2", "--rehearsal=malformed=0.2")
    done = beam_sdg_command("infinibyte", f"--output={output}", *flags)
    assert done.returncode == 0, done.stderr
    for folder, config, split in (("data", "default", "train"), ("rejects",) * 3):
        files = sorted((output / folder).iterdir())
        rows = [made for file in files for made in pq.read_table(file).to_pylist()]
        assert rows
        assert load_dataset(output, config, split=split).to_list() == rows
