#!/usr/bin/env bash
# What the tests of the report's page need, on Debian or Ubuntu, as root: Chromium and its driver.
set -euo pipefail
type chromium chromedriver >/dev/null 2>&1 && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium chromium-driver
