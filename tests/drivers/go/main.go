// A mix of statements by pgx in one of its five exec modes, each answer checked; ../README.md
// says what the mix is and how it is called.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var modes = map[string]pgx.QueryExecMode{
	"cache_statement": pgx.QueryExecModeCacheStatement,
	"cache_describe":  pgx.QueryExecModeCacheDescribe,
	"describe_exec":   pgx.QueryExecModeDescribeExec,
	"exec":            pgx.QueryExecModeExec,
	"simple_protocol": pgx.QueryExecModeSimpleProtocol,
}

// What a time zone makes of noon, the first of July 2024, in UTC.
var zones = []struct{ name, noon string }{
	{"UTC", "2024-07-01 12:00:00+00"},
	{"Asia/Tokyo", "2024-07-01 21:00:00+09"},
	{"America/New_York", "2024-07-01 08:00:00-04"},
	{"Asia/Kolkata", "2024-07-01 17:30:00+05:30"},
}

const table = "mix_pgx"

type client struct {
	conn     *pgx.Conn
	number   int
	own      int64
	settings bool
	zone     struct{ name, noon string }
	appName  string
	tenant   string
	next     int64
	count    int64
	total    int64
}

// Stops at the first wrong answer.
func expect(what string, got, expected any) error {
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		return fmt.Errorf("%s: got %v, expected %v", what, got, expected)
	}
	return nil
}

func (c *client) setUp(ctx context.Context) error {
	if c.settings {
		for _, sql := range []string{
			"SET application_name = '" + c.appName + "'",
			"SET TimeZone = '" + c.zone.name + "'",
		} {
			if _, err := c.conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		if c.number%2 == 0 {
			if _, err := c.conn.Exec(ctx, "SET app.tenant = '"+c.tenant+"'"); err != nil {
				return fmt.Errorf("SET app.tenant: %w", err)
			}
		} else {
			var set string
			if err := c.conn.QueryRow(ctx, "SELECT set_config('app.tenant', $1, false)", c.tenant).Scan(&set); err != nil {
				return fmt.Errorf("set_config: %w", err)
			}
		}
	}
	// The same name in every connection, as a pool of an application would have it; the text is the connection's own.
	sql := fmt.Sprintf("SELECT $1::int8 + %d, $2::text", c.own)
	if _, err := c.conn.Prepare(ctx, "own_statement", sql); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

func (c *client) sameText(ctx context.Context, r *rand.Rand) error {
	a, b := r.Int63n(1_000_000), fmt.Sprintf("it's %d", r.Int31())
	var sum int64
	var text string
	err := c.conn.QueryRow(ctx, "SELECT $1::int8 + $2::int8, $3::text || '!'", c.own, a, b).Scan(&sum, &text)
	if err != nil {
		return fmt.Errorf("same text: %w", err)
	}
	return errors.Join(expect("same text", sum, c.own+a), expect("same text", text, b+"!"))
}

func (c *client) manyTexts(ctx context.Context, r *rand.Rand) error {
	k := r.Int63n(40)
	if r.Intn(8) == 0 {
		k = r.Int63n(150)
	}
	what := fmt.Sprintf("text %d", k)
	if k%2 == 0 {
		var product int64
		err := c.conn.QueryRow(ctx, fmt.Sprintf("SELECT $1::int8 * %d AS v%d", k, k), c.own).Scan(&product)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return expect(what, product, c.own*k)
	}
	var text string
	var number int64
	err := c.conn.QueryRow(ctx, fmt.Sprintf("SELECT $1::text || '-%d', %d::int8", k, k), c.tenant).Scan(&text, &number)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return errors.Join(expect(what, text, fmt.Sprintf("%s-%d", c.tenant, k)), expect(what, number, k))
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (c *client) sums(ctx context.Context, q querier, what string, count, total int64) error {
	var n, sum int64
	err := q.QueryRow(ctx, "SELECT count(*), coalesce(sum(amount), 0)::int8 FROM "+table+" WHERE client = $1", c.own).Scan(&n, &sum)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return errors.Join(expect(what+", rows", n, count), expect(what+", sum", sum, total))
}

func (c *client) transaction(ctx context.Context, r *rand.Rand) error {
	tx, err := c.conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	c.next++
	amount, more := r.Int63n(1000), r.Int63n(1000)
	count, total := c.count, c.total
	var id int64
	err = tx.QueryRow(ctx, "INSERT INTO "+table+" VALUES ($1, $2, $3, $4) RETURNING id", c.own, c.next, amount, c.tenant).Scan(&id)
	if err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	if err := expect("insert", id, c.next); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, "UPDATE "+table+" SET amount = amount + $3 WHERE client = $1 AND id = $2", c.own, c.next, more)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if err := expect("update", tag.RowsAffected(), 1); err != nil {
		return err
	}
	count, total = count+1, total+amount+more
	if count > 20 {
		tag, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE client = $1", c.own)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if err := expect("delete", tag.RowsAffected(), count); err != nil {
			return err
		}
		count, total = 0, 0
	}
	if err := c.sums(ctx, tx, "in the transaction", count, total); err != nil {
		return err
	}
	if r.Intn(3) == 0 {
		err = tx.Rollback(ctx)
	} else {
		c.count, c.total = count, total
		err = tx.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("end of the transaction: %w", err)
	}
	return c.sums(ctx, c.conn, "after the transaction", c.count, c.total)
}

// Several statements in one round trip.
func (c *client) batch(ctx context.Context, r *rand.Rand) error {
	batch := &pgx.Batch{}
	a := r.Int63n(1_000_000)
	batch.Queue("SELECT $1::int8 - $2::int8", c.own, a)
	batch.Queue("SELECT $1::text", c.tenant)
	batch.Queue("SELECT $1::int8 - $2::int8", a, c.own)
	results := c.conn.SendBatch(ctx, batch)
	var first, last int64
	var text string
	err := errors.Join(results.QueryRow().Scan(&first), results.QueryRow().Scan(&text), results.QueryRow().Scan(&last), results.Close())
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	return errors.Join(expect("batch", first, c.own-a), expect("batch", text, c.tenant), expect("batch", last, a-c.own))
}

func (c *client) types(ctx context.Context, r *rand.Rand) error {
	numbers := []int32{r.Int31(), -r.Int31(), 0}
	texts := []string{`a "quoted" one`, `it's, {with} a \ backslash`, ""}
	text := `O'Brien \ "x" $1 ` + strconv.Itoa(r.Int())
	at := time.Unix(r.Int63n(2_000_000_000), r.Int63n(1_000_000)*1000)
	raw := make([]byte, 1+r.Intn(40))
	r.Read(raw)
	var gotNumbers []int32
	var gotTexts []string
	var gotText, unknown *string
	var gotAt *time.Time
	var gotRaw []byte
	var gotNull *int32
	var gotBool bool
	err := c.conn.QueryRow(ctx,
		"SELECT $1::int4[], $2::text[], $3::text, $4::timestamptz, $5::bytea, $6::int4, $7::text, $8::bool",
		numbers, texts, text, at, raw, (*int32)(nil), (*string)(nil), true,
	).Scan(&gotNumbers, &gotTexts, &gotText, &gotAt, &gotRaw, &gotNull, &unknown, &gotBool)
	if err != nil {
		return fmt.Errorf("types: %w", err)
	}
	if !slices.Equal(gotNumbers, numbers) || !slices.Equal(gotTexts, texts) || gotText == nil || *gotText != text ||
		gotAt == nil || !gotAt.Equal(at) || !bytes.Equal(gotRaw, raw) || gotNull != nil || unknown != nil || !gotBool {
		return fmt.Errorf("types: got %v %q %v %v %x %v %v, expected %v %q %q %v %x and two nulls",
			gotNumbers, gotTexts, gotText, gotAt, gotRaw, gotNull, unknown, numbers, texts, text, at, raw)
	}
	return nil
}

func (c *client) failure(ctx context.Context, r *rand.Rand) error {
	var quotient int64
	var err error
	if r.Intn(2) == 0 {
		err = c.conn.QueryRow(ctx, "SELECT $1::int8 / $2::int8", c.own, 0).Scan(&quotient)
	} else {
		_, err = c.conn.Exec(ctx, "SELECT 1 / 0")
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "22012" {
		return fmt.Errorf("division by zero: got %v, expected 22012", err)
	}
	if err := c.conn.QueryRow(ctx, "SELECT $1::int8 / $2::int8", c.own, 1).Scan(&quotient); err != nil {
		return fmt.Errorf("after an error: %w", err)
	}
	return expect("after an error", quotient, c.own)
}

func (c *client) checkSettings(ctx context.Context) error {
	var name, tenant, zone, noon string
	err := c.conn.QueryRow(ctx, `SELECT current_setting('application_name'), current_setting('app.tenant'),
		current_setting('TimeZone'), '2024-07-01 12:00:00+00'::timestamptz::text`).Scan(&name, &tenant, &zone, &noon)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return errors.Join(expect("application_name", name, c.appName), expect("app.tenant", tenant, c.tenant),
		expect("TimeZone", zone, c.zone.name), expect("noon", noon, c.zone.noon))
}

func (c *client) prepared(ctx context.Context, r *rand.Rand) error {
	a := r.Int63n(1_000_000)
	var sum int64
	var text string
	if err := c.conn.QueryRow(ctx, "own_statement", a, c.tenant).Scan(&sum, &text); err != nil {
		return fmt.Errorf("prepared: %w", err)
	}
	return errors.Join(expect("prepared", sum, a+c.own), expect("prepared", text, c.tenant))
}

func (c *client) step(ctx context.Context, r *rand.Rand) error {
	switch kind := r.Intn(12); {
	case kind < 2:
		return c.sameText(ctx, r)
	case kind < 5:
		return c.manyTexts(ctx, r)
	case kind < 6:
		return c.transaction(ctx, r)
	case kind < 7:
		return c.batch(ctx, r)
	case kind < 8:
		return c.types(ctx, r)
	case kind < 9:
		return c.failure(ctx, r)
	case kind < 10 && c.settings:
		return c.checkSettings(ctx)
	default:
		return c.prepared(ctx, r)
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(args []string) error {
	settings := !slices.Contains(args, "--no-settings")
	args = slices.DeleteFunc(args, func(arg string) bool { return arg == "--no-settings" })
	if len(args) != 7 {
		return errors.New("HOST PORT DATABASE USER SECONDS CLIENTS MODE [--no-settings]")
	}
	mode, known := modes[args[6]]
	seconds, err := strconv.Atoi(args[4])
	clients, err2 := strconv.Atoi(args[5])
	if !known || err != nil || err2 != nil {
		return fmt.Errorf("not understood: %v", args)
	}
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s dbname=%s user=%s sslmode=disable", args[0], args[1], args[2], args[3]))
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = mode
	ctx := context.Background()
	first, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer first.Close(ctx)
	for _, sql := range []string{
		"DROP TABLE IF EXISTS " + table,
		"CREATE TABLE " + table + " (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))",
	} {
		if _, err := first.Exec(ctx, sql); err != nil {
			return err
		}
	}

	end := time.Now().Add(time.Duration(seconds) * time.Second)
	var operations atomic.Int64
	failed := make(chan error, clients)
	var group sync.WaitGroup
	for number := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := drive(ctx, config.Copy(), number, settings, end, &operations); err != nil {
				failed <- fmt.Errorf("driver=pgx mode=%s client=%d: %w", args[6], number, err)
			}
		}()
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case err := <-failed:
		return err
	case <-done:
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	fmt.Printf("driver=pgx mode=%s clients=%d operations=%d errors=0\n", args[6], clients, operations.Load())
	return nil
}

func drive(ctx context.Context, config *pgx.ConnConfig, number int, settings bool, end time.Time, operations *atomic.Int64) error {
	r := rand.New(rand.NewSource(rand.Int63()))
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	c := &client{
		conn: conn, number: number, own: 1 + r.Int63n(1<<40), settings: settings, zone: zones[number%len(zones)],
		appName: fmt.Sprintf("pgx-%d-%d", number, r.Int31()), tenant: fmt.Sprintf("tenant-%d-%d", number, r.Int31()),
	}
	if err := c.setUp(ctx); err != nil {
		return err
	}
	for time.Now().Before(end) {
		if err := c.step(ctx, r); err != nil {
			return err
		}
		operations.Add(1)
	}
	return nil
}
