"""The stub: what `start` puts into a learner's folder, made from the module that has the hole.

What always holds: signature and docstring are the real ones, everything around them is told (the module's
names, the class's fields, what its other methods are for), and no line of our answer is in it.
"""

import ast
import textwrap
from collections.abc import Iterator, Sequence

from exercises.catalogue import Exercise, Symbol, pick
from exercises.prose import flowed
from exercises.splice import Function, find, symbol_node

WIDTH = 100


def stubs(exercise: Exercise, language: str) -> dict[str, str]:
    """File name -> text; one file for each module that has a hole."""
    holes = {module: [one for one in exercise.symbols if one.module == module] for module in exercise.modules}
    return {symbols[0].file: _stub(exercise, symbols, language) for symbols in holes.values()}


def _stub(exercise: Exercise, symbols: Sequence[Symbol], language: str) -> str:
    source = symbols[0].path.read_text("utf-8")
    tree = ast.parse(source)
    owners = list(dict.fromkeys(symbol.name.rpartition(".")[0] for symbol in symbols))
    parts = [
        _opening(exercise, symbols, language, ast.get_docstring(tree) or ""),
        "from __future__ import annotations\n\nfrom typing import TYPE_CHECKING\n",
        _imports(tree, symbols[0].module, owners, exercise.context),
        _constants(tree, source),
        *[_signature_of(symbol) for symbol in exercise.context if _knows(tree, symbol)],
        *[_class(exercise, tree, source, owner) for owner in owners if owner],
        *[_hole(tree, symbol.name, exercise.id) for symbol in symbols if "." not in symbol.name],
    ]
    return "\n".join(parts)


def _opening(exercise: Exercise, symbols: Sequence[Symbol], language: str, about: str) -> str:
    """The story, what is to be done, what the words mean, and what the module says of itself."""
    story = flowed(pick(exercise.story, language), WIDTH)
    names = ", ".join(symbol.name for symbol in symbols)
    lines = [
        f'"""{exercise.id} · {pick(exercise.title, language)}',
        f"\n{story}\n",
        f"    write    {names}",
        f"    judge    python3 -m exercises check {exercise.id}",
        f"    ask      python3 -m exercises hint {exercise.id}",
    ]
    if exercise.notes:
        lines.append(f"\n{flowed(pick(exercise.notes, language), WIDTH)}")
    lines += [f"\n{symbols[0].file} says of itself:\n", textwrap.indent(about, "    "), '"""\n']
    return "\n".join(lines)


def _imports(tree: ast.Module, module: str, owners: Sequence[str], context: Sequence[Symbol]) -> str:
    """The names that help: they are there when the code runs, and so the editor knows them too."""
    lines = [f"    from {one.module} import {one.name}" for one in context if _knows(tree, one)]
    own: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            own += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name not in owners:
            own.append(node.name)
    if own:
        names = "".join(f"        {name},\n" for name in own)
        lines.append(f"    from {module} import (\n{names}    )")
    return "\n".join(["if TYPE_CHECKING:  # all of these are there when your code runs", *lines, ""])


def _constants(tree: ast.Module, source: str) -> str:
    """The module's constants and its small tuples, as comments."""
    rows, lines = source.splitlines(), []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            lines += rows[node.lineno - 1 : node.end_lineno]
        elif isinstance(node, ast.ClassDef) and any(ast.unparse(one) == "NamedTuple" for one in node.bases):
            names = [ast.unparse(one.target) for one in node.body if isinstance(one, ast.AnnAssign)]
            doc = (ast.get_docstring(node) or "").partition(" [")[0]  # without marks for a page
            lines += [f"{node.name}({', '.join(names)})", f"    {doc}"]
    return _comment("\n".join(lines)) + "\n" if lines else ""


def _knows(tree: ast.Module, symbol: Symbol) -> bool:
    imports = [
        node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == symbol.module
    ]
    return any(alias.name == symbol.name for node in imports for alias in node.names)


def _signature_of(symbol: Symbol) -> str:
    """A class or function of another module that helps, as comments."""
    node = symbol_node(symbol)
    if isinstance(node, Function):
        return _comment(_signature(node)) + "\n"
    inner = [
        one for one in node.body if isinstance(one, Function) and (one.name == "__init__" or _public(one))
    ]
    doc = (ast.get_docstring(node) or "").split("\n")[0]
    lines = [f"class {node.name}:  # {symbol.module}", *textwrap.wrap(doc, WIDTH - 8), *_told(inner)]
    return _comment("\n    ".join(lines)) + "\n"


def _class(exercise: Exercise, tree: ast.Module, source: str, owner: str) -> str:
    node = next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == owner)
    holes = {
        symbol.name.rpartition(".")[2] for symbol in exercise.symbols if symbol.name.startswith(f"{owner}.")
    }
    doc = ast.get_docstring(node) or owner
    methods = [one for one in node.body if isinstance(one, Function)]
    hidden = holes | {use.removeprefix("self.") for use in exercise.shortcuts}
    others = [one for one in methods if one.name not in hidden and not one.name.startswith("__")]
    lines = [f"class {owner}:", textwrap.indent(f'"""{doc}"""\n', "    ")]
    fields = [line for one in methods if one.name == "__init__" for line in _fields(one, source)]
    for heading, told in (("Its fields:", fields), ("What else it can do:", list(_told(others)))):
        if told:
            lines.append(textwrap.indent(_comment("\n    ".join([heading, *told])) + "\n", "    "))
    lines += [
        textwrap.indent(_hole(tree, f"{owner}.{one.name}", exercise.id), "    ")
        for one in methods
        if one.name in holes
    ]
    return "\n".join(lines)


def _fields(init: Function, source: str) -> Iterator[str]:
    rows = source.splitlines()
    for node in init.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield rows[node.lineno - 1].strip()


def _public(node: Function) -> bool:
    return not node.name.startswith("_") and bool(ast.get_docstring(node))


def _told(nodes: Sequence[Function]) -> Iterator[str]:
    for node in nodes:
        yield from _signature(node).splitlines()


def _signature(node: Function) -> str:
    """`name(arguments) -> type`, and the first line of the docstring below it."""
    is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
    arguments = (
        "" if is_property else f"({ast.unparse(node.args)})".replace("(self, ", "(").replace("(self)", "()")
    )
    answer = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    doc = (ast.get_docstring(node) or "").split("\n")[0]
    return "\n".join([f"{node.name}{arguments}{answer}", *textwrap.wrap(doc, WIDTH, initial_indent="    ")])


def _comment(text: str) -> str:
    return textwrap.indent(text, "# ", lambda line: True)


def _hole(tree: ast.Module, name: str, id: str) -> str:
    """Signature and docstring, and in place of the body a friendly way to fail."""
    node = symbol_node_in(tree, name)
    words = f'raise NotImplementedError("{node.name} is yours to write: python3 -m exercises hint {id}")'
    body: list[ast.stmt] = [
        one for one in node.body[:1] if isinstance(one, ast.Expr) and ast.get_docstring(node)
    ]
    empty = type(node)(**{**dict(ast.iter_fields(node)), "body": [*body, ast.parse(words).body[0]]})
    return ast.unparse(ast.fix_missing_locations(ast.copy_location(empty, node))) + "\n"


def symbol_node_in(tree: ast.Module, name: str) -> Function:
    """The function of this name in a tree."""
    place = find(tree, name)
    node = place[0][place[1]] if place else None
    if not isinstance(node, Function):
        raise LookupError(f"there is no function {name}")
    return node


def source_of(source: str, name: str) -> str:
    """A function's text as it stands in `source`."""
    node = symbol_node_in(ast.parse(source), name)
    return textwrap.dedent("\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]))
