"""Who may do what in the service: the ledger of keys and events, tenants, limits, addresses (docs/security.md).

In order: `ledger` (the service's own tables), `keys` (hashed, with scopes and an expiry), `tenants` (a library each),
`limits` (rates, failed keys, quotas), `binding` (which addresses are listened on, and whose headers are believed).
"""
