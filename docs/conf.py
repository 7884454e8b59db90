"""Settings of Sphinx: python -m sphinx -W docs build/site. Formulas are MathML, which needs no script."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import vaezoo

project = "vaezoo"
author = "The vaezoo authors"
copyright = f"2026, {author}"  # noqa: A001  # the name that Sphinx reads
release = vaezoo.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"vaezoo {release}"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
suppress_warnings = ["myst.header", "myst.xref_missing"]  # links to files of the repository


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
    """Register the renderer of formulas."""
    app.add_html_math_renderer("mathml", (visit_inline_math, None), (visit_displayed_math, None))
