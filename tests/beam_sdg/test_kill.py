"""The benchmark of kills in a reduced size: nothing sent twice but what was in flight."""

from benchmarks.kill import disturbed, named


def test_kills_anywhere_change_no_byte_and_cost_what_was_in_flight(tmp_path):
    """At a segment's roll, while the dataset is made aside, and when data are in place."""
    points = named(["roll", "aside", "manifest"])
    roll, aside, manifest = disturbed(tmp_path, points, records=40, in_flight=4)
    assert aside.in_flight == aside.sent_again == 0
    assert roll.sent_again <= roll.in_flight <= 4
    assert manifest.in_flight == manifest.sent_again == 0
    assert manifest.stored > roll.stored >= 80
