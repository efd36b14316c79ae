"""The paths of artifacts below a sink, built from what is known about their commands.  Pure."""

import glob
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import attrs

from dexcmd.errors import UnsafeFilenameError
from dexcmd.safe_text import one_line
from dexcmd.transfer.names import MAX_NAME_BYTES, MAX_PARTS, Parts, cleaned, ids_in, outline, plain, shortened
from dexcmd.validators import SeveralMistakesError, as_text
from dexcmd.wire.paths import artifact_name

__all__ = ["FIELDS", "PlaceTemplate"]

FIELDS = (
    "campaign",
    "account",
    "wave",
    "device_id",
    "device_name",
    "user_email",
    "platform",
    "registration_id",
    "command_id",
    "type",
    "created",
    "filename",
)

UNKNOWN = "unknown"
"""Replaces an unknown value."""

MAX_TEXT_BYTES = 100
"""The most bytes of a name that the template's own text may take: the rest is for the id and the other values."""

ROOM = MAX_NAME_BYTES - 1
"""The most bytes of a name, as a reserved name gets one more character."""

USUAL_TIME = "%Y%m%dT%H%M%SZ"

# Numbers only: other directives depend on system and language, so a second run might not find the first one's files.
_TIME = re.compile(r"(?=.*%)(?:%[YymdHMSjGVu]|[A-Za-z0-9._ -])+")


@attrs.frozen
class _Field:
    name: str
    time_format: str


_Piece = str | _Field


@attrs.frozen
class PlaceTemplate:
    """A path template such as `{account}/{created:%Y-%m-%d}/{user_email}-{command_id}.zip`.  Make one with `parse`.

    A field is one of `FIELDS` in braces; a time may have a format with numeric directives.  The last part contains the
    command's id, so artifacts of different commands never collide, whatever devices and people are called.
    """

    text: str
    _parts: tuple[tuple[_Piece, ...], ...] = attrs.field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "PlaceTemplate":
        """Parse a template.  Raises `ConfigurationError`, which lists all mistakes at once."""
        parts, mistakes = _parsed(unicodedata.normalize("NFC", as_text("a place template", text)))
        if mistakes:
            raise SeveralMistakesError(
                f"{one_line(text)!r} is not a valid place template: {mistake}" for mistake in dict.fromkeys(mistakes)
            )
        return cls(text, parts)

    def place(self, fields: Mapping[str, str | datetime | None]) -> Parts:
        """Return the path for an artifact with these `fields`: safe names, with `unknown` for missing values.

        Times are converted to UTC.  Values too long for a name are shortened, the longest first and never the id.  If
        another id in a value could make the name that of another command, `-` becomes `_` in the values.  Raises
        `UnsafeFilenameError` if there is no id that can appear unchanged in a name, or if `filename` is unusable.
        """
        command_id = fields.get("command_id")
        if isinstance(command_id, str) and command_id and cleaned(command_id) == command_id:
            *above, last = self._parts
            folders = [cleaned("".join(_texts(pieces, fields))) or UNKNOWN for pieces in above]
            name = cleaned(_unambiguous_name(last, _texts(last, fields), command_id))
            if command_id in name:
                return (*folders, name)
        raise UnsafeFilenameError(f"no file name can contain the command id {one_line(str(command_id))!r} unchanged")


def _parsed(text: str) -> tuple[tuple[tuple[_Piece, ...], ...], list[str]]:
    """Return the parts of a template, and the mistakes in it."""
    parts: list[list[_Piece]] = [[]]
    mistakes: list[str] = []
    try:
        for literal, name, time_format, conversion in string.Formatter().parse(text):
            first, *others = literal.split("/")
            parts[-1].append(first)
            parts.extend([other] for other in others)
            if name is not None:
                mistakes += _mistakes_of_field(name, time_format or "", conversion)
                parts[-1].append(_Field(name, time_format or USUAL_TIME))
    except ValueError as error:
        # Raised by Python for unbalanced braces: then it is unknown where the parts end.
        return (), [*mistakes, str(error)]
    found = tuple(tuple(piece for piece in part if piece) for part in parts)
    return found, [*mistakes, *_mistakes_of_parts(found)]


def _mistakes_of_field(name: str, time_format: str, conversion: str | None) -> Iterator[str]:
    if name not in FIELDS:
        yield f"there is no field {name!r}, only {', '.join(FIELDS)}"
        return
    if conversion is not None:
        yield f"{name} can't be converted by !{conversion}"
    if time_format and name != "created":
        yield f"{name} is not a time, so it can't have a format"
    elif time_format and not _TIME.fullmatch(time_format):
        yield (
            f"{time_format!r} is not a valid format: it may have %Y %y %m %d %H %M %S %j %G %V %u, and "
            "ASCII letters, digits, blanks, '.', '_' and '-'"
        )


def _mistakes_of_parts(parts: tuple[tuple[_Piece, ...], ...]) -> Iterator[str]:
    if not parts[0] and parts[1:]:
        yield "it must not begin with '/': places are below a folder"
    if not all(parts[1:] or parts):
        yield "it has an empty part"
    if len(parts) > MAX_PARTS:
        yield f"it has more than {MAX_PARTS} parts"
    for part in filter(None, parts):
        text = "".join(piece for piece in part if isinstance(piece, str))
        if plain(text) != text:
            yield f"{text!r} has characters that file names can't have"
        elif all(isinstance(piece, str) for piece in part) and cleaned(text) != text:
            yield f"{text!r} can't be a file name"
        if len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
            yield f"{text!r} has more than {MAX_TEXT_BYTES} bytes"
    fields = [piece.name for piece in parts[-1] if isinstance(piece, _Field)]
    # An unknown field may be a misspelt `command_id`: then it is not reported as missing, too.
    meant = [name for name in fields if name == "command_id" or name not in FIELDS]
    if parts[-1] and (fields.count("command_id") > 1 or not meant):
        yield "the last part must contain {command_id} exactly once"


def _texts(pieces: Sequence[_Piece], fields: Mapping[str, str | datetime | None]) -> list[str]:
    """Return the text of each piece of a part, shortened to fit into a name."""
    texts = [piece if isinstance(piece, str) else _text(piece, fields.get(piece.name)) for piece in pieces]
    sizes = [len(text.encode()) for text in texts]
    movable = [index for index, piece in enumerate(pieces) if _is_value(piece)]
    room = ROOM - sum(sizes) + sum(sizes[index] for index in movable)
    # From the shortest on, each may take an equal share of the room that is left.
    movable.sort(key=sizes.__getitem__)
    for others, index in zip(range(len(movable), 0, -1), movable, strict=True):
        texts[index] = shortened(texts[index], max(room, 0) // others)
        room -= len(texts[index].encode())
    return texts


def _is_value(piece: _Piece) -> bool:
    return isinstance(piece, _Field) and piece.name != "command_id"


def _unambiguous_name(pieces: Sequence[_Piece], texts: Sequence[str], command_id: str) -> str:
    """Join the texts into a name that the template can't produce for any other id.

    It could if a value contained that id and the rest fitted the template as well.  Without `-` in values that can't
    happen: an id that begins elsewhere has a `-` where this one has a digit, or takes one from the template's text.
    """
    name = "".join(texts)
    [index] = [index for index, piece in enumerate(pieces) if not isinstance(piece, str) and not _is_value(piece)]
    before, after = _pattern(pieces[:index]), _pattern(pieces[index + 1 :])
    told = outline(name)
    for at, found in ids_in(name):
        fits = fnmatchcase(told[:at], before) and fnmatchcase(told[at + len(found) :], after)
        if fits and found != command_id.lower():
            values = zip(pieces, texts, strict=True)
            return "".join(text.replace("-", "_") if _is_value(piece) else text for piece, text in values)
    return name


def _pattern(pieces: Sequence[_Piece]) -> str:
    """Return an `fnmatch` pattern, which is never slow to match, for all texts of some pieces."""
    return "".join(glob.escape(outline(piece)) if isinstance(piece, str) else "*" for piece in pieces)


def _text(field: _Field, value: str | datetime | None) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime(field.time_format)
    if value and field.name == "filename":
        value = artifact_name(value)
    text = plain(value or "").strip() or UNKNOWN
    # A combining mark would change the character before it, perhaps the id's last.
    return f"_{text}" if unicodedata.category(text[0])[0] == "M" else text
