-- One user: a login with an end, and everything it may do by way of the group role.
-- IN ROLE instead of GRANT: concurrent GRANTs on the same tables fail and bloat the catalog.
CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app;
