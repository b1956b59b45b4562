# Sourced by the other scripts: makes .venv beside them and installs the project into it, once per
# change of pyproject.toml. Usage: . scripts/environment.sh EXTRAS   ("" or "[test]")

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${BEAM_SDG_VENV:-$root/.venv}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "beam-sdg needs Python 3.11, 3.12 or 3.13 with venv (on Debian: apt install python3-venv);" \
    "name another interpreter with PYTHON=…" >&2
  return 1
}

make_environment() {
  local extras=$1 wanted python
  wanted=$(cksum "$root/pyproject.toml")
  if [ -x "$venv/bin/beam-sdg" ] && grep -qF "$wanted $extras" "$venv/installed" 2>/dev/null; then
    return
  fi
  if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python) || return 1
    echo "making $venv with $("$python" --version)" >&2
    "$python" -m venv "$venv" || return 1
  fi
  echo "installing beam-sdg$extras and what it needs (a minute or two)" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root$extras" ||
    return 1
  echo "$wanted $extras" >>"$venv/installed"
}

make_environment "${1:-}" || exit 1
