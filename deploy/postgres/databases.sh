#!/usr/bin/env bash
# Run once by the postgres image, in a new data folder: a database for each user of it, and for each a
# role that may use no other. Connects as psql does: PGHOST, PGPORT, PGPASSWORD.
set -euo pipefail

make() {
    psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -v name="$1" -v password="$2" \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make dagster "${DAGSTER_DB_PASSWORD:?the password of Dagster in the database}"
make mlflow "${MLFLOW_DB_PASSWORD:?the password of MLflow in the database}"
make served "${SERVED_DB_PASSWORD:?the password of the record of answers}"
