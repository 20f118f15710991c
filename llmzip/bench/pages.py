"""Fills the templates: pages of one file that need no network, run nothing but their own script, and trust no name.

What a page may do is written into it (a content security policy): inline style, the one script whose digest it states,
and no address at all. Needs Jinja2, of the extra ``report``. May import ``errors``; ``bench`` imports it.
"""

import base64
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmzip.errors import UsageError

_TEMPLATES = Path(__file__).resolve().parent / "templates"

MISSING = "HTML pages need packages that are not installed: pip install 'llmzip[report]'"


def require() -> None:
    """Raises UsageError where a page could not be made, before anything is measured for it."""
    if find_spec("jinja2") is None or find_spec("vl_convert") is None:
        raise UsageError(MISSING)


def fill(template: str, /, **values: Any) -> str:
    """The page ``templates/TEMPLATE.html`` with its script, ``TEMPLATE.js``, every value escaped.

    Raises UsageError where Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise UsageError(MISSING) from None
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = (_TEMPLATES / f"{template}.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(f"{template}.html").render(values, script=script, digest=digest, style=style())


def style() -> str:
    """The style of all pages."""
    return (_TEMPLATES / "page.css").read_text(encoding="utf-8")


def data_block(value: Any) -> str:
    """JSON that may stand in a script element: no tag and no comment can begin in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
