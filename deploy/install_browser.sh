#!/usr/bin/env bash
# The browser tests drive the system's Chromium. Installs Debian's where it is absent and we may;
# otherwise says so and lets the tests skip themselves.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" > /dev/null; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "No Chromium here: the browser tests will be skipped. Install the package 'chromium' to run them."
    exit 0
fi
echo "Installing Chromium for the browser tests"
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } > /dev/null; then
    echo "Chromium could not be installed: the browser tests will be skipped."
fi
