"""A rehearsed solution in C++, in the same ways good and faulty as far as filters can tell."""

import random
from collections.abc import Mapping, Sequence

from prompts import tagged

# What a filter has to find, by its reason, and about how often.
UNFIT = {
    "no_reasoning": 0.05,
    "no_program": 0.05,
    "syntax_error": 0.05,
    "placeholder_code": 0.05,
}
_PROGRAM = """#include <algorithm>
#include <iostream>
#include <numeric>
#include <vector>

#define ALL(v) (v).begin(), (v).end()

int main() {
    int n;
    std::cin >> n;
    std::vector<long long> numbers(n);
    for (auto& number : numbers) std::cin >> number;
    std::cout << %s << "\\n";
    return 0;
}
"""
_RESULTS = {
    "largest": "*std::max_element(ALL(numbers))",
    "smallest": "*std::min_element(ALL(numbers))",
    "how many": "numbers.size()",
    "": "std::accumulate(ALL(numbers), 0LL)",
}
_EMPTY = "#include <iostream>\n\nint main() {\n    // to be written\n    return 0;\n}\n"


def fault_of(rng: random.Random) -> str:
    """The fault of the solution whose draws these are, or ""; the first draw of all."""
    draw = rng.random()
    for fault, share in UNFIT.items():
        draw -= share
        if draw < 0:
            return fault
    return ""


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasoning between think tags, and a program in a fenced block."""
    fault, problem = fault_of(rng), tagged(messages, "problem").casefold()
    words = next(words for words in _RESULTS if words in problem)
    program = _EMPTY if fault == "placeholder_code" else _PROGRAM % _RESULTS[words]
    if fault == "syntax_error":
        program = program.replace("int n;", "int n").replace("(n);", "(n;")
    thought = "" if fault == "no_reasoning" else "<think>\nOne pass will do.\n</think>\n\n"
    if fault == "no_program":
        return f"{thought}One pass over the numbers is enough, in any language."
    return f"{thought}One pass over the numbers is enough.\n\n```cpp\n{program}```\n"
