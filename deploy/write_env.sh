#!/usr/bin/env bash
# Writes .env (AI_ASSETS_HOME, DAGSTER_HOME, AI_ASSETS_ACCESS), makes the folders and links
# dagster.yaml.
#
# AI_ASSETS_HOME is taken from the environment, else from the .env that is there, else it is
# .state in the repository. Other lines of .env are left alone. The dagster command reads .env
# from its working directory and lets it win over the environment, so this file decides.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repo="$PWD"

written() { [ -f .env ] && sed -n "s/^$1=//p" .env | tail -n 1 | sed -E "s/^'(.*)'\$/\1/" || true; }

home="${AI_ASSETS_HOME:-$(written AI_ASSETS_HOME)}"
home="${home:-$repo/.state}"
case "$home" in
    /*) ;;
    *) home="$repo/$home" ;;
esac
case "$home" in
    *"'"*) echo "AI_ASSETS_HOME must be a path without a single quote, but got $home" >&2; exit 2 ;;
esac
dagster_home="$home/dagster"

mkdir -p "$dagster_home"
if [ "$(written AI_ASSETS_HOME)" != "$home" ] || [ "$(written DAGSTER_HOME)" != "$dagster_home" ]; then
    kept="$( [ -f .env ] && grep -vE '^(AI_ASSETS_HOME|DAGSTER_HOME)=' .env || true)"
    {
        printf "AI_ASSETS_HOME='%s'\nDAGSTER_HOME='%s'\n" "$home" "$dagster_home"
        if [ -n "$kept" ]; then printf '%s\n' "$kept"; fi
    } > .env.new
    mv .env.new .env
    echo "State is kept in $home (written to .env)"
fi
if ! grep -q '^AI_ASSETS_ACCESS=' .env; then
    {
        echo "# A server of a bundle asks for no key, and answers this machine only. With 'keys' it answers"
        echo "# whoever has one: python -m ai_assets.serving.access create --name <who> --scope predict"
        echo "AI_ASSETS_ACCESS='open'"
    } >> .env
fi
if [ ! -e "$dagster_home/dagster.yaml" ] || [ -L "$dagster_home/dagster.yaml" ]; then
    ln -sfn "$repo/dagster.yaml" "$dagster_home/dagster.yaml"
else
    echo "Using your own $dagster_home/dagster.yaml; remove it to go back to the repository's"
fi
