#!/usr/bin/env bash
# What the tests of the queue need, on Debian or Ubuntu, as root: the programs of SLURM and munge.
# The tests start daemons of their own; a service that apt may start has no part in them.
set -euo pipefail
PATH=$PATH:/usr/sbin
type munged slurmctld slurmd sbatch >/dev/null 2>&1 && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends munge slurm-client slurmctld slurmd
