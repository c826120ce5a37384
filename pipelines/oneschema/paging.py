"""Reads how a server announces the next page of a list (a Link header, or a cursor beside the array) and its total.

The vendor documents neither. A plain array without a header announces nothing; then the caller has to use offsets.
"""

import re
from dataclasses import dataclass, replace

import httpx

from pipelines.oneschema.json_text import Json

# Public APIs put the next page and the total into objects with these names beside the array.
_BESIDE = ("paging", "pagination", "page_info", "pageInfo", "meta", "links", "_links", "cursors")
_TOTALS = ("total", "total_count", "totalCount")
# A server whose pages never end must not be followed forever.
ANNOUNCED_LIMIT = 10_000

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class PageRequest:
    """A page to request: by its place in the list, or at the address that the server announced."""

    offset: int
    count: int
    url: str | None = None


@dataclass(frozen=True)
class Page:
    """One answer of a list. `problem` says why the next page that the server announced cannot be requested."""

    items: list[Json]
    next_url: str | None = None
    total: int | None = None
    problem: str | None = None
    # The server refuses offset and count, so no later offset can be requested.
    is_unpaged: bool = False


class AnnouncedWalk:
    """A walk over the pages that the server announces. Request `url`, pass the page to `update_state`, and repeat."""

    def __init__(self) -> None:
        self.has_next_page = True
        self.url: str | None = None
        self.items: list[Json] = []
        self.total: int | None = None
        self.problem: str | None = None
        self._trail = Trail()

    def update_state(self, page: Page) -> None:
        self.items += page.items
        self.total = page.total if self.total is None else self.total
        self.url, self.problem = self._trail.next_of(page)
        self.has_next_page = self.url is not None


class Trail:
    """The announced addresses that were followed. None is followed twice, and their number is bounded."""

    def __init__(self) -> None:
        self._followed: set[str] = set()

    def next_of(self, page: Page) -> tuple[str | None, str | None]:
        """The next address to request, or None; and why an announced address is not followed, or None."""
        url = page.next_url
        if url is None:
            return None, page.problem
        if url in self._followed:
            return None, "names a next page that was already requested"
        if len(self._followed) >= ANNOUNCED_LIMIT:
            return None, f"did not end within {ANNOUNCED_LIMIT} pages"
        self._followed.add(url)
        return url, None


def shortfall(total: int | None, came: int) -> str | None:
    """The problem if the server's total is more than what came, else None."""
    if total is None or total <= came:
        return None
    return f"says that there are {total}, and {came} came (a total may count deleted ones)"


def announced_link(response: httpx.Response) -> str | None:
    """The address in `Link: <...>; rel="next"`."""
    return response.links.get("next", {}).get("url")


def read_page(answer: Json, response: httpx.Response) -> Page | None:
    """The page in a decoded answer. None if the answer is neither an array nor an object with one array in it."""
    asked = response.request.url
    page = Page([], announced_link(response), _whole_number(response.headers.get("X-Total-Count")))
    if isinstance(answer, list):
        page = replace(page, items=answer)
    elif isinstance(answer, dict):
        arrays = [value for value in answer.values() if isinstance(value, list)]
        if len(arrays) != 1:
            return None
        page = replace(
            page,
            items=arrays[0],
            next_url=page.next_url or _announced_in_body(answer, asked),
            total=_total_in_body(answer) if page.total is None else page.total,
        )
    else:
        return None
    return _on_the_same_server(page, asked)


def _on_the_same_server(page: Page, asked: httpx.URL) -> Page:
    if page.next_url is None:
        return page
    try:
        url = asked.join(page.next_url)
    except httpx.InvalidURL:
        return replace(page, next_url=None, problem="names a next page whose address cannot be read")
    if (url.scheme, url.host, url.port, url.userinfo) != (asked.scheme, asked.host, asked.port, asked.userinfo):
        # The key must not go to another server, and another server's answer is not the vendor's data.
        return replace(page, next_url=None, problem="names a next page at another server, which is not followed")
    if url == asked:
        return replace(page, next_url=None, problem="names itself as its next page")
    return replace(page, next_url=str(url))


def _with_those_beside(answer: dict[str, Json]) -> list[dict[str, Json]]:
    return [answer, *(fields for name in _BESIDE if isinstance(fields := answer.get(name), dict))]


def _announced_in_body(answer: dict[str, Json], asked: httpx.URL) -> str | None:
    """The announced address. For a cursor, it is the requested address with the cursor in place of an offset.

    The parameter is named like the field, without `next`: `next_cursor` is sent as `cursor`, and so is a bare `next`.
    """
    if answer.get("has_more") is False or answer.get("hasMore") is False:
        return None
    for fields in _with_those_beside(answer):
        for name, value in fields.items():
            words = _WORD_BOUNDARY.sub("_", name).lower()
            if not (words == "cursor" or words.split("_")[0] == "next"):
                continue
            if isinstance(value, dict):
                value = value.get("href")
            if type(value) is int:
                value = str(value)
            if not isinstance(value, str) or not value:
                continue
            if value.startswith(("/", "?", "http://", "https://")):
                return value
            parameter = words.removeprefix("next").strip("_")
            parameter = "cursor" if parameter in ("", "url", "link") else parameter
            return str(asked.copy_remove_param("offset").copy_set_param(parameter, value))
    return None


def _total_in_body(answer: dict[str, Json]) -> int | None:
    for fields in _with_those_beside(answer):
        for name in _TOTALS:
            if (total := _whole_number(fields.get(name))) is not None:
                return total
    return None


def _whole_number(value: Json) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**63 else None
