"""What happens to an eventful account on a day of its history: a release breaks a column, and a customer falls."""

from dataclasses import dataclass, replace

from pipelines.simulator.people import customer_of
from pipelines.simulator.templates import Flaw, Template

_DAY = 86400.0
# The number of a large customer's organisation: see people.py.
_FALLING = 17


@dataclass(frozen=True)
class Incident:
    """From `at` (epoch seconds, a midnight UTC) on, sessions of the template or of the organisation go worse.

    `difficulty` multiplies their template's. `flaw` replaces the flaw of the same column and code.
    """

    at: float
    text: str
    difficulty: float
    template_key: str | None = None
    organisation: int | None = None
    flaw: Flaw | None = None

    def concerns(self, template: Template, organisation: int, started_at: float) -> bool:
        """Whether a session that began then is one of those."""
        return started_at >= self.at and (template.key == self.template_key or organisation == self.organisation)

    def worsened(self, template: Template) -> Template:
        """The template as such a session meets it."""
        flaws = template.flaws
        if self.flaw is not None:
            told = (self.flaw.column_key, self.flaw.error_code)
            flaws = (*(flaw for flaw in flaws if (flaw.column_key, flaw.error_code) != told), self.flaw)
        return replace(template, difficulty=template.difficulty * self.difficulty, flaws=flaws)


def incidents_of(now: float, days: float) -> tuple[Incident, ...]:
    """The incidents of an account whose history of `days` ends at `now` (epoch seconds)."""

    def midnight(share: float) -> float:
        return (now - share * days * _DAY) // _DAY * _DAY

    number, name = customer_of(_FALLING)
    return (
        Incident(
            at=midnight(0.3),
            text="Release 4.12 makes departments cost centres",
            difficulty=2.2,
            template_key="employees",
            flaw=Flaw("department", "PICKLIST", 0.95, 0.7),
        ),
        # With a history of ten weeks, this begins with the last 28 days whose sessions have had a week to convert.
        Incident(
            at=midnight(0.5), text=f"{name} ({number}) gives up more often", difficulty=6.0, organisation=_FALLING
        ),
    )
