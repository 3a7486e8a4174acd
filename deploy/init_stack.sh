#!/usr/bin/env bash
# Makes, once, what compose.yaml asks for: random passwords in .env, and in secrets/ a login for the
# proxy and a certificate signed by itself. What is there already is left alone.
#
#   deploy/init_stack.sh [user] [host]      ada and localhost unless given
#
# STACK_DIR is the folder to write to, this script's own unless set.
set -euo pipefail
user="${1:-ada}"
host="${2:-localhost}"
cd "${STACK_DIR:-$(dirname "${BASH_SOURCE[0]}")}"
umask 077
mkdir -p secrets

random() { openssl rand -hex 24; }

if [ ! -e .env ]; then
    {
        echo "# Read by docker compose. Each password was made for this machine."
        for name in POSTGRES_PASSWORD DAGSTER_DB_PASSWORD MLFLOW_DB_PASSWORD SERVED_DB_PASSWORD \
            GRAFANA_ADMIN_PASSWORD; do
            echo "$name=$(random)"
        done
        echo "PRODUCT=flight_delay"
        echo "PUBLIC_URL=https://$host:8443"
    } > .env
fi
if [ ! -e secrets/tls.key ]; then
    openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host,DNS:localhost,IP:127.0.0.1" \
        -keyout secrets/tls.key -out secrets/tls.crt 2> /dev/null
fi
if [ ! -e secrets/users.htpasswd ]; then
    password="$(random)"
    printf '%s:%s\n' "$user" "$(openssl passwd -6 "$password")" > secrets/users.htpasswd
    # The proxy's workers read it on each request, under a name of their own.
    chmod 644 secrets/users.htpasswd
    echo "Login of the proxy, shown this once: $user $password"
fi
# Filled by hand, once there is a key with the scope `admin`: see compose.yaml.
if [ ! -e secrets/metrics_key ]; then
    : > secrets/metrics_key
    chmod 644 secrets/metrics_key
fi
chmod 755 secrets
