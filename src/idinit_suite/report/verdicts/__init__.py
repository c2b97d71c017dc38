"""Verdicts on claims of the paper, from the runs of one scale.

Adding a claim is writing one function, registered in `CLAIMS`, that gets the variants' numbers and returns a `Finding`: an
outcome, its evidence in one sentence, and the number that a card of the report shows. Variants are meant by name:
``kaiming`` is the variant of that name, on the experiment's network without BatchNorm. What the outcomes mean is in
`idinit_suite.report.outcomes`, the tests of differences in `idinit_suite.statistics.significance`. Each rule is simulated
in the tests with methods that are all equal: it must not find a difference in more than one of twenty such experiments.
"""

from importlib import import_module

from .judge import decide, judge
from .rules import CLAIMS

__all__ = ["CLAIMS", "decide", "judge"]

for _family in ("training", "speed", "accuracy"):
    import_module(f".{_family}", __name__)
