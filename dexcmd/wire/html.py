"""The human-readable message of an error page: its title, or else its text."""

from dexcmd.safe_text import one_line

__all__ = ["plain_text"]

MAX_READ = 65536

_UNREAD = ("script", "style")


def plain_text(body: bytes) -> str:
    """Return the title of an HTML page, or else the start of its text, in one line of at most 200 characters.

    One pass from tag to tag, in linear time for any content, as it runs on the event loop.
    """
    title: list[str] = []
    text: list[str] = []
    inside = ""
    start, *tags = body[:MAX_READ].decode("utf-8", "replace").split("<")
    text.append(start)
    for tag in tags:
        head, closed, after = tag.partition(">")
        name = head.partition(" ")[0].strip().lower()
        if name.startswith("/") and name[1:] == inside:
            inside = ""
        elif not inside and name in ("title", *_UNREAD):
            inside = name
        if inside not in _UNREAD:
            # Without a closing ">", this is not a tag but text that contains a "<".
            (title if inside == "title" else text).append(after if closed else f"<{tag}")
    return one_line(" ".join(title)) or one_line(" ".join(text))
