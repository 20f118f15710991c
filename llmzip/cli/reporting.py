"""A comparison that could not be made is told like one that was: to GitHub, and to whoever asked for JSON.

Only ``cli`` imports it.
"""

import json
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from llmzip.cli.messages import say
from llmzip.errors import LlmzipError, NotComparableError
from llmzip.targets import append_text


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """``bench`` and ``compare``, whose errors are verdicts: "not comparable", or "not checked" if something lacks."""

    @wraps(command)
    def reported(**options: Any) -> None:
        try:
            command(**options)
        except LlmzipError as error:
            verdict = "not comparable" if isinstance(error, NotComparableError) else "not checked"
            tell_failure(verdict, str(error))
            if options["as_json"] and options.get("check", True) is not None:
                typer.echo(json.dumps({"verdict": verdict, "reason": str(error)}, indent=2))
            raise

    return reported


def tell_failure(verdict: str, reason: str) -> None:
    """Writes the step's summary and an annotation, where this is a step of GitHub."""
    from llmzip.bench.exports import failure_annotation, failure_summary

    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_text(summary, failure_summary(verdict, reason))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        say(failure_annotation(verdict, reason))
