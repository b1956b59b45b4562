#!/usr/bin/env bash
# Make a worker of a Debian or Ubuntu root that has apt and nothing else: Python, a C compiler (Triton
# compiles when it runs), and a virtual environment with what is named, such as a wheel of this
# project with the extras `vllm` and `dataflow`. With --cpu, vLLM is its build for CPUs.
#
#   images/worker/install.sh [--cpu] VENV REQUIREMENT…
set -euo pipefail
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)
cpu=
if [ "$1" = --cpu ]; then
  cpu=yes
  shift
fi
venv=$1
shift

# An interpreter that the project supports, with what makes environments and what C is compiled with.
supported() {
  python3 - 2>/dev/null <<'EOF'
import ensurepip, sys, sysconfig
from pathlib import Path

header = Path(sysconfig.get_path("include"), "Python.h")
sys.exit(not ((3, 11) <= sys.version_info < (3, 14) and header.exists()))
EOF
}

packages=(ca-certificates g++ libnuma1)  # vLLM binds its processes to memory with the last
supported || packages+=(python3 python3-dev python3-venv)
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${packages[@]}"
rm -rf /var/lib/apt/lists/*
if ! supported; then
  echo "a worker needs Python 3.11, 3.12 or 3.13 and this root has $(python3 --version);" \
    "start from Debian 12, Ubuntu 24.04 or an image of Python's" >&2
  exit 1
fi

python3 -m venv "$venv"
if [ "$cpu" ]; then
  "$scripts/vllm-cpu" "$venv" "$@"
else
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
  "$venv/bin/python" -m uv pip install --quiet --python "$venv/bin/python" "$@"
fi
