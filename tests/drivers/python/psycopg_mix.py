"""A mix of statements by psycopg 3 with its default settings, each answer checked; see ../README.md."""

import os
import random
import sys
import threading
import time

import psycopg

from mix import SETTINGS, Arguments, Own, Wrong, expect, some_values, which_text

TABLE = "mix_psycopg"


class Client:
    def __init__(self, arguments, number):
        self.mine = Own("psycopg", number)
        self.arguments = arguments
        self.connection = connect(arguments)
        if arguments.settings:
            mine = self.mine
            self.connection.execute(f"SET application_name = '{mine.application_name}'")
            self.connection.execute(f"SET TimeZone = '{mine.zone}'")
            if number % 2 == 0:
                self.connection.execute(f"SET app.tenant = '{mine.tenant}'")
            else:
                self.connection.execute("SELECT set_config('app.tenant', %s, false)", [mine.tenant])

    def row(self, sql, *values, **options):
        return self.connection.execute(sql, values, **options).fetchone()

    def same_text(self):
        number, text = random.randrange(1_000_000), f"it's {random.randrange(1 << 31)}"
        got = self.row("SELECT %s::int8 + %s::int8, %s::text || '!'", self.mine.own, number, text)
        expect("same text", got, (self.mine.own + number, text + "!"))

    def many_texts(self):
        k = which_text()
        if k % 2 == 0:
            expect(f"text {k}", self.row(f"SELECT %s::int8 * {k} AS v{k}", self.mine.own), (self.mine.own * k,))
        else:
            got = self.row(f"SELECT %s::text || '-{k}', {k}::int8", self.mine.tenant)
            expect(f"text {k}", got, (f"{self.mine.tenant}-{k}", k))

    def sums(self, what, count, total):
        got = self.row(f"SELECT count(*), coalesce(sum(amount), 0)::int8 FROM {TABLE} WHERE client = %s", self.mine.own)
        expect(what, got, (count, total))

    def transaction(self):
        mine = self.mine
        mine.next += 1
        amount, more = random.randrange(1000), random.randrange(1000)
        keep = random.randrange(3) != 0
        with self.connection.transaction(force_rollback=not keep):
            insert = f"INSERT INTO {TABLE} VALUES (%s, %s, %s, %s) RETURNING id"
            expect("insert", self.row(insert, mine.own, mine.next, amount, mine.tenant), (mine.next,))
            update = f"UPDATE {TABLE} SET amount = amount + %s WHERE client = %s AND id = %s"
            expect("update", self.connection.execute(update, [more, mine.own, mine.next]).rowcount, 1)
            count, total = mine.count + 1, mine.total + amount + more
            if count > 20:
                deleted = self.connection.execute(f"DELETE FROM {TABLE} WHERE client = %s", [mine.own]).rowcount
                expect("delete", deleted, count)
                count = total = 0
            self.sums("in the transaction", count, total)
        if keep:
            mine.count, mine.total = count, total
        self.sums("after the transaction", mine.count, mine.total)

    def batch(self):
        number = random.randrange(1_000_000)
        with self.connection.pipeline():
            first = self.connection.execute("SELECT %s::int8 - %s::int8", [self.mine.own, number])
            text = self.connection.execute("SELECT %s::text", [self.mine.tenant])
            last = self.connection.execute("SELECT %s::int8 - %s::int8", [number, self.mine.own])
        got = (first.fetchone(), text.fetchone(), last.fetchone())
        expect("batch", got, ((self.mine.own - number,), (self.mine.tenant,), (number - self.mine.own,)))

    def types(self):
        values = some_values()
        got = self.row(
            "SELECT %s::int4[], %s::text[], %s::text, %s::timestamptz, %s::bytea, %s::int4, %s::text, %s::bool", *values
        )
        expect("types", got, values)

    def failure(self):
        try:
            if random.randrange(2) == 0:
                self.row("SELECT %s::int8 / %s::int8", self.mine.own, 0)
            else:
                self.connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
        else:
            raise Wrong("division by zero: got an answer, expected 22012")
        expect("after an error", self.row("SELECT %s::int8 / %s::int8", self.mine.own, 1), (self.mine.own,))

    def check_settings(self):
        expect("settings", self.row(SETTINGS), self.mine.settings())

    def prepared(self):
        number = random.randrange(1_000_000)
        got = self.row(f"SELECT %s::int8 + {self.mine.own}, %s::text", number, self.mine.tenant, prepare=True)
        expect("prepared", got, (number + self.mine.own, self.mine.tenant))

    def step(self):
        kinds = [
            *[self.same_text] * 2,
            *[self.many_texts] * 3,
            self.transaction,
            self.batch,
            self.types,
            self.failure,
            self.check_settings if self.arguments.settings else self.same_text,
            *[self.prepared] * 2,
        ]
        random.choice(kinds)()


def connect(arguments):
    return psycopg.connect(
        host=arguments.host,
        port=arguments.port,
        dbname=arguments.database,
        user=arguments.user,
        sslmode="disable",
        autocommit=True,
    )


def main():
    arguments = Arguments()
    with connect(arguments) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        connection.execute(
            f"CREATE TABLE {TABLE} (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))"
        )
    end = time.monotonic() + arguments.seconds
    operations = [0] * arguments.clients
    failure = threading.Lock()

    def drive(number):
        try:
            client = Client(arguments, number)
            while time.monotonic() < end:
                client.step()
                operations[number] += 1
            client.connection.close()
        except BaseException as error:
            # The first one ends the program; the others wait here for that.
            with failure:
                print(f"driver=psycopg client={number}: {type(error).__name__}: {error}", flush=True)
                os._exit(1)

    threads = [threading.Thread(target=drive, args=[number]) for number in range(arguments.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"driver=psycopg mode=default clients={arguments.clients} operations={sum(operations)} errors=0")


sys.exit(main())
