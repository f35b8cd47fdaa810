#!/bin/bash
# Run once by the PostgreSQL image when its volume is new: the owner of the tables, and the login of the pages, which may
# not rewrite what the audit log holds (docs/how-to/database-roles.md).
set -euo pipefail

# By standard input, so that no password stands on a command line; quoted by psql itself.
psql --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" <<'SQL'
\set owner_password `cat /run/secrets/owner_password`
\set pages_password `cat /run/secrets/pages_password`
CREATE ROLE hashwarden LOGIN PASSWORD :'owner_password';
CREATE ROLE hashwarden_review NOLOGIN;
CREATE ROLE hashwarden_pages LOGIN PASSWORD :'pages_password' IN ROLE hashwarden_review;
CREATE DATABASE hashwarden OWNER hashwarden;
SQL
