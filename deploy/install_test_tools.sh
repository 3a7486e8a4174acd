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
    lacking+=(nginx-light openssl)
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
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${lacking[@]}"; } > /dev/null; then
    echo "They could not be installed: tests that need them will be skipped."
fi
