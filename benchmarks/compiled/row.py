"""What a contestant offers for a row."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """Calls that return when their result is complete.

    ``call() -> (value, derivatives)`` is what is timed, ``own()`` the function alone (None where it was not written), and
    ``alike(derivatives)`` gives them in the order of diffsim's, to be compared, where they are in another.
    """

    call: Any
    own: Any = None
    alike: Any = None


def row(rows):
    """A decorator that registers ``build(data) -> Row`` under the names of rows."""
    def named(*names):
        def register(build):
            rows.update(dict.fromkeys(names, build))
            return build
        return register
    return named
