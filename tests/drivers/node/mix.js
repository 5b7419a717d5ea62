// A mix of statements by node-postgres with named queries, each answer checked; ../README.md
// says what the mix is and how it is called. NODE_PATH says where `pg` is.
"use strict";

const { isDeepStrictEqual } = require("node:util");
const { randomBytes, randomInt } = require("node:crypto");
const { Client } = require("pg");

const TABLE = "mix_node";

// What a time zone makes of noon, the first of July 2024, in UTC.
const ZONES = [
    ["UTC", "2024-07-01 12:00:00+00"],
    ["Asia/Tokyo", "2024-07-01 21:00:00+09"],
    ["America/New_York", "2024-07-01 08:00:00-04"],
    ["Asia/Kolkata", "2024-07-01 17:30:00+05:30"],
];

function expect(what, got, expected) {
    if (!isDeepStrictEqual(got, expected)) {
        throw new Error(`${what}: got ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`);
    }
}

class Mix {
    constructor(config, number, settings) {
        this.config = config;
        this.number = number;
        this.settings = settings;
        // int8 comes as text, and is kept as a BigInt here.
        this.own = BigInt(randomInt(1, 2 ** 40));
        this.applicationName = `node-${number}-${randomInt(2 ** 31)}`;
        this.tenant = `tenant-${number}-${randomInt(2 ** 31)}`;
        [this.zone, this.noon] = ZONES[number % ZONES.length];
        this.next = 0n;
        this.count = 0n;
        this.total = 0n;
    }

    async setUp() {
        this.client = await connect(this.config);
        if (this.settings) {
            await this.client.query(`SET application_name = '${this.applicationName}'`);
            await this.client.query(`SET TimeZone = '${this.zone}'`);
            if (this.number % 2 === 0) {
                await this.client.query(`SET app.tenant = '${this.tenant}'`);
            } else {
                await this.client.query("SELECT set_config('app.tenant', $1, false)", [this.tenant]);
            }
        }
    }

    // By name where there is one: parsed at its first use, then only bound.
    async query(name, text, values) {
        return this.client.query({ name, text, values: values.map((v) => (typeof v === "bigint" ? String(v) : v)), rowMode: "array" });
    }

    async row(name, text, ...values) {
        const { rows } = await this.query(name, text, values);
        return rows[0];
    }

    async sameText() {
        const number = BigInt(randomInt(1_000_000));
        const text = `it's ${randomInt(2 ** 31)}`;
        // Now by name, now not.
        const name = randomInt(2) === 0 ? "same_text" : undefined;
        const got = await this.row(name, "SELECT $1::int8 + $2::int8, $3::text || '!'", this.own, number, text);
        expect("same text", got, [String(this.own + number), text + "!"]);
    }

    async manyTexts() {
        const k = randomInt(8) === 0 ? randomInt(150) : randomInt(40);
        if (k % 2 === 0) {
            const got = await this.row(`text_${k}`, `SELECT $1::int8 * ${k} AS v${k}`, this.own);
            expect(`text ${k}`, got, [String(this.own * BigInt(k))]);
        } else {
            const got = await this.row(`text_${k}`, `SELECT $1::text || '-${k}', ${k}::int8`, this.tenant);
            expect(`text ${k}`, got, [`${this.tenant}-${k}`, String(k)]);
        }
    }

    async sums(what, count, total) {
        const sql = `SELECT count(*), coalesce(sum(amount), 0)::int8 FROM ${TABLE} WHERE client = $1`;
        expect(what, await this.row("sums", sql, this.own), [String(count), String(total)]);
    }

    async transaction() {
        this.next += 1n;
        const [amount, more] = [BigInt(randomInt(1000)), BigInt(randomInt(1000))];
        await this.client.query("BEGIN");
        const insert = `INSERT INTO ${TABLE} VALUES ($1, $2, $3, $4) RETURNING id`;
        expect("insert", await this.row("insert", insert, this.own, this.next, amount, this.tenant), [String(this.next)]);
        const update = `UPDATE ${TABLE} SET amount = amount + $3 WHERE client = $1 AND id = $2`;
        expect("update", (await this.query("update", update, [this.own, this.next, more])).rowCount, 1);
        let [count, total] = [this.count + 1n, this.total + amount + more];
        if (count > 20n) {
            const deleted = await this.query("delete", `DELETE FROM ${TABLE} WHERE client = $1`, [this.own]);
            expect("delete", deleted.rowCount, Number(count));
            [count, total] = [0n, 0n];
        }
        await this.sums("in the transaction", count, total);
        if (randomInt(3) === 0) {
            await this.client.query("ROLLBACK");
        } else {
            await this.client.query("COMMIT");
            [this.count, this.total] = [count, total];
        }
        await this.sums("after the transaction", this.count, this.total);
    }

    async types() {
        const values = [
            [randomInt(2 ** 31), -randomInt(2 ** 31), 0],
            ['a "quoted" one', "it's, {with} a \\ backslash", "", null],
            `O'Brien \\ "x" $1 ${randomInt(2 ** 31)}`,
            new Date(randomInt(2 ** 40)),
            randomBytes(randomInt(1, 40)),
            null,
            null,
            true,
        ];
        const sql =
            "SELECT $1::int4[], $2::text[], $3::text, $4::timestamptz, $5::bytea, $6::int4, $7::text, $8::bool";
        expect("types", await this.row("types", sql, ...values), values);
    }

    async failure() {
        const attempt =
            randomInt(2) === 0
                ? this.row("quotient", "SELECT $1::int8 / $2::int8", this.own, 0n)
                : this.client.query("SELECT 1 / 0");
        const code = await attempt.then(
            () => "an answer",
            (error) => error.code ?? String(error),
        );
        expect("division by zero", code, "22012");
        const got = await this.row("quotient", "SELECT $1::int8 / $2::int8", this.own, 1n);
        expect("after an error", got, [String(this.own)]);
    }

    async checkSettings() {
        const got = await this.row(
            "settings",
            "SELECT current_setting('application_name'), current_setting('app.tenant'), " +
                "current_setting('TimeZone'), '2024-07-01 12:00:00+00'::timestamptz::text",
        );
        expect("settings", got, [this.applicationName, this.tenant, this.zone, this.noon]);
    }

    // The same name in every connection, and a text of the connection's own.
    async prepared() {
        const number = BigInt(randomInt(1_000_000));
        const got = await this.row("own", `SELECT $1::int8 + ${this.own}, $2::text`, number, this.tenant);
        expect("prepared", got, [String(number + this.own), this.tenant]);
    }

    async step() {
        const kinds = [
            this.sameText,
            this.sameText,
            this.manyTexts,
            this.manyTexts,
            this.manyTexts,
            this.transaction,
            this.types,
            this.failure,
            this.settings ? this.checkSettings : this.sameText,
            this.prepared,
            this.prepared,
        ];
        await kinds[randomInt(kinds.length)].call(this);
    }
}

async function connect(config) {
    const client = new Client(config);
    await client.connect();
    return client;
}

async function main() {
    const words = process.argv.slice(2);
    const settings = !words.includes("--no-settings");
    const [host, port, database, user, seconds, clients] = words.filter((word) => word !== "--no-settings");
    if (clients === undefined) {
        throw new Error("HOST PORT DATABASE USER SECONDS CLIENTS [--no-settings]");
    }
    const config = { host, port: Number(port), database, user, ssl: false };
    const first = await connect(config);
    await first.query(`DROP TABLE IF EXISTS ${TABLE}`);
    await first.query(
        `CREATE TABLE ${TABLE} (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))`,
    );
    await first.end();
    const end = Date.now() + Number(seconds) * 1000;
    let operations = 0;
    const drive = async (number) => {
        try {
            const mix = new Mix(config, number, settings);
            await mix.setUp();
            while (Date.now() < end) {
                await mix.step();
                operations += 1;
            }
            await mix.client.end();
        } catch (error) {
            throw new Error(`client=${number}: ${error.message}`, { cause: error });
        }
    };
    await Promise.all(Array.from({ length: Number(clients) }, (_, number) => drive(number)));
    console.log(`driver=node-postgres mode=named clients=${clients} operations=${operations} errors=0`);
}

main().catch((error) => {
    console.log(`driver=node-postgres ${error.message}`);
    process.exit(1);
});
