"""The troubleshooting page knows every message and every reason that the code can give.

A message is known by its beginning up to the first semicolon (what is wrong; the mend follows),
with … for each value in it; a reason by its word.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("beam_sdg", "transforms", "sandbox", "prompts")
MODULES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text())
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
ERRORS = {"SdgError", "PromptError", "SandboxError"}
WORDS = re.compile(r"[a-z]{2,}", re.IGNORECASE)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def classes() -> Iterator[ast.ClassDef]:
    for module in MODULES.values():
        yield from (node for node in ast.walk(module) if isinstance(node, ast.ClassDef))


def error_names() -> set[str]:
    """The classes of errors that are explained to a user, and all derived from them."""
    names = set(ERRORS)
    while more := {c.name for c in classes() if names & set(map(name_of, c.bases))} - names:
        names |= more
    return names


def templates(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> list[str]:
    """What a string can be, with … for each value; of a name, what is assigned to it."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        whole = "".join(map(str, parts))
        if WORDS.search(whole):
            return [whole]
        return [found for part in node.values for found in named_in(part, assigned)]
    if isinstance(node, ast.IfExp):
        return templates(node.body, assigned) + templates(node.orelse, assigned)
    if isinstance(node, ast.BinOp):
        sides = [templates(side, assigned) or ["…"] for side in (node.left, node.right)]
        return [left + right for left in sides[0] for right in sides[1]]
    return named_in(node, assigned)


def named_in(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> list[str]:
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    values = [value for name in names for value in assigned.get(name, [])]
    literal = (ast.Constant, ast.JoinedStr, ast.IfExp)
    return [
        found for value in values if isinstance(value, literal) for found in templates(value, {})
    ]


def messages() -> dict[str, str]:
    """The beginning of each message, and where it is made."""
    errors = error_names()
    found: dict[str, str] = {}
    for path, module in MODULES.items():
        for function in ast.walk(module):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            assigned: dict[str, list[ast.expr]] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    assigned.setdefault(node.targets[0].id, []).append(node.value)
            validates = any("validator" in ast.unparse(d) for d in function.decorator_list)
            made_here = errors | ({"ValueError"} if validates else set())
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and name_of(call.func) in made_here and call.args:
                    for text in templates(call.args[0], assigned):
                        if beginning := what_is_wrong(text):
                            found[beginning] = f"{path}:{call.lineno}"
    return found


def what_is_wrong(message: str) -> str:
    """The first part of a message, between semicolons, that has words."""
    return next((part.strip() for part in message.split(";") if WORDS.search(part)), "")


def reason_positions() -> dict[str, int]:
    """Where the reason stands among the arguments of a class or a function that takes one."""
    positions = {}
    for module in MODULES.values():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                names = [argument.arg for argument in node.args.args]
                if "reason" in names and names[0] != "self":
                    positions[node.name] = names.index("reason")
    for definition in classes():
        fields = [
            node.target.id
            for node in definition.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ]
        for node in definition.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                fields = [argument.arg for argument in node.args.args[1:]]
        if "reason" in fields:
            positions[definition.name] = fields.index("reason")
    return positions


def reasons() -> dict[str, str]:
    """Each reason, and where it is given: to such a class, or returned beside its detail."""
    positions = reason_positions()
    found: dict[str, str] = {}
    for path, module in MODULES.items():
        for node in ast.walk(module):
            given: list[ast.expr] = []
            if isinstance(node, ast.Call) and name_of(node.func) in positions:
                place = positions[name_of(node.func)]
                given = node.args[place : place + 1]
                given += [word.value for word in node.keywords if word.arg == "reason"]
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                given = node.value.elts[:1]
            for value in given:
                if isinstance(value, ast.Constant) and re.fullmatch(
                    r"[a-z_]+\d?", str(value.value)
                ):
                    found[str(value.value)] = f"{path}:{node.lineno}"
    return found


def rows() -> list[str]:
    """What stands as code at the beginning of the page's table rows."""
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)


KNOWN = messages() | reasons()


def test_no_page_has_a_figure_yet_to_be_measured():
    """What is to be filled in is not published."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    left = re.compile(r"\b(?:MEASURED|TODO|TBD|FIXME|XXX)\b")
    assert not [
        f"{page.relative_to(ROOT)}:{number}"
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), start=1)
        if left.search(line)
    ]


def test_the_page_explains_every_message_and_every_reason():
    """Each has a row in a table of the page, under the heading where it belongs."""
    missing = [
        f"| `{text}` | what it means, and what to do |    (it is made in {place})"
        for text, place in KNOWN.items()
        if text not in rows()
    ]
    assert not missing, "add to a table of docs/troubleshooting.md:\n" + "\n".join(missing)


def test_the_page_explains_nothing_that_cannot_happen():
    """A row whose message or reason the code no longer has is taken off the page."""
    stale = [text for text in rows() if text not in KNOWN]
    assert not stale, (
        "take out of docs/troubleshooting.md, or word as the code does:\n" + "\n".join(stale)
    )
    assert len(rows()) == len(set(rows()))


def test_what_is_looked_for_is_found():
    """The collection itself works: one message of each form, and reasons given in each way."""
    assert {
        "no file matches …",
        "no stage has a row …",
        "prompt … has no rehearsal",
        "… failed: …",
        "not_json",
        "not_utf8",
        "timed_out",
        "duplicate",
        "unchanged",
    } <= KNOWN.keys()
