"""Inflates a request's body as its Content-Encoding says, up to a limit, before it is read as JSON."""

import gzip
import zlib
from io import BytesIO

_GZIP_MAGIC = b"\x1f\x8b"
# No honest sender compresses a body more often than this.
_MOST_CODINGS = 2
_BOM = b"\xef\xbb\xbf"


class BodyTooLargeError(Exception):
    """The body has more bytes than the limit once it is inflated."""


class CannotInflateError(Exception):
    """The body is not what its Content-Encoding says. The message says what is wrong, and quotes none of the body."""


def inflate(body: bytes, content_encoding: bytes | None, limit: int) -> bytes:
    """The body before it was compressed. Knows gzip and deflate, by the header or by gzip's first bytes.

    A body that is plain JSON in spite of its header is taken as it is, because some proxies unpack it and leave the
    header. Raises BodyTooLargeError as soon as there are more than `limit` bytes, and CannotInflateError.
    """
    if content_encoding is None and not body.startswith(_GZIP_MAGIC):
        return body
    codings = [coding.strip().lower() for coding in (content_encoding or b"").split(b",")]
    codings = [coding for coding in codings if coding not in (b"", b"identity")]
    if not codings and body.startswith(_GZIP_MAGIC):
        codings = [b"gzip"]
    if codings and body.removeprefix(_BOM).lstrip()[:1] in (b"{", b"["):
        return body
    if len(codings) > _MOST_CODINGS:
        raise CannotInflateError("more than two content encodings")
    for coding in reversed(codings):
        if coding in (b"gzip", b"x-gzip"):
            body = _gunzip(body, limit)
        elif coding == b"deflate":
            body = _undeflate(body, limit)
        else:
            raise CannotInflateError("a content encoding other than gzip and deflate")
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=BytesIO(body)) as file:
            content = file.read(limit + 1)
    except EOFError:
        raise CannotInflateError("gzip that ends early") from None
    except (OSError, zlib.error):
        raise CannotInflateError("not gzip, as its content encoding says") from None
    return _within(content, limit)


def _undeflate(body: bytes, limit: int) -> bytes:
    """By `deflate` RFC 9110 means zlib's format, but some senders mean the bare stream."""
    for window_bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        inflating = zlib.decompressobj(window_bits)
        try:
            content = _within(inflating.decompress(body, limit + 1), limit)
        except zlib.error:
            continue
        if inflating.eof:
            return content
    raise CannotInflateError("not deflate, as its content encoding says, or cut")


def _within(content: bytes, limit: int) -> bytes:
    if len(content) > limit:
        raise BodyTooLargeError
    return content
