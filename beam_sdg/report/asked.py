"""What models were asked and what it took, from the lines of the answer store.

The store keeps every answer that was ever paid for in its folder, also those of runs with other
settings: these figures are what was spent, not what the rows alone would have cost.
"""

import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from beam_sdg.publish import Asked
from beam_sdg.report.spread import Spread, spread_of

_MILLION = 1_000_000


@dataclasses.dataclass(frozen=True)
class AskFigures:
    """A stage's requests to one model.

    `failures` are requests given up, by reason; `finish_reasons`, tokens and latency are those of
    answers; `retries` counts attempts after a request's first; `corrections` the turns after the
    first that made accepted rows; a cost is None where no price is known. `cached` and `reasoning`
    are tokens of prompts and of answers, where servers tell them. `charged_in` and `charged_out`
    are tokens that no server told of, by an estimate: of answers without usage, and of attempts
    without an answer in time.
    """

    stage: str
    model: str
    answers: int
    failures: Mapping[str, int]
    finish_reasons: Mapping[str, int]
    retries: int
    corrections: int
    tokens_in: Spread | None
    tokens_out: Spread | None
    latency_s: Spread | None
    cached: int
    reasoning: int
    charged_in: int
    charged_out: int
    price_in: float | None
    price_out: float | None

    @property
    def failed(self) -> int:
        """Requests given up."""
        return sum(self.failures.values())

    @property
    def total_in(self) -> int:
        """Tokens of all prompts that were answered."""
        return round(self.tokens_in.total) if self.tokens_in else 0

    @property
    def total_out(self) -> int:
        """Tokens of all answers."""
        return round(self.tokens_out.total) if self.tokens_out else 0

    @property
    def cost(self) -> float | None:
        """US dollars for all tokens; a price that is not given counts as nothing."""
        if self.price_in is None and self.price_out is None:
            return None
        into, out = self.price_in or 0.0, self.price_out or 0.0
        tokens_in, tokens_out = self.total_in + self.charged_in, self.total_out + self.charged_out
        return (tokens_in * into + tokens_out * out) / _MILLION


class _Ledger:
    """The running figures of one stage and model: 24 bytes an answer."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.finish_reasons: Counter[str] = Counter()
        self.retries = self.cached = self.reasoning = 0
        self.charged_in = self.charged_out = 0
        self.tokens_in, self.tokens_out = array("q"), array("q")
        self.latency_s = array("d")

    def add(self, line: Mapping[str, Any]) -> None:
        self.retries += line.get("attempts", 1) - 1
        charged_in, charged_out = line.get("charged", (0, 0))
        self.charged_in += charged_in
        self.charged_out += charged_out
        if "failure" in line:
            self.failures[line["failure"].get("reason", "")] += 1
            return
        reply = line["reply"]
        self.finish_reasons[reply.get("finish_reason", "")] += 1
        self.tokens_in.append(reply.get("prompt_tokens", 0))
        self.tokens_out.append(reply.get("completion_tokens", 0))
        self.latency_s.append(line.get("latency_s", 0.0))
        self.cached += reply.get("cached_tokens", 0)
        self.reasoning += reply.get("reasoning_tokens", 0)


def gather_asked(
    stage: str,
    lines: Iterable[Mapping[str, Any]],
    asked: Asked | None,
    corrections: Mapping[tuple[str, str], int],
) -> list[AskFigures]:
    """The figures of a stage by model, from its lines in the store; one after the other is read.

    Prices are those of `asked`, for its model alone.
    """
    ledgers: dict[str, _Ledger] = {}
    for line in lines:
        if "reply" in line or "failure" in line:
            ledgers.setdefault(line.get("model", ""), _Ledger()).add(line)
    return [
        _figures(stage, model, ledgers[model], asked, corrections.get((stage, model), 0))
        for model in sorted(ledgers)
    ]


def with_cached_shares(
    asks: Mapping[str, Asked], figures: Iterable[AskFigures]
) -> dict[str, Asked]:
    """What was asked, with the shares of cached tokens by its answers, where they are known.

    Nothing cached is a figure of an engine of ours, which tells; of another server it may be
    silence.
    """
    found = {(one.stage, one.model): one for one in figures}
    told = dict(asks)
    for stage, asked in asks.items():
        of_it = found.get((stage, asked.model))
        if of_it is not None and of_it.total_in and (of_it.cached or asked.served):
            share = round(of_it.cached / of_it.total_in, 4)
            told[stage] = asked.model_copy(update={"cached_share": share})
    return told


def _figures(
    stage: str, model: str, ledger: _Ledger, asked: Asked | None, corrections: int
) -> AskFigures:
    priced = asked if asked is not None and asked.model == model else None
    return AskFigures(
        stage=stage,
        model=model,
        answers=len(ledger.latency_s),
        failures=dict(sorted(ledger.failures.items())),
        finish_reasons=dict(sorted(ledger.finish_reasons.items())),
        retries=ledger.retries,
        corrections=corrections,
        tokens_in=spread_of(ledger.tokens_in),
        tokens_out=spread_of(ledger.tokens_out),
        latency_s=spread_of(ledger.latency_s),
        cached=ledger.cached,
        reasoning=ledger.reasoning,
        charged_in=ledger.charged_in,
        charged_out=ledger.charged_out,
        price_in=priced.price_in if priced else None,
        price_out=priced.price_out if priced else None,
    )
