"""A mix of statements by asyncpg with its default settings, each answer checked; see ../README.md."""

import asyncio
import os
import random
import sys
import time

import asyncpg

from mix import SETTINGS, Arguments, Own, Wrong, expect, some_values, which_text

TABLE = "mix_asyncpg"


class Client:
    def __init__(self, arguments, number):
        self.mine = Own("asyncpg", number)
        self.arguments = arguments

    async def set_up(self):
        mine = self.mine
        self.connection = await connect(self.arguments)
        if self.arguments.settings:
            await self.connection.execute(f"SET application_name = '{mine.application_name}'")
            await self.connection.execute(f"SET TimeZone = '{mine.zone}'")
            if mine.number % 2 == 0:
                await self.connection.execute(f"SET app.tenant = '{mine.tenant}'")
            else:
                await self.connection.fetchval("SELECT set_config('app.tenant', $1, false)", mine.tenant)
        self.own_statement = await self.connection.prepare(f"SELECT $1::int8 + {mine.own}, $2::text")

    async def row(self, sql, *values):
        return tuple(await self.connection.fetchrow(sql, *values))

    async def same_text(self):
        number, text = random.randrange(1_000_000), f"it's {random.randrange(1 << 31)}"
        got = await self.row("SELECT $1::int8 + $2::int8, $3::text || '!'", self.mine.own, number, text)
        expect("same text", got, (self.mine.own + number, text + "!"))

    async def many_texts(self):
        k = which_text()
        if k % 2 == 0:
            got = await self.row(f"SELECT $1::int8 * {k} AS v{k}", self.mine.own)
            expect(f"text {k}", got, (self.mine.own * k,))
        else:
            got = await self.row(f"SELECT $1::text || '-{k}', {k}::int8", self.mine.tenant)
            expect(f"text {k}", got, (f"{self.mine.tenant}-{k}", k))

    async def sums(self, what, count, total):
        got = await self.row(
            f"SELECT count(*), coalesce(sum(amount), 0)::int8 FROM {TABLE} WHERE client = $1", self.mine.own
        )
        expect(what, got, (count, total))

    async def transaction(self):
        mine = self.mine
        mine.next += 1
        amount, more = random.randrange(1000), random.randrange(1000)
        transaction = self.connection.transaction()
        await transaction.start()
        insert = f"INSERT INTO {TABLE} VALUES ($1, $2, $3, $4) RETURNING id"
        expect("insert", await self.row(insert, mine.own, mine.next, amount, mine.tenant), (mine.next,))
        update = f"UPDATE {TABLE} SET amount = amount + $3 WHERE client = $1 AND id = $2"
        expect("update", await self.connection.execute(update, mine.own, mine.next, more), "UPDATE 1")
        count, total = mine.count + 1, mine.total + amount + more
        if count > 20:
            deleted = await self.connection.execute(f"DELETE FROM {TABLE} WHERE client = $1", mine.own)
            expect("delete", deleted, f"DELETE {count}")
            count = total = 0
        await self.sums("in the transaction", count, total)
        if random.randrange(3) == 0:
            await transaction.rollback()
        else:
            await transaction.commit()
            mine.count, mine.total = count, total
        await self.sums("after the transaction", mine.count, mine.total)

    async def batch(self):
        """Many rows in one round trip, read by a cursor in pieces."""
        mine = self.mine
        numbers = [random.randrange(1000) for _ in range(5)]
        transaction = self.connection.transaction()
        await transaction.start()
        await self.connection.executemany(
            f"INSERT INTO {TABLE} VALUES ($1, $2, $3, $4)",
            [(mine.own, -1 - at, number, "batch") for at, number in enumerate(numbers)],
        )
        select = f"SELECT amount FROM {TABLE} WHERE client = $1 AND id < 0 ORDER BY id DESC"
        got = [row["amount"] async for row in self.connection.cursor(select, mine.own, prefetch=2)]
        expect("batch", got, numbers)
        await transaction.rollback()

    async def types(self):
        values = some_values()
        got = await self.row(
            "SELECT $1::int4[], $2::text[], $3::text, $4::timestamptz, $5::bytea, $6::int4, $7::text, $8::bool", *values
        )
        expect("types", got, values)

    async def failure(self):
        try:
            if random.randrange(2) == 0:
                await self.row("SELECT $1::int8 / $2::int8", self.mine.own, 0)
            else:
                await self.connection.execute("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError:
            pass
        else:
            raise Wrong("division by zero: got an answer, expected 22012")
        expect("after an error", await self.row("SELECT $1::int8 / $2::int8", self.mine.own, 1), (self.mine.own,))

    async def check_settings(self):
        expect("settings", await self.row(SETTINGS), self.mine.settings())

    async def prepared(self):
        number = random.randrange(1_000_000)
        got = tuple(await self.own_statement.fetchrow(number, self.mine.tenant))
        expect("prepared", got, (number + self.mine.own, self.mine.tenant))

    async def step(self):
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
        await random.choice(kinds)()


async def connect(arguments):
    return await asyncpg.connect(
        host=arguments.host,
        port=arguments.port,
        database=arguments.database,
        user=arguments.user,
        ssl=False,
    )


async def main():
    arguments = Arguments()
    connection = await connect(arguments)
    await connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
    await connection.execute(
        f"CREATE TABLE {TABLE} (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))"
    )
    await connection.close()
    end = time.monotonic() + arguments.seconds

    async def drive(number):
        operations = 0
        try:
            client = Client(arguments, number)
            await client.set_up()
            while time.monotonic() < end:
                await client.step()
                operations += 1
            await client.connection.close()
        except BaseException as error:
            print(f"driver=asyncpg client={number}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        return operations

    operations = await asyncio.gather(*[drive(number) for number in range(arguments.clients)])
    print(f"driver=asyncpg mode=default clients={arguments.clients} operations={sum(operations)} errors=0")


sys.exit(asyncio.run(main()))
