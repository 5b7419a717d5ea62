-- What Vault does by itself, written out.
ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}';
