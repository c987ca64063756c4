"""Whatever a trace holds, Markdown shows it and does nothing with it."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from insights.report import escape
from tests.report.sample import HOSTILE

RENDER = MarkdownIt("gfm-like", {"html": True, "linkify": False})
NASTY = (
    HOSTILE,
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](http://e.example/i.png)",
    "[x]: http://e.example 'title'",
    "`code` and ``more`` and ```fence",
    "a | b | c",
    "# heading",
    "1. item",
    "- item",
    "> quote",
    "___",
    "__init__ and _it_ and snake_case_ and _",
    "* * *",
    "~~gone~~",
    "&lt;b&gt; &#60;",
    "\\* already \\escaped",
    "line\n\n```sh\nrm -rf /\n```",
    "| a |\n|---|\n| b |",
    "http://e.example www.e.example a@e.example",
    "<!-- comment",
    "<a href=x",
    "\x1b[2J\x07\x00 \u202eabc\u2066 \u200b\ufeff \U000e0041",
)


def shown(markdown: str) -> str:
    """The text of the one paragraph or quotation that the Markdown renders to; any other tag stays in it."""
    rendered = RENDER.render(markdown)
    return html.unescape(re.sub(r"</?(?:p|blockquote|strong)>\n?", "", rendered)).strip("\n")


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize(("before", "seen"), [("", ""), ("> “", "“"), ("**Claim.** ", "Claim. ")])
def test_text_renders_as_its_own_characters(text: str, before: str, seen: str) -> None:
    assert shown(before + escape.markdown(text)) == seen + escape.one_line(text)


@pytest.mark.parametrize("text", NASTY)
def test_a_cell_stays_one_cell(text: str) -> None:
    rendered = RENDER.render(f"| a | b |\n| --- | --- |\n| {escape.cell(text)} | end |\n")
    assert rendered.count("<td>") == 2
    assert "<script" not in rendered and "<a " not in rendered and "<code" not in rendered and "<img" not in rendered


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
    | st.text(alphabet="`*_[]()<>|#-+=~!\\&;:1. ab\n", max_size=40)
)
def test_any_text_renders_as_its_own_characters(text: str) -> None:
    assert shown(escape.markdown(text)) == escape.one_line(text)


def test_addresses_do_not_become_links() -> None:
    linkify = pytest.importorskip("linkify_it", reason="linkify-it-py is not installed")
    assert linkify
    render = MarkdownIt("gfm-like")
    assert "<a " not in render.render(escape.markdown("see http://e.example/x and www.e.example or me@e.example"))


def test_nothing_stays_hidden() -> None:
    assert escape.visible("a\x1b[31m\u202eb\u200bc") == "a‹U+001B›[31m‹U+202E›b‹U+200B›c"
    assert escape.visible("a\nb\tc é 漢 👍") == "a\nb\tc é 漢 👍"


def test_prose_keeps_plain_names_as_code_and_nothing_else() -> None:
    assert escape.prose("call `get_order(id)` first") == "call `get_order(id)` first"
    assert "<code>" not in RENDER.render(escape.prose("`<b>` and `a\\`"))


@given(st.text(max_size=80))
def test_a_fence_cannot_be_closed_from_inside(text: str) -> None:
    rendered = RENDER.render(escape.fenced(f"```\n{text}\n````", "sql") + "\n\nafter\n")
    assert rendered.rstrip().endswith("<p>after</p>")


def test_long_text_keeps_head_and_tail_and_says_what_is_missing() -> None:
    cut = escape.shortened("a" * 500 + "b" * 500, 90)
    assert cut == "a" * 60 + " … (910 characters left out) … " + "b" * 30
