"""How a vendor may spell a secret that it echoes."""

from base64 import b64encode
from urllib.parse import quote


def spelled(secret: str) -> set[str]:
    """A secret as it is, percent-encoded once and twice over, with JSON's escapes, and the letters that base64 of it
    has wherever it stands: `found_in` looks for them."""
    content = secret.encode()
    encoded = [b64encode(b"?" * before + content + b"???").decode() for before in range(3)]
    whole = [text[(0, 2, 3)[before] : (before + len(content)) * 4 // 3] for before, text in enumerate(encoded)]
    url = {text.replace("+", "-").replace("/", "_") for text in whole}
    percent = "".join(f"%{ord(character):02X}" for character in secret)
    quoted = {quote(secret, safe=""), percent, percent.lower(), quote(quote(secret, safe=""), safe=""), quote(percent)}
    return {secret, *quoted, "".join(f"u{ord(character):04x}" for character in secret), *whole, *url}


def found_in(text: str, spellings: set[str]) -> set[str]:
    """Those of `spelled` that a text has, however often JSON of it was put into JSON."""
    bare = text.replace("\\", "")
    return {spelling for spelling in spellings if spelling in bare}
