"""What a server's headers say."""

import pytest

from transforms.engines.wire import _retry_after_s


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1.5", 1.5), ("-3", 0), ("nan", 0), ("inf", 300), ("-inf", 0), ("", 0), ("soon", 0),
        ("1 Jan 99999999999999999999 00:00:00", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)  # fmt: skip
def test_a_wait_is_bounded_whatever_is_said(said, seconds):
    """From 0 to 300 s."""
    assert _retry_after_s({"Retry-After": said}) == seconds
