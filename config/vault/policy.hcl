# All that Leasehold needs with AppRole. The "default" policy, which every token
# has unless it was left out, gives the rest: lookup-self, renew-self,
# revoke-self, and sys/leases/renew.
path "database/creds/app" {
  capabilities = ["read"]
}

# With a token that was given to it (vault.auth.method = "token"), Leasehold may
# not revoke the token, so it revokes lease by lease. Without this rule a
# replaced user lives on, unused, until its lease ends.
#
# path "sys/leases/revoke" {
#   capabilities = ["update"]
# }
