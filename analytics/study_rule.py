"""The closed grammar of a cohort's inclusion rule. It is not SQL and calls nothing.

    rule       = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation   = "not" negation | "(" rule ")" | comparison
    comparison = variable operator literal
    operator   = "==" | "!=" | "<" | "<=" | ">" | ">="

A literal is a plain decimal for numbers and durations, a quoted level for categories, 0 or 1 for events.
Categories and events know == and != only.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.study_variables import Category, Event, Variable
from analytics.table import Table

_TOKEN = re.compile(
    r"""\s*(?:(?P<operator>==|!=|<=|>=|<|>)|(?P<bracket>[()])|(?P<number>-?[0-9]{1,15}(?:\.[0-9]{1,15})?)(?![\w.])
    |(?P<text>"[^"\n]*"|'[^'\n]*')|(?P<word>[a-z][a-z0-9_]*))""",
    re.VERBOSE,
)
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MAX_LENGTH, _MAX_DEPTH = 2000, 20

Evaluator = Callable[[Table], NDArray[np.bool_]]


class RuleError(ValueError):
    """The rule does not follow the grammar, or names what the study does not declare."""


@dataclass(frozen=True)
class Rule:
    """A parsed rule; ``evaluate`` gives the rows to keep."""

    text: str
    _evaluate: Evaluator

    def evaluate(self, table: Table) -> NDArray[np.bool_]:
        """bool[n]: which rows of ``table`` are included."""
        return self._evaluate(table)


def parse(text: str, variables: Mapping[str, Variable]) -> Rule:
    """The rule over the study's declared variables.

    Raises:
        RuleError: says where and what was expected.
    """
    if len(text) > _MAX_LENGTH:
        raise RuleError(f"a rule has at most {_MAX_LENGTH} characters")
    parser = _Parser(_tokens(text), variables)
    evaluate = parser.rule(0)
    if parser.peek()[0] != "end":
        raise RuleError(f"expected the end of the rule, found {parser.peek()[1]}")
    return Rule(text, evaluate)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise RuleError(f"cannot read the rule at character {at + 1}")
        kind = str(match.lastgroup)
        word = match.group(kind)
        tokens.append(("keyword" if word in ("and", "or", "not") else kind, word))
        at = match.end()
    return [*tokens, ("end", "the end")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], variables: Mapping[str, Variable]) -> None:
        self._tokens, self._at, self._variables = tokens, 0, variables

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _take(self, expected: str, *kinds: str) -> tuple[str, str]:
        token = self.peek()
        if token[0] not in kinds:
            raise RuleError(f"expected {expected}, found {token[1]}")
        self._at += 1
        return token

    def _accept(self, word: str) -> bool:
        if self.peek()[1] != word or self.peek()[0] not in ("keyword", "bracket"):
            return False
        self._at += 1
        return True

    def rule(self, depth: int) -> Evaluator:
        if depth > _MAX_DEPTH:
            raise RuleError(f"brackets and not may nest {_MAX_DEPTH} deep")
        parts = [self._conjunction(depth)]
        while self._accept("or"):
            parts.append(self._conjunction(depth))
        return _joined(parts, np.logical_or)

    def _conjunction(self, depth: int) -> Evaluator:
        parts = [self._negation(depth)]
        while self._accept("and"):
            parts.append(self._negation(depth))
        return _joined(parts, np.logical_and)

    def _negation(self, depth: int) -> Evaluator:
        if depth > _MAX_DEPTH:
            raise RuleError(f"brackets and not may nest {_MAX_DEPTH} deep")
        if self._accept("not"):
            inner = self._negation(depth + 1)
            return lambda table: np.logical_not(inner(table))
        if self._accept("("):
            inner = self.rule(depth + 1)
            if not self._accept(")"):
                raise RuleError(f"expected ), found {self.peek()[1]}")
            return inner
        return self._comparison()

    def _comparison(self) -> Evaluator:
        name = self._take("a variable", "word")[1]
        variable = self._variables.get(name)
        if variable is None:
            raise RuleError(f"{name} is not a variable of this study")
        sign = self._take("a comparison such as >=", "operator")[1]
        literal = self._take("a number or a quoted level", "number", "text")
        return _compare(name, variable, sign, literal)


def _joined(parts: list[Evaluator], join: Callable[[Any, Any], Any]) -> Evaluator:
    if len(parts) == 1:
        return parts[0]

    def evaluate(table: Table) -> NDArray[np.bool_]:
        kept = parts[0](table)
        for part in parts[1:]:
            kept = join(kept, part(table))
        return kept

    return evaluate


def _compare(name: str, variable: Variable, sign: str, literal: tuple[str, str]) -> Evaluator:
    kind, word = literal
    test = _OPERATORS[sign]
    if isinstance(variable, Category | Event):
        if sign not in ("==", "!="):
            raise RuleError(f"{name} is of kind {variable.kind} and knows == and != only")
        code = _code(name, variable, kind, word)
        return lambda table: np.asarray(test(table.code(name), code), dtype=np.bool_)
    if kind != "number":
        raise RuleError(f"{name} is compared with a number, not with {word}")
    value = float(word)
    return lambda table: np.asarray(test(table.number(name), value), dtype=np.bool_)


def _code(name: str, variable: Category | Event, kind: str, word: str) -> int:
    if isinstance(variable, Event):
        if word not in ("0", "1"):
            raise RuleError(f"{name} is an event and is compared with 0 or 1")
        return int(word)
    if kind != "text" or word[1:-1] not in variable.levels:
        raise RuleError(f"{name} is compared with one of its levels in quotes, not with {word}")
    return variable.levels.index(word[1:-1])
