#!/bin/sh
# Run once by the image of PostgreSQL, as its superuser: a role that owns one database and no more.
set -eu
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set password="$(cat "${ISTORE_SECRETS:-/run/istore}/database_password")" <<'SQL'
CREATE ROLE istore LOGIN PASSWORD :'password';
CREATE DATABASE istore OWNER istore;
\connect istore
CREATE EXTENSION vector;
-- Neither searched values nor rows belong into the log: an erasure does not reach it.
ALTER DATABASE istore SET log_min_error_statement = 'panic';
ALTER DATABASE istore SET log_error_verbosity = 'terse';
ALTER DATABASE istore SET log_parameter_max_length_on_error = 0;
SQL
