"""What the programs of psycopg and asyncpg have in common; ../README.md says what the mix is."""

import datetime
import random
import sys

# What a time zone makes of noon, the first of July 2024, in UTC.
ZONES = [
    ("UTC", "2024-07-01 12:00:00+00"),
    ("Asia/Tokyo", "2024-07-01 21:00:00+09"),
    ("America/New_York", "2024-07-01 08:00:00-04"),
    ("Asia/Kolkata", "2024-07-01 17:30:00+05:30"),
]

SETTINGS = (
    "SELECT current_setting('application_name'), current_setting('app.tenant'), "
    "current_setting('TimeZone'), '2024-07-01 12:00:00+00'::timestamptz::text"
)


class Wrong(Exception):
    """An answer that is not the one expected."""


def same_zone(value):
    """A moment of the hour that summer time repeats equals none of another zone (PEP 495)."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc)
    return tuple(map(same_zone, value)) if isinstance(value, tuple) else value


def expect(what, got, expected):
    if same_zone(got) != same_zone(expected):
        raise Wrong(f"{what}: got {got!r}, expected {expected!r}")


class Arguments:
    def __init__(self):
        arguments = sys.argv[1:]
        self.settings = "--no-settings" not in arguments
        arguments = [argument for argument in arguments if argument != "--no-settings"]
        if len(arguments) != 6:
            sys.exit("HOST PORT DATABASE USER SECONDS CLIENTS [--no-settings]")
        self.host, port, self.database, self.user, seconds, clients = arguments
        self.port, self.seconds, self.clients = int(port), float(seconds), int(clients)


class Own:
    """What one connection alone has, and what its rows in the table must be."""

    def __init__(self, driver, number):
        self.number = number
        self.own = random.randrange(1, 1 << 40)
        self.application_name = f"{driver}-{number}-{random.randrange(1 << 31)}"
        self.tenant = f"tenant-{number}-{random.randrange(1 << 31)}"
        self.zone, self.noon = ZONES[number % len(ZONES)]
        self.next = self.count = self.total = 0

    def settings(self):
        return (self.application_name, self.tenant, self.zone, self.noon)


def which_text():
    return random.randrange(150) if random.randrange(8) == 0 else random.randrange(40)


def some_values():
    """An array of numbers and one of texts, a text, a time, bytes, two nulls, a bool."""
    return (
        [random.randrange(1 << 31), -random.randrange(1 << 31), 0],
        ['a "quoted" one', r"it's, {with} a \ backslash", "", None],
        f"O'Brien \\ \"x\" $1 %s {random.randrange(1 << 31)}",
        datetime.datetime.fromtimestamp(random.randrange(2_000_000_000), datetime.timezone.utc)
        + datetime.timedelta(microseconds=random.randrange(1_000_000)),
        random.randbytes(random.randrange(1, 40)),
        None,
        None,
        True,
    )
