"""Check the words of the code: names that say nothing, phrases that need a second reading, long sentences.

    python tests/check_words.py [PATH ...]

Names are checked where they are defined: variables, parameters, functions, classes. Phrases are checked in comments and
in all strings, so also in docstrings, messages and help texts. Docstring sentences have at most 25 words. Exit code 1
if anything is reported.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_WORDS = 25
NAMES = frozenset(
    re.findall(
        r"\w+",
        """
        FEW FILE KEPT LEAST NAMES NONE NOT_ANY ROUNDING SECONDS SHOWN
        Bench Probe Reading Taken
        anyone apart asked at begun deaf doctor found given kept mend one ones ours own places said shown sifting
        stepping taken_apart theirs told told_apart wanted who whole whose written_out
        """,
    )
)
FUNCTIONS = frozenset(  # participles: a function's name is a verb
    re.findall(
        r"\w+", "answered began chosen drawn fitted forked judged measured moved prepared ready started summed taken"
    )
)
PHRASES = [
    r"\blies? (in|at|beside|there)\b",
    r"\blying\b",
    r"\banew\b",
    r"\bmend(s|ed|ing)?\b",
    r"\bso many\b",
    r"(?-i:\b(is|are) none\b)",
    r"\bdeaf\b",
    r"\b(hold|holds|held) (\w+ ){0,4}to\b",
    r"\bin the house's manner\b",
    r"\b(is|are|was|were) told\b",
    r"\bas it likes\b",
    r"\bhas it not\b",
    r"\bnobody\b",
    r"\bborn\b",
    r"\b(drown|starve|swell)(s|ed|ing)?\b",
    r"\bbut for\b",
    r"\bwhat there is\b",
    r"\btells? apart\b",
    r"\btold apart\b",
    r"\bdearest\b",
    r"\bgambl",
]
RIDDLE = re.compile("|".join(PHRASES), re.IGNORECASE)


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Yield line, name and whether it is a function's, for every name that the code defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name.lstrip("_"), isinstance(node, ast.FunctionDef)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr, False
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, False


def long_sentences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of docstring sentences with too many words; lists and indented blocks are left out."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        for block in (ast.get_docstring(node) or "").split("\n\n"):
            if any(line.startswith((" ", "-")) for line in block.splitlines()):
                continue
            for sentence in re.split(r"(?<=[.:;!?])\s+", " ".join(block.split())):
                if len(re.findall(r"[A-Za-z][\w'’-]*", sentence)) > MAX_WORDS:
                    yield getattr(node, "lineno", 1), sentence


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment and string."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield token.start[0], " ".join(token.string.split())


def check(path: Path) -> list[str]:
    """Return one line for each fault of a file."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    faults = [
        (line, f"name {name!r} says nothing about its content; use a term of the field")
        for line, name, is_function in defined_names(tree)
        if name in NAMES or (is_function and name in FUNCTIONS)
    ]
    for line, text in texts(source):
        faults += [(line, f"phrase {hit.group()!r}; use plain English") for hit in RIDDLE.finditer(text)]
    faults += [(line, f"sentence of more than {MAX_WORDS} words: {text}") for line, text in long_sentences(tree)]
    return [f"{path}:{line}: {fault}" for line, fault in sorted(set(faults))]


def main(arguments: list[str]) -> int:
    """Check these files and folders, by default all code except the word list itself."""
    folders = [Path(argument) for argument in arguments] or [ROOT / name for name in ("vaezoo", "benchmarks", "tests")]
    paths = sorted(path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.py")))
    paths = [path for path in paths if path.resolve() != Path(__file__).resolve()]
    faults = [fault for path in paths for fault in check(path)]
    print("\n".join(faults) if faults else f"{len(paths)} files: no fault")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
