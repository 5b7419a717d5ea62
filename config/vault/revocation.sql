-- Vault's own revocation first takes back what a user was granted on each table,
-- which only a superuser or the tables' owner may. Here nothing is granted to the user, and
-- nothing belongs to it (Leasehold sends role = "app" at login), so it can simply go.
DROP ROLE IF EXISTS "{{name}}";
