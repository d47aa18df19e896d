"""What `verify` has to say: findings, each of them one line that names a file and a place, and notes beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something that is not as an honest, finished run leaves it."""

    check: str
    """Which check: "chain", "seal", "signature", "suite", "plan", "environment", "targets", "predictions", "scores",
    "refits", "weights", "trials", "budget" or "record"."""
    where: str
    """File, line, task/contender, role and seed: as near as can be said."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Report:
    """All that one verification found."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader should know and nobody need answer for."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many "trials", "refits", "records", "scores" and so on were checked."""
    seal: str | None = None
    """The SHA-256 of seal.json."""
    plan: str | None = None
    """The hash of the plan that the run began with."""
    signer: str | None = None
    """The fingerprint of the key whose signature holds."""

    @property
    def clean(self) -> bool:
        return not self.findings

    def add(self, findings: Iterable[Finding]) -> None:
        self.findings += findings

    def json(self) -> dict[str, Any]:
        found = [{"check": f.check, "where": f.where, "what": f.what} for f in self.findings]
        facts = {"counts": self.counts, "seal": self.seal, "plan": self.plan, "signer": self.signer}
        return {"clean": self.clean, "findings": found, "notes": self.notes, **facts}


def altered(check: str, where: str, pairs: Iterable[tuple[str, Any, Any]], *, against: str) -> Iterator[Finding]:
    """A finding for each (name, stored, due) whose two sides differ; `against` says where the second one stands."""
    for name, stored, due in pairs:
        if stored != due:
            yield Finding(check, where, f"{name} is {short(stored)}, but {short(due)} by {against}")


def short(value: object) -> str:
    """A value within a sentence."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
