"""When a walk over a paged list ends, and how many pages it requests at once."""

from collections import OrderedDict
from collections.abc import Iterable
from math import ceil

from dexcmd.wire.envelope import PageInfo

__all__ = ["MAX_PER_PAGE", "RecentKeys", "fit_together", "is_last_page", "pages_to_ask_for"]

MAX_PER_PAGE = 50
"""The service's maximum, and the default: it needs the fewest requests."""


class RecentKeys:
    """Remembers the last `size` keys, so that a walk of any length detects repeated rows in bounded memory."""

    def __init__(self, size: int = 20 * MAX_PER_PAGE) -> None:
        self._size = size
        self._keys: OrderedDict[object, None] = OrderedDict()

    def add(self, key: object) -> bool:
        """Record `key` and tell whether it is new."""
        if key in self._keys:
            self._keys.move_to_end(key)
            return False
        self._keys[key] = None
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return True


def is_last_page(
    *, page: int, rows: int, new_rows: int, stale_pages: int, per_page: int, info: PageInfo | None
) -> bool:
    """Decide whether a walk ends with this page.

    No single sign is trusted.  `total_count` is documented as ignoring the filters, `total_pages` can be wrong or
    missing, a short page may come from a service that lowered `per_page`, and a page without new rows from rows that
    moved.  So a walk ends on an empty page; on the second page in a row without new rows (`stale_pages` counts those
    before this one: services have repeated the last page forever); and on a short page if `result_info` agrees that
    it is the last.  Without `result_info`, one more request is made.
    """
    if rows == 0:
        return True
    if new_rows == 0 and stale_pages > 0:
        return True
    if info is None:
        return False
    told = _told_size(per_page, info)
    if rows >= (told or per_page):
        return False
    if info.total_pages is not None and page >= info.total_pages:
        return True
    # The service may have lowered `per_page`: unless it says so, the size of earlier pages is unknown.
    before = 0 if page == 1 else None if told is None else (page - 1) * told
    return info.total_count is not None and before is not None and before + rows >= info.total_count


def _told_size(per_page: int, info: PageInfo | None) -> int | None:
    """Return the size of a full page according to the service, which may have lowered `per_page`."""
    if info is None or info.per_page is None or info.per_page <= 0:
        return None
    return min(per_page, info.per_page)


def pages_to_ask_for(*, page: int, asked: int, most: int, rows: int, per_page: int, info: PageInfo | None) -> int:
    """Decide how many pages to request at once after `page`, which had `rows` of the `per_page` requested rows.

    Twice as many as the last time (`asked`), so that a walk that is left early has not requested more than it has used;
    at most `most`, and no page beyond the end according to `result_info`.  That end is not trusted (`is_last_page`):
    after it, and after a page that is not full, the walk continues page by page.  It also does so if `total_count`,
    which `fit_together` needs, is missing.
    """
    size = _told_size(per_page, info) or per_page
    if info is None or info.total_count is None or rows < size:
        return 1
    ends = [info.total_pages, ceil(info.total_count / size)]
    last = min(end for end in ends if end is not None)
    return max(1, min(2 * asked, most, last - page))


def fit_together(infos: Iterable[PageInfo | None]) -> bool:
    """Tell whether pages that were requested at once belong to the same state of the list.

    A new row at the top moves all others down.  If pages are requested one after the other, a row then appears on two
    of them.  But if they are requested at once, and a page is served before the page above it, the row that moved from
    the upper to the lower one is on neither.
    """
    return len({None if info is None else info.total_count for info in infos}) <= 1
