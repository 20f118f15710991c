"""What hands that know zstd and xz type, and what tar types: turned into llmzip's own words before they are parsed.

``llmzip -d FILE``, ``llmzip -9 FILE``, ``tar -I llmzip``; a level as an option of its own, also among other letters:
``-9f``. Only ``cli`` imports it.
"""

import re
from collections.abc import Collection

from llmzip.errors import UsageError
from llmzip.levels import LEVELS

_COMMANDS = {"-d": "decompress", "--decompress": "decompress", "-t": "test", "--test": "test", "-z": "compress"}
"""Option that stands for a command -> that command."""

_OF_THE_PROGRAM = {"-h", "--help", "-V", "--version"}


def with_command(arguments: list[str], *, piped: bool) -> list[str]:
    """The arguments with the command that they leave out, if any.

    Options without a command compress, or do what a ``-d`` or ``-t`` among them says; levels mean nothing then.
    piped: whether both standard input and output lead elsewhere than to a terminal; then even no arguments compress.
    """
    if not arguments:
        return ["compress"] if piped else []
    if not arguments[0].startswith("-") or arguments[0] in _OF_THE_PROGRAM:
        return arguments
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for place, option in enumerate(options):
        if option in _COMMANDS:
            return _of_command(_COMMANDS[option], arguments[:place] + arguments[place + 1 :])
    # Of letters together, only in the first: what follows may be the value of an option.
    for letter in re.findall("[dtz]", arguments[0]) if re.fullmatch("-[a-z0-9]+", arguments[0]) else ():
        rest = arguments[0].replace(letter, "", 1)
        return _of_command(_COMMANDS[f"-{letter}"], [rest, *arguments[1:]])
    return ["compress", *arguments]


def _of_command(command: str, arguments: list[str]) -> list[str]:
    if command != "compress":
        arguments = [word for word in arguments if not re.fullmatch(r"-\d+", word)]
    return [command, *arguments]


def with_levels(arguments: list[str], options_with_values: Collection[str]) -> list[str]:
    """The arguments with ``-9`` as ``--level=9``. Raises UsageError for a number that is no level.

    options_with_values: all names of the options that take a value, such as ``-o`` and ``--output``.
    """
    found: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            found.append(word)
            break
        if word in options_with_values:
            found += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif re.match(r"-[A-Za-z]*\d", word):
            found += _split(word, options_with_values)
        else:
            found.append(word)
    return [*found, *words]


def _split(word: str, options_with_values: Collection[str]) -> list[str]:
    """Letters and levels that are written together."""
    found: list[str] = []
    for match in re.finditer(r"\d+|\D", word[1:]):
        part = match.group()
        if f"-{part}" in options_with_values:
            return [*found, f"-{word[1 + match.start() :]}"]  # what follows is its value
        if part.isdigit():
            if int(part) not in LEVELS:
                raise UsageError(f"there is no level -{part}: levels are -{min(LEVELS)} to -{max(LEVELS)}")
            found.append(f"--level={part}")
        else:
            found.append(f"-{part}")
    return found
