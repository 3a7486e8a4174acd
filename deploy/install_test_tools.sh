#!/usr/bin/env bash
# Some tests drive real programs: the system's Chromium, Debian's Prometheus, PostgreSQL and nginx, and
# benchmarks wrk. Installs what is absent where we may; otherwise says so and lets those tests skip
# themselves.
set -euo pipefail

lacking=()
if ! command -v chromium chromium-browser google-chrome > /dev/null; then
    lacking+=(chromium fonts-dejavu-core)
fi
if ! command -v prometheus > /dev/null; then
    lacking+=(prometheus)
fi
# Debian keeps these two off the path of users.
if ! PATH="$PATH:/usr/sbin" command -v nginx > /dev/null; then
    lacking+=(nginx-light)
fi
if ! command -v openssl > /dev/null; then
    lacking+=(openssl)
fi
if ! command -v initdb > /dev/null && ! compgen -G "/usr/lib/postgresql/*/bin/initdb" > /dev/null; then
    lacking+=(postgresql)
fi
if ! command -v wrk > /dev/null; then
    lacking+=(wrk)
fi
if [ ${#lacking[@]} = 0 ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "Tests that need them will be skipped. To run them, install: ${lacking[*]}"
    exit 0
fi
echo "Installing for the tests: ${lacking[*]}"
export DEBIAN_FRONTEND=noninteractive
# A package that comes with a service must not start it: tests start their own.
policy=${POLICY_RC:-/usr/sbin/policy-rc.d}
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi

install() {
    apt-get install -y -qq --no-install-recommends -o Acquire::Retries=3 "$@" > /dev/null
}

apt-get update -qq -o Acquire::Retries=3 > /dev/null || echo "The lists of packages could not be renewed."
if install "${lacking[@]}"; then exit 0; fi
# One that cannot be had must not keep the others away.
for package in "${lacking[@]}"; do
    install "$package" || echo "$package could not be installed: tests that need it will be skipped."
done
