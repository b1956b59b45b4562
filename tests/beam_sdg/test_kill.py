"""The benchmark of kills in a reduced size: nothing sent twice but what was in flight."""

from benchmarks.kill import ASKS, disturbed, named


def test_kills_anywhere_change_no_byte_and_cost_what_was_in_flight(tmp_path):
    """In each ask, at a segment's roll, while the dataset is made aside, and with data in place."""
    every = {point.name: point for point in reversed(named([]))}  # the first of each name
    points = [every[name] for name in (*ASKS[:2], "roll", *ASKS[2:], "aside", "manifest")]
    *asking, aside, manifest = disturbed(tmp_path, points, records=40, in_flight=4)
    assert all(kill.sent_again <= kill.in_flight <= 4 for kill in asking)
    assert aside.in_flight == aside.sent_again == 0
    assert manifest.in_flight == manifest.sent_again == 0
    stored = [kill.stored for kill in (*asking, aside)]
    assert stored == sorted(stored)
    assert 0 < stored[0] < stored[-1] >= 160
