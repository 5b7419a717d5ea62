-- The database's side, run once by a superuser in the application's database:
--
--   psql -d app -v vault_password=… -f database.sql
--
-- PostgreSQL 13 and newer.

\set ON_ERROR_STOP on

-- The group role: owns what the application creates, and holds every right that it needs.
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') AS missing \gset
\if :missing
CREATE ROLE app NOLOGIN;
\endif

-- Vault's own user (or that of Leasehold's local source). It makes logins and
-- lets them into the group role, and is no superuser.
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vault') AS missing \gset
\if :missing
CREATE ROLE vault LOGIN CREATEROLE;
\endif
ALTER ROLE vault PASSWORD :'vault_password';

-- PostgreSQL 16 and newer ask for ADMIN OPTION even of a CREATEROLE user. There it need
-- neither inherit the group's rights nor become it; before 16 it cannot be said.
SELECT current_setting('server_version_num')::int >= 160000 AS modern \gset
\if :modern
GRANT app TO vault WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
\else
GRANT app TO vault WITH ADMIN OPTION;
\endif

GRANT USAGE, CREATE ON SCHEMA public TO app;
