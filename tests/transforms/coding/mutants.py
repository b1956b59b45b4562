"""Mutants: a program with one thing changed that a test ought to find."""

import ast
import copy
import random
from collections.abc import Iterator

_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
}  # fmt: skip


def mutant_of(code: str, entry_point: str, rng: random.Random) -> str:
    """The program with one change in the function that is asked for, drawn from all there are."""
    tree = ast.parse(code)
    function = _function(tree, entry_point)
    return rng.choice(
        [ast.unparse(_with(tree, entry_point, place, change))
         for place, node in enumerate(ast.walk(function))
         for change in range(len(list(_changed(node))))]
    )  # fmt: skip


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)


def _with(tree: ast.Module, name: str, place: int, change: int) -> ast.Module:
    """A copy of the tree in which one node is another."""
    new = copy.deepcopy(tree)
    target = list(ast.walk(_function(new, name)))[place]
    changed = list(_changed(target))[change]

    class Put(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return changed if node is target else self.generic_visit(node)

    return ast.fix_missing_locations(Put().visit(new))


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """What a node can be changed into: comparisons, constants, operators, conditions, returns."""
    match node:
        case ast.Compare(ops=[op, *rest]) if type(op) in _COMPARED:
            yield ast.Compare(node.left, [_COMPARED[type(op)](), *rest], node.comparators)
        case ast.BinOp(op=op) if type(op) in _COMPUTED:
            yield ast.BinOp(node.left, _COMPUTED[type(op)](), node.right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.BoolOp(op=op):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield ast.BoolOp(other, node.values)
        case ast.AugAssign(op=op) if type(op) in _COMPUTED:
            yield ast.AugAssign(node.target, _COMPUTED[type(op)](), node.value)
        case ast.If():
            negated = ast.UnaryOp(ast.Not(), node.test)
            yield ast.If(negated, node.body, node.orelse)
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))
