"""Settings of Sphinx: python -m sphinx -W docs build/site. Formulas are MathML, which needs no script."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import vaezoo

project = "vaezoo"
author = "The vaezoo authors"
copyright = f"2026, {author}"  # noqa: A001  # the name that Sphinx reads
release = vaezoo.__version__
source_suffix = {".md": "markdown", ".py": "markdown"}
html_extra_path = ["../build/extra"]  # the report of the committed run
exclude_patterns = ["*.py"]  # of this folder
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"vaezoo {release}"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
suppress_warnings = ["myst.header"]


def write_lesson(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn a lesson that is a program in cells (percent format) into Markdown, in place."""
    if not str(app.env.doc2path(page)).endswith(".py"):
        return
    texts = []
    for kind, cell in re.findall(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", source[0], re.MULTILINE | re.DOTALL):
        text = re.sub("^# ?", "", cell, flags=re.MULTILINE) if kind else f"```python\n{cell.strip()}\n```"
        texts.append(text.strip())
    source[0] = "\n\n".join(texts)


def visit_inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_displayed_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div style="margin: 1em 0; overflow-x: auto">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the renderer of formulas and the reader of lessons."""
    app.connect("source-read", write_lesson)
    app.add_html_math_renderer("mathml", (visit_inline_math, None), (visit_displayed_math, None))
