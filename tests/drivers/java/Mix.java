import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A mix of statements by pgjdbc, its prepareThreshold the default or 1, each answer checked; ../README.md says what the
 * mix is and how it is called.
 */
public final class Mix {
    private static final String TABLE = "mix_pgjdbc";

    /** What a time zone makes of noon, the first of July 2024, in UTC. */
    private static final String[][] ZONES = {
        {"UTC", "2024-07-01 12:00:00+00"},
        {"Asia/Tokyo", "2024-07-01 21:00:00+09"},
        {"America/New_York", "2024-07-01 08:00:00-04"},
        {"Asia/Kolkata", "2024-07-01 17:30:00+05:30"},
    };

    private final Random random = new Random();
    private final Connection connection;
    private final boolean settings;
    private final long own = 1 + random.nextLong(1L << 40);
    private final String applicationName;
    private final String tenant;
    private final String zone;
    private final String noon;
    private final PreparedStatement ownStatement;
    private long next;
    private long count;
    private long total;

    private static final class Wrong extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Wrong(String what, Object got, Object expected) {
            super(what + ": got " + got + ", expected " + expected);
        }
    }

    private static void expect(String what, Object got, Object expected) {
        if (!Objects.deepEquals(got, expected)) {
            throw new Wrong(what, shown(got), shown(expected));
        }
    }

    private static String shown(Object value) {
        return value instanceof Object[] array ? Arrays.deepToString(array) : String.valueOf(value);
    }

    private Mix(Connection connection, int number, boolean settings) throws SQLException {
        this.connection = connection;
        this.settings = settings;
        applicationName = "pgjdbc-" + number + "-" + random.nextInt(Integer.MAX_VALUE);
        tenant = "tenant-" + number + "-" + random.nextInt(Integer.MAX_VALUE);
        zone = ZONES[number % ZONES.length][0];
        noon = ZONES[number % ZONES.length][1];
        if (settings) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("SET application_name = '" + applicationName + "'");
                statement.execute("SET TimeZone = '" + zone + "'");
                if (number % 2 == 0) {
                    statement.execute("SET app.tenant = '" + tenant + "'");
                }
            }
            if (number % 2 != 0) {
                row("SELECT set_config('app.tenant', ?, false)", 1, tenant);
            }
        }
        // Kept for the connection's life: a server-side statement once the threshold is reached.
        ownStatement = connection.prepareStatement("SELECT ?::int8 + " + own + ", ?::text");
    }

    private Object[] row(String sql, int columns, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            return row(statement, columns, values);
        }
    }

    private Object[] row(PreparedStatement statement, int columns, Object... values) throws SQLException {
        bind(statement, values);
        try (ResultSet result = statement.executeQuery()) {
            if (!result.next()) {
                throw new Wrong("rows", "none", "one");
            }
            Object[] row = new Object[columns];
            for (int at = 0; at < columns; at++) {
                row[at] = result.getObject(at + 1);
            }
            return row;
        }
    }

    private int update(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            bind(statement, values);
            return statement.executeUpdate();
        }
    }

    private static void bind(PreparedStatement statement, Object... values) throws SQLException {
        for (int at = 0; at < values.length; at++) {
            statement.setObject(at + 1, values[at]);
        }
    }

    private void sameText() throws SQLException {
        long number = random.nextInt(1_000_000);
        String text = "it's " + random.nextInt();
        Object[] got = row("SELECT ?::int8 + ?::int8, ?::text || '!'", 2, own, number, text);
        expect("same text", got, new Object[] {own + number, text + "!"});
    }

    private void manyTexts() throws SQLException {
        int k = random.nextInt(8) == 0 ? random.nextInt(150) : random.nextInt(40);
        if (k % 2 == 0) {
            expect("text " + k, row("SELECT ?::int8 * " + k + " AS v" + k, 1, own), new Object[] {own * k});
        } else {
            Object[] got = row("SELECT ?::text || '-" + k + "', " + k + "::int8", 2, tenant);
            expect("text " + k, got, new Object[] {tenant + "-" + k, (long) k});
        }
    }

    private void sums(String what, long count, long total) throws SQLException {
        String sql = "SELECT count(*), coalesce(sum(amount), 0)::int8 FROM " + TABLE + " WHERE client = ?";
        expect(what, row(sql, 2, own), new Object[] {count, total});
    }

    private void transaction() throws SQLException {
        next++;
        long amount = random.nextInt(1000);
        long more = random.nextInt(1000);
        connection.setAutoCommit(false);
        Object[] inserted = row("INSERT INTO " + TABLE + " VALUES (?, ?, ?, ?) RETURNING id", 1, own, next, amount, tenant);
        expect("insert", inserted, new Object[] {next});
        int updated = update("UPDATE " + TABLE + " SET amount = amount + ? WHERE client = ? AND id = ?", more, own, next);
        expect("update", updated, 1);
        long rows = count + 1;
        long sum = total + amount + more;
        if (rows > 20) {
            expect("delete", (long) update("DELETE FROM " + TABLE + " WHERE client = ?", own), rows);
            rows = 0;
            sum = 0;
        }
        sums("in the transaction", rows, sum);
        if (random.nextInt(3) == 0) {
            connection.rollback();
        } else {
            connection.commit();
            count = rows;
            total = sum;
        }
        connection.setAutoCommit(true);
        sums("after the transaction", count, total);
    }

    /** Many rows in one round trip, and read back in pieces through a portal. */
    private void batch() throws SQLException {
        List<Long> numbers = new ArrayList<>();
        connection.setAutoCommit(false);
        String insert = "INSERT INTO " + TABLE + " VALUES (?, ?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(insert)) {
            for (long at = 1; at <= 5; at++) {
                long number = random.nextInt(1000);
                numbers.add(number);
                bind(statement, own, -at, number, "batch");
                statement.addBatch();
            }
            expect("batch, counts", Arrays.toString(statement.executeBatch()), "[1, 1, 1, 1, 1]");
        }
        List<Long> got = new ArrayList<>();
        String select = "SELECT amount FROM " + TABLE + " WHERE client = ? AND id < 0 ORDER BY id DESC";
        try (PreparedStatement statement = connection.prepareStatement(select)) {
            statement.setFetchSize(2);
            statement.setLong(1, own);
            try (ResultSet result = statement.executeQuery()) {
                while (result.next()) {
                    got.add(result.getLong(1));
                }
            }
        }
        expect("batch", got, numbers);
        connection.rollback();
        connection.setAutoCommit(true);
    }

    private void types() throws SQLException {
        Integer[] numbers = {random.nextInt(), 0, null};
        String[] texts = {"a \"quoted\" one", "it's, {with} a \\ backslash", "", null};
        String text = "O'Brien \\ \"x\" $1 " + random.nextInt();
        OffsetDateTime at = Instant.ofEpochSecond(random.nextInt(2_000_000_000), random.nextInt(1_000_000) * 1000L)
                .atOffset(ZoneOffset.UTC);
        byte[] raw = new byte[1 + random.nextInt(40)];
        random.nextBytes(raw);
        String sql = "SELECT ?::int4[], ?::text[], ?::text, ?::timestamptz, ?::bytea, ?::int4, ?::text, ?::bool";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setArray(1, connection.createArrayOf("int4", numbers));
            statement.setArray(2, connection.createArrayOf("text", texts));
            statement.setString(3, text);
            statement.setObject(4, at);
            statement.setBytes(5, raw);
            statement.setNull(6, Types.INTEGER);
            statement.setNull(7, Types.VARCHAR);
            statement.setBoolean(8, true);
            try (ResultSet result = statement.executeQuery()) {
                expect("types, rows", result.next(), true);
                expect("types, numbers", result.getArray(1).getArray(), numbers);
                expect("types, texts", result.getArray(2).getArray(), texts);
                expect("types, text", result.getString(3), text);
                expect("types, time", result.getObject(4, OffsetDateTime.class).toInstant(), at.toInstant());
                expect("types, bytes", result.getBytes(5), raw);
                expect("types, null", result.getObject(6), null);
                expect("types, null text", result.getString(7), null);
                expect("types, bool", result.getBoolean(8), true);
            }
        }
    }

    private void failure() throws SQLException {
        try {
            if (random.nextBoolean()) {
                row("SELECT ?::int8 / ?::int8", 1, own, 0L);
            } else {
                try (Statement statement = connection.createStatement()) {
                    statement.execute("SELECT 1 / 0");
                }
            }
            throw new Wrong("division by zero", "an answer", "22012");
        } catch (SQLException error) {
            if (!"22012".equals(error.getSQLState())) {
                throw error;
            }
        }
        expect("after an error", row("SELECT ?::int8 / ?::int8", 1, own, 1L), new Object[] {own});
    }

    private void checkSettings() throws SQLException {
        String sql = "SELECT current_setting('application_name'), current_setting('app.tenant'),"
                + " current_setting('TimeZone'), '2024-07-01 12:00:00+00'::timestamptz::text";
        expect("settings", row(sql, 4), new Object[] {applicationName, tenant, zone, noon});
    }

    private void prepared() throws SQLException {
        long number = random.nextInt(1_000_000);
        expect("prepared", row(ownStatement, 2, number, tenant), new Object[] {number + own, tenant});
    }

    private void step() throws SQLException {
        switch (random.nextInt(12)) {
            case 0, 1 -> sameText();
            case 2, 3, 4 -> manyTexts();
            case 5 -> transaction();
            case 6 -> batch();
            case 7 -> types();
            case 8 -> failure();
            case 9 -> {
                if (settings) {
                    checkSettings();
                } else {
                    sameText();
                }
            }
            default -> prepared();
        }
    }

    public static void main(String[] arguments) throws Exception {
        List<String> words = new ArrayList<>(List.of(arguments));
        boolean settings = !words.remove("--no-settings");
        if (words.size() != 7 || !List.of("default", "threshold_1").contains(words.get(6))) {
            System.out.println("HOST PORT DATABASE USER SECONDS CLIENTS default|threshold_1 [--no-settings]");
            System.exit(1);
        }
        String mode = words.get(6);
        String url = "jdbc:postgresql://" + words.get(0) + ":" + words.get(1) + "/" + words.get(2);
        Properties properties = new Properties();
        properties.setProperty("user", words.get(3));
        properties.setProperty("sslmode", "disable");
        if (mode.equals("threshold_1")) {
            properties.setProperty("prepareThreshold", "1");
        }
        int clients = Integer.parseInt(words.get(5));
        try (Connection first = DriverManager.getConnection(url, properties);
                Statement statement = first.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS " + TABLE);
            statement.execute("CREATE TABLE " + TABLE
                    + " (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))");
        }
        long end = System.nanoTime() + Long.parseLong(words.get(4)) * 1_000_000_000L;
        AtomicLong operations = new AtomicLong();
        List<Thread> threads = new ArrayList<>();
        for (int client = 0; client < clients; client++) {
            int number = client;
            Thread thread = new Thread(() -> {
                try (Connection connection = DriverManager.getConnection(url, properties)) {
                    Mix mix = new Mix(connection, number, settings);
                    while (System.nanoTime() < end) {
                        mix.step();
                        operations.incrementAndGet();
                    }
                } catch (Throwable error) {
                    // The first one ends the program; the others wait here for that.
                    synchronized (Mix.class) {
                        System.out.println("driver=pgjdbc mode=" + mode + " client=" + number + ": " + error);
                        System.out.flush();
                        Runtime.getRuntime().halt(1);
                    }
                }
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println(
                "driver=pgjdbc mode=" + mode + " clients=" + clients + " operations=" + operations + " errors=0");
    }
}
