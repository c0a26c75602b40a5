"""conditions.py: dates, entity tags, the order of preconditions, ranges. Values in, values out."""
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from nose2.tools import params

from ownhands.conditions import NEAR, evaluate, names_tag, parse_ranges, range_applies
from ownhands.dates import encode_date, parse_date
from ownhands.fields import Fields

NOW = 1_800_000_000  # 2027
DATE = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
SAME, BEFORE, AFTER = (encode_date(DATE + seconds) for seconds in (0, -1, 1))


class DateTest(unittest.TestCase):
    @params("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994")
    def test_has_three_forms(self, text):
        self.assertEqual(parse_date(text, NOW), DATE)

    @params(
        "", "0", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 0\u0666 Nov 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun Nov  0 08:49:37 1994")
    def test_is_nothing_else(self, text):
        self.assertIsNone(parse_date(text, NOW))

    @params(("76", "2076"), ("77", "2077"), ("78", "1978"))
    def test_of_two_digits_is_not_over_50_years_ahead(self, short, year):
        self.assertEqual(parse_date(f"Sunday, 06-Nov-{short} 00:00:00 GMT", NOW),
                         parse_date(f"Sun, 06 Nov {year} 00:00:00 GMT"))

    def test_may_have_a_leap_second(self):
        self.assertEqual(parse_date("Sat, 31 Dec 2016 23:59:60 GMT"), parse_date("Sat, 31 Dec 2016 23:59:59 GMT"))

    @given(st.integers(0, 253402300799))
    def test_reads_what_is_written(self, moment):
        self.assertEqual(parse_date(encode_date(moment)), moment)

    @given(st.text())
    def test_takes_any_text(self, text):
        parse_date(text)


class TagTest(unittest.TestCase):
    @params('"a"', '"b", "a"', '"b" , ,"a"', ' "a" ', "*", '"b",W/"c","a",')
    def test_is_named(self, value):
        self.assertTrue(names_tag(value, '"a"', is_strong=True))

    @params("", "a", '"A"', '"b"', '"a', '"a" "b"', '"b", a', 'w/"a"', '"aa"', '"a", *')
    def test_is_not_named(self, value):
        self.assertFalse(names_tag(value, '"a"', is_strong=False))

    # RFC 9110 8.8.3.2, its own table: two tags, strong comparison, weak comparison.
    @params(('W/"1"', 'W/"1"', False, True), ('W/"1"', 'W/"2"', False, False), ('W/"1"', '"1"', False, True),
            ('"1"', '"1"', True, True))
    def test_is_compared(self, one, other, strong, weak):
        self.assertEqual((names_tag(one, other, True), names_tag(one, other, False)), (strong, weak))
        self.assertEqual((names_tag(other, one, True), names_tag(other, one, False)), (strong, weak))

    def test_with_a_comma_is_one(self):
        self.assertTrue(names_tag('"a,b"', '"a,b"', is_strong=True))
        self.assertFalse(names_tag('"a,b"', '"a"', is_strong=True))

    def test_nothing_names_what_is_not_there(self):
        self.assertFalse(names_tag("*", None, is_strong=False))


MATCHES, DIFFERS = '"a"', '"b"'
READ = [
    ({}, None),
    ({"If-Match": MATCHES}, None),
    ({"If-Match": DIFFERS}, 412),
    ({"If-Match": 'W/"a"'}, 412),
    ({"If-Match": "*"}, None),
    ({"If-Unmodified-Since": SAME}, None),
    ({"If-Unmodified-Since": AFTER}, None),
    ({"If-Unmodified-Since": BEFORE}, 412),
    ({"If-Unmodified-Since": "yesterday"}, None),
    ({"If-Match": MATCHES, "If-Unmodified-Since": BEFORE}, None),
    ({"If-Match": DIFFERS, "If-Unmodified-Since": AFTER}, 412),
    ({"If-None-Match": MATCHES}, 304),
    ({"If-None-Match": 'W/"a"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": DIFFERS}, None),
    ({"If-Modified-Since": SAME}, 304),
    ({"If-Modified-Since": AFTER}, 304),
    ({"If-Modified-Since": BEFORE}, None),
    ({"If-Modified-Since": "yesterday"}, None),
    ({"If-None-Match": DIFFERS, "If-Modified-Since": AFTER}, None),
    ({"If-None-Match": MATCHES, "If-Modified-Since": BEFORE}, 304),
    ({"If-Match": DIFFERS, "If-None-Match": MATCHES}, 412),
    ({"If-Match": MATCHES, "If-None-Match": MATCHES}, 304),
    ({"If-Unmodified-Since": BEFORE, "If-Modified-Since": SAME}, 412),
]


class ConditionTest(unittest.TestCase):
    @params(*READ)
    def test_precedence(self, fields, status):
        self.assertEqual(evaluate("GET", fields, '"a"', DATE), status)
        self.assertEqual(evaluate("HEAD", fields, '"a"', DATE), status)

    @params(({"If-None-Match": MATCHES}, 412), ({"If-None-Match": "*"}, 412), ({"If-Modified-Since": SAME}, None),
            ({"If-Match": DIFFERS}, 412), ({"If-Unmodified-Since": BEFORE}, 412))
    def test_of_other_methods(self, fields, status):
        self.assertEqual(evaluate("PUT", fields, '"a"', DATE), status)

    @params(({"If-Match": "*"}, 412), ({"If-None-Match": "*"}, None), ({"If-Modified-Since": SAME}, None))
    def test_on_what_does_not_exist(self, fields, status):
        self.assertEqual(evaluate("PUT", fields, None, None), status)

    def test_dates_in_two_lines_are_no_date(self):
        fields = Fields([("If-Modified-Since", SAME), ("If-Modified-Since", SAME)])
        self.assertIsNone(evaluate("GET", fields, '"a"', DATE))

    @params((None, True), ('"a"', True), ('"b"', False), ('W/"a"', False), (SAME, True), (BEFORE, False),
            (AFTER, False), ("", False), ("a", False))
    def test_if_range(self, value, applies):
        self.assertEqual(range_applies(value, '"a"', DATE, NOW), applies)

    def test_if_range_with_a_weak_tag_never_applies(self):
        self.assertFalse(range_applies('W/"a"', 'W/"a"', DATE, NOW))

    def test_if_range_with_a_date_never_applies_to_what_has_none(self):
        self.assertFalse(range_applies("Thu, 01 Jan 1970 00:00:00 GMT", '"a"', None, NOW))

    @params((DATE + 0.9, False), (DATE + 1, True))
    def test_if_range_with_a_date_of_this_second_does_not_apply(self, now, applies):
        self.assertEqual(range_applies(SAME, '"a"', DATE, now), applies)


class RangeTest(unittest.TestCase):
    @params(("bytes=0-499", [(0, 500)]), ("bytes=500-", [(500, 1000)]), ("bytes=-500", [(500, 1000)]),
            ("bytes=0-0", [(0, 1)]), ("bytes=999-", [(999, 1000)]), ("bytes=0-9999", [(0, 1000)]),
            ("bytes=-9999", [(0, 1000)]), ("Bytes = 0-1", [(0, 2)]), ("bytes= 0-1 ,", [(0, 2)]),
            ("bytes=00000000000000000000001-2", [(1, 3)]), ("bytes=0-" + "9" * 5000, [(0, 1000)]),
            ("bytes=-" + "9" * 5000, [(0, 1000)]))
    def test_one(self, value, ranges):
        self.assertEqual(parse_ranges(value, 1000), ranges)

    @params("", "bytes", "bytes=", "bytes=-", "bytes=,", "bytes=1", "bytes=a-b", "bytes=2-1", "bytes=0-1,2-1",
            "bytes=0-1;2-3", "octets=0-1", "bytes=0--1", "bytes=+1-2", "bytes=0x1-2", "bytes=1-2-3", "bytes=1 - 2",
            "bytes=\u0661-2", "bytes=2-1,5000-")
    def test_what_is_none_is_ignored(self, value):
        self.assertIsNone(parse_ranges(value, 1000))

    @params("bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-,6000-", "bytes=" + "9" * 5000 + "-")
    def test_what_cannot_be_satisfied(self, value):
        self.assertEqual(parse_ranges(value, 1000), [])

    def test_what_cannot_be_satisfied_beside_what_can_is_left_out(self):
        self.assertEqual(parse_ranges("bytes=5000-,0-1", 1000), [(0, 2)])

    @params(("bytes=0-", []), ("bytes=0-5", []), ("bytes=-0", []), ("bytes=-5", None), ("bytes=0-5,-5", None))
    def test_of_nothing(self, value, ranges):
        self.assertEqual(parse_ranges(value, 0), ranges)

    @params(
        ("bytes=0-9,500-509", [(0, 10), (500, 510)]),
        ("bytes=500-509,0-9", [(500, 510), (0, 10)]),
        ("bytes=0-9,5-19", [(0, 20)]),
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=0-9,50-59", [(0, 60)]),
        (f"bytes=0-9,{10 + NEAR}-200", [(0, 201)]),
        (f"bytes=0-9,{11 + NEAR}-200", [(0, 10), (11 + NEAR, 201)]),
        ("bytes=500-509,900-909,0-9,505-905", [(500, 910), (0, 10)]),
        ("bytes=0-,0-,0-,0-", [(0, 1000)]),
        ("bytes=-1,-2,-3", [(997, 1000)]))
    def test_several(self, value, ranges):
        self.assertEqual(parse_ranges(value, 1000), ranges)

    @params((32, True), (33, False))
    def test_too_many_are_refused(self, count, is_served):
        value = "bytes=" + ",".join(f"{1000 * each}-{1000 * each}" for each in range(count))
        self.assertEqual(bool(parse_ranges(value, 1 << 20)), is_served)

    @params("bytes=" + "0-1," * 65, "bytes=" + "2-1," * 65, "bytes=0-1" + "," * 65)
    def test_too_many_are_refused_unseen(self, value):
        with mock.patch("ownhands.conditions._limits") as limits:
            self.assertEqual(parse_ranges(value, 1000), [])
        limits.assert_not_called()

    def test_too_many_of_another_unit_are_ignored(self):
        self.assertIsNone(parse_ranges("seconds=" + "0-1," * 33, 1000))

    @given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000)), min_size=1, max_size=20))
    def test_any_set_is_covered_and_apart(self, pairs):
        wanted = [(min(pair), max(pair)) for pair in pairs]
        ranges = parse_ranges("bytes=" + ",".join(f"{first}-{last}" for first, last in wanted), 1000)
        octets = {octet for first, end in ranges for octet in range(first, end)}
        self.assertTrue({octet for first, last in wanted for octet in range(first, min(last + 1, 1000))} <= octets)
        in_order = sorted(ranges)
        self.assertTrue(all(one[1] + NEAR < other[0] for one, other in zip(in_order, in_order[1:], strict=False)))
        self.assertTrue(all(0 <= first < end <= 1000 for first, end in ranges))

    @given(st.text(), st.integers(0, 10))
    def test_takes_any_text(self, text, size):
        parse_ranges(text, size)
