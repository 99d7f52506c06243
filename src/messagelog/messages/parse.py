"""Parse the raw body of `POST /messageLog` into a typed request, or say what is wrong with it and where."""

import re

import msgspec

from messagelog.messages.errors import BadRequest
from messagelog.messages.request import LogRequest

_decoder = msgspec.json.Decoder(LogRequest)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # keep a whole pair
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|.)",  # keep any other escape, above all an escaped backslash
    re.DOTALL,
)

_TOLD_BY_MSGSPEC = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
_TOLD_BY_US = re.compile(r"(?P<field>\w+(?:\.\w+)?): (?P<problem>.*)", re.DOTALL)

_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def parse_log_request(body: bytes) -> LogRequest:
    """Decode and check the body of `POST /messageLog`.

    An emoji cut in half (a lone surrogate escape) becomes U+FFFD, so that its message can be logged.
    Raises BadRequest for every fault, with the path of the field in the client's spelling.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        # msgspec checks only what it keeps, and bad UTF-8 anywhere is the sender's error.
        body.decode()
        return _decode(body)
    except UnicodeDecodeError:
        raise BadRequest("body", "is not UTF-8") from None
    except RecursionError:
        raise BadRequest("body", "is nested too deep") from None
    except msgspec.ValidationError as error:
        message = str(error)  # msgspec's, or that of a record's own check
        told = _TOLD_BY_MSGSPEC.fullmatch(message)
        path, problem = (told["path"] or "", told["problem"]) if told else ("", message)
        field, problem = _in_words(problem)
        raise BadRequest(".".join(part for part in (path, field) if part) or "body", problem) from None
    except msgspec.DecodeError:
        raise BadRequest("body", "is not JSON") from None


def _decode(body: bytes) -> LogRequest:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not _HALF_OF_A_PAIR.search(body):
            raise
    return _decoder.decode(_ESCAPE.sub(lambda escape: rb"\ufffd" if escape["half"] else escape[0], body))


def _in_words(problem: str) -> tuple[str, str]:
    """Return the field below the path, if any, and the problem."""
    if missing := _MISSING.fullmatch(problem):
        return missing["field"], "is missing"
    if wrong := _WRONG_TYPE.fullmatch(problem):
        if wrong["got"] == "null":
            return "", "is missing"
        expected = [_TYPES.get(name, name) for name in wrong["expected"].split(" | ") if name != "null"]
        got = _TYPES.get(wrong["got"], wrong["got"])
        text_first = sorted(expected, key=lambda name: name != "text")
        return "", f"expected {' or '.join(text_first)}, got {got}"
    if ours := _TOLD_BY_US.fullmatch(problem):
        return ours["field"], ours["problem"]
    return "", "is out of range" if "out of range" in problem else "is not as expected"
