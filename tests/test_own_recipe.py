"""The recipe of docs/own-recipe.md, from a folder outside of the repository."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "own-recipe.md").read_text()


@pytest.fixture
def recipe(tmp_path) -> Path:
    """The documented files, as a reader would put them into a folder."""
    code, rehearsal = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    [template] = re.findall(r"```jinja\n(.*?)```", DOC, re.DOTALL)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "retell.py").write_text(code)
    (tmp_path / "prompts" / "retelling.jinja").write_text(template)
    (tmp_path / "prompts" / "retelling.py").write_text(rehearsal)
    rows = [{"question": f"Ann has {n} pears. How many has she?"} for n in range(30)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "retell.py"


def test_a_recipe_of_ones_own_makes_a_dataset(recipe, beam_sdg_command):
    """With its own prompt, schema, flag and check; rows and rejects add up, and it is labelled."""
    output = recipe.parent / "out"
    flags = [f"--problems=gsm8k={recipe.parent / 'in.jsonl'}", f"--output={output}"]
    done = beam_sdg_command(recipe, *flags, "--num_records=20", "--rehearsal=malformed=0.2")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(next(output.glob("data/*.parquet"))).to_pylist()
    rejects = pq.read_table(next(output.glob("rejects/*.parquet"))).to_pylist()
    assert len(rows) + len(rejects) == 20
    assert {reject["reason"] for reject in rejects} == {"malformed_answer"}
    for row in rows:
        source = row["provenance"]["source"]
        assert row["problem"] == f"In {row['setting']}: {source['text']}"
        assert source["licence"] == "MIT"
    card = (output / "README.md").read_text()
    assert "license:\n- mit\n" in card
    assert "beam-sdg retell.py" in card
    shown = beam_sdg_command("show", output, rows[0]["id"]).stdout
    assert "Tell this problem again" in shown


def test_a_changed_recipe_is_another_run(recipe, beam_sdg_command):
    """The file's own text is in the fingerprint: its old dataset is not taken for the new one's."""
    output = recipe.parent / "out"
    flags = [f"--problems=gsm8k={recipe.parent / 'in.jsonl'}", f"--output={output}"]
    assert beam_sdg_command(recipe, *flags).returncode == 0
    recipe.write_text(recipe.read_text().replace("the text is the old one", "nothing has changed"))
    again = beam_sdg_command(recipe, *flags)
    assert again.returncode == 2
    assert "--replace" in again.stderr


def test_a_setting_without_a_default_is_asked_for(recipe, beam_sdg_command):
    """Rather than to make a dataset of nothing."""
    done = beam_sdg_command(recipe)
    assert done.returncode == 2
    assert done.stderr == "beam-sdg: --problems is missing; the recipe cannot do without it\n"


def test_its_prompts_can_be_overridden_too(recipe, beam_sdg_command):
    """--prompts finds the recipe's templates by name."""
    mine = recipe.parent / "mine"
    mine.mkdir()
    template = "{% block user %}Sing it: <problem>\n{{ problem }}\n</problem>{% endblock %}"
    (mine / "retelling.jinja").write_text(template)
    source = f"--problems=gsm8k={recipe.parent / 'in.jsonl'}"
    done = beam_sdg_command(recipe, source, f"--prompts={mine}", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "Sing it:" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no RECIPE"),
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
        ("1 +", "cannot be imported: SyntaxError"),
    ],
)
def test_a_broken_recipe_is_one_line(tmp_path, beam_sdg_command, text, said):
    """The file and what is wrong with it; no traceback."""
    (tmp_path / "broken_one.py").write_text(text)
    done = beam_sdg_command(tmp_path / "broken_one.py")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recipe_with_the_name_of_a_module_is_one_line(tmp_path, beam_sdg_command):
    """A file called json.py would never be imported: it is refused with the mend."""
    (tmp_path / "json.py").write_text("RECIPE = 1")
    done = beam_sdg_command(tmp_path / "json.py")
    assert done.returncode == 2
    assert "rename the file" in done.stderr
