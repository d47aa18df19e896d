"""What files of the site are called, and which addresses it links to: both from names that anyone may have chosen."""

import hashlib
import json
import re
from urllib.parse import urlsplit

LONGEST = 60
DOI, ARXIV = re.compile(r"10\.\d{4,9}/[\w.()/:;-]+"), re.compile(r"(?:arxiv:)?(\d{4}\.\d{4,5})(v\d+)?", re.IGNORECASE)


def file_name(*names: str, suffix: str) -> str:
    """A file's name for what has those names: readable, and its own even where two read the same."""
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:10]
    slug = re.sub("[^a-z0-9]+", "-", " ".join(names).lower())[:LONGEST].strip("-")
    return f"{slug}-{digest}{suffix}" if slug else f"{digest}{suffix}"


def anchor(*names: str) -> str:
    """The id of a part of a page."""
    return file_name(*names, suffix="")


def address(source: str) -> str | None:
    """Where a part's `source` leads: an http address, a DOI or an arXiv id; None if it is anything else."""
    source = source.strip()
    if DOI.fullmatch(source):
        return f"https://doi.org/{source}"
    if found := ARXIV.fullmatch(source):
        return f"https://arxiv.org/abs/{found[1]}"
    if not source.isprintable() or re.search(r"[\s\"'<>\\]", source):
        return None
    try:
        parts = urlsplit(source)
    except ValueError:
        return None
    return source if parts.scheme in ("http", "https") and parts.netloc and not parts.username else None
